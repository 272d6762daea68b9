"""The censor and scripts: what a script pastes together is made of reviewed pictures."""

from __future__ import annotations

import base64
import shutil
from io import BytesIO
from pathlib import Path

from fastapi.testclient import TestClient
from PIL import Image

from easel.api.server import create_api
from easel.extensions.finder import CHECKOUT
from easel.testing import EaselUnderTest

PASTE = """
from dataclasses import replace
from PIL import Image as Pillow
from pydantic import BaseModel
from easel import Draft, Extension, Image, Script, hookimpl

class Nothing(BaseModel):
    pass

class Paste(Extension):
    @hookimpl
    def register_scripts(self):
        return Script("Paste", Nothing)

    @hookimpl
    def generate(self, job):
        if job.script_args(Nothing) is None:
            return None
        drafts = job.run_all([replace(job.request, seed=seed, subseed=0) for seed in (1, 2, 3)])
        cells = [draft.images[0].pixels for draft in drafts]
        grid = Pillow.new("RGB", (64 * 3, 64))
        for number, cell in enumerate(cells):
            grid.paste(cell, (64 * number, 0))
        results = [replace(draft.images[0], index=number) for number, draft in enumerate(drafts)]
        return Draft(images=(Image(pixels=grid, kind="grid"), *results), info=drafts[0].info)
"""
MANIFEST = "\n".join(
    ['name = "paste"', 'title = "Paste"', 'version = "1"', 'summary = "s"', 'entry = "Paste"', 'easel = ">=1,<2"']
)


def run(root: Path, data: Path, threshold: float) -> list[tuple[bytes, float]]:
    """The colours and scores of what the script makes: the grid, then its three cells."""
    prefix = "EASEL_EXT_NSFW_CENSOR__"
    app = EaselUnderTest(data, root, {prefix + "THRESHOLD": str(threshold), prefix + "ACTION": "black"})
    app.start()
    try:
        images = app.generate("a cat", scripts={"Paste": {}}).images
    finally:
        app.stop()
    return [(Image.open(BytesIO(one.data)).tobytes(), one.scores["nsfw"]) for one in images]


def test_a_grid_is_made_of_reviewed_pictures(tmp_path: Path) -> None:
    root = tmp_path / "extensions"
    shutil.copytree(CHECKOUT / "extensions" / "nsfw_censor", root / "nsfw_censor")
    (root / "paste").mkdir()
    (root / "paste" / "__init__.py").write_text(PASTE)
    (root / "paste" / "extension.toml").write_text(MANIFEST)
    (plain, _), *cells = run(root, tmp_path / "plain", 1.0)
    scores = [score for _, score in cells]
    worst = scores.index(max(scores))
    (grid, _), *censored = run(root, tmp_path / "censored", max(scores))
    assert [any(colours) for colours, _ in censored] == [number != worst for number in range(3)]
    rows = [grid[start : start + 64 * 9] for start in range(0, len(grid), 64 * 9)]
    black = [not any(any(row[64 * 3 * n : 64 * 3 * (n + 1)]) for row in rows) for n in range(3)]
    assert black == [number == worst for number in range(3)]
    assert any(plain)


def test_what_tasks_make_is_reviewed_too(tmp_path: Path) -> None:
    root = tmp_path / "extensions"
    for name in ("nsfw_censor", "upscale"):
        shutil.copytree(CHECKOUT / "extensions" / name, root / name)
    prefix = "EASEL_EXT_NSFW_CENSOR__"
    app = EaselUnderTest(tmp_path / "data", root, {prefix + "THRESHOLD": "0", prefix + "ACTION": "black"})
    picture = BytesIO()
    Image.new("RGB", (16, 16), "red").save(picture, "PNG")
    body = {"image": base64.b64encode(picture.getvalue()).decode(), "upscaler_1": "Nearest", "upscaling_resize": 2}
    with TestClient(create_api(app)) as client:
        answer = client.post("/sdapi/v1/extra-single-image", json=body).json()
    made = Image.open(BytesIO(base64.b64decode(answer["image"])))
    assert made.size == (32, 32)
    assert not any(made.convert("RGB").tobytes())
