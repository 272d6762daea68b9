"""`easel new-extension NAME`: a folder that works, passes `easel check`, and shows what goes where."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from easel.errors import BadRequest, EaselError
from easel.extensions.manifest import NAME

_FILES: Final = {
    "extension.toml": """\
name = "$name"
title = "$title"
version = "0.1.0"
summary = "A tint over finished pictures"
entry = "$entry"
easel = ">=1,<2"
""",
    "__init__.py": '''\
"""$title: a tint over finished pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from easel import Extension, Image, Job, Script, hookimpl
from PIL import Image as Pillow
from pydantic import BaseModel, Field


class Arguments(BaseModel):
    """What a request may ask for, in the order of A1111's script arguments."""

    strength: float = Field(0.3, ge=0, le=1, title="Strength", description="0: the picture as it is")
    color: Literal["orange", "teal", "violet"] = Field("orange", title="Color")


class $entry(Extension):
    """Tints every picture."""

    @hookimpl
    def register_scripts(self) -> Script:
        """An always-on script: requests that do not mention it get its defaults."""
        return Script("$title", Arguments, always_on=True)

    @hookimpl
    def process_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...] | None:
        """The batch's pictures with their tint; None leaves them as they are."""
        asked = job.script_args(Arguments)
        if asked is None or asked.strength == 0:
            return None
        return tuple(replace(image, pixels=_tinted(image.pixels, asked)) for image in images)


def _tinted(pixels: Pillow.Image, asked: Arguments) -> Pillow.Image:
    return Pillow.blend(pixels, Pillow.new(pixels.mode, pixels.size, asked.color), asked.strength)
''',
    "README.md": """\
# $title

A tint over finished pictures: `"alwayson_scripts": {"$title": {"args": [0.3, "orange"]}}`.

| argument | |
|---|---|
| `strength` | 0 (the picture as it is) to 1; 0.3 |
| `color` | orange, teal, violet |
""",
    "tests/test_$package.py": '''\
"""Run by `pytest` in this folder: a whole service around the extension, with a fake engine."""

from io import BytesIO

from PIL import Image


def pixels(result):
    return Image.open(BytesIO(result.images[0].data)).tobytes()


def test_a_picture_gets_its_tint(easel_generate):
    plain = easel_generate("a cat", scripts={"$title": {"strength": 0}})
    tinted = easel_generate("a cat")
    other = easel_generate("a cat", scripts={"$title": [0.3, "teal"]})
    assert len({pixels(plain), pixels(tinted), pixels(other)}) == 3


def test_a_wrong_argument_is_named(easel_client):
    body = {"prompt": "a cat", "alwayson_scripts": {"$title": {"args": [2]}}}
    answer = easel_client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 422
    assert "argument 'strength'" in answer.text
''',
}


def new_extension(name: str, into: Path) -> Path:
    """Make `into/NAME` (with `_` for `-`); the answer is that folder. Errors: BadRequest (the name), EaselError."""
    if not NAME.fullmatch(name):
        allowed = "lower-case words and digits joined by '-', e.g. soft-focus"
        raise BadRequest("no name for an extension", field="NAME", value=name, allowed=allowed)
    words = [word.capitalize() for word in name.split("-")]
    package = name.replace("-", "_")
    given = {"name": name, "package": package, "title": " ".join(words), "entry": "".join(words)}
    folder = into / package
    try:
        folder.mkdir(parents=True)
        for file, text in _FILES.items():
            path = folder / Template(file).substitute(given)
            path.parent.mkdir(exist_ok=True)
            path.write_text(Template(text).substitute(given), encoding="utf-8")
    except FileExistsError:
        raise EaselError(f"{folder} is there already") from None
    except OSError as error:
        raise EaselError(f"{folder} cannot be made: {error.strerror}") from error
    return folder
