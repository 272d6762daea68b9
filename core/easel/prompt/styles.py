"""Styles: named texts that are merged into prompts, kept in CSV files as A1111 writes them."""

from __future__ import annotations

import csv
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from easel.errors import BadRequest, EaselError, UnknownName
from easel.prompt.syntax import remove_comments
from easel.settings import Settings
from easel.values.request import GenerationRequest, StyleTexts, Typed

PLACE = "{prompt}"
"""Where a style wants the prompt; a style without it goes to the prompt's end."""

logger = logging.getLogger(__name__)
_changing = threading.Lock()  # a file is read and written anew: two at once would lose one's style


@dataclass(frozen=True, slots=True)
class Style:
    """A named pair of texts. Both are None in a divider, the line that heads a file's styles in a list of several."""

    name: str
    prompt: str | None
    negative_prompt: str | None
    file: Path | None = None

    @property
    def texts(self) -> StyleTexts:
        """What a request takes along of it."""
        return StyleTexts(self.name, self.prompt or "", self.negative_prompt or "")


def styles_of(settings: Settings) -> tuple[Style, ...]:
    """The prompt styles of this server: `--styles-file`, else `styles.csv` in the data folder."""
    return read_styles([Path(name) for name in settings.styles_file] or [settings.data_dir / "styles.csv"])


def read_styles(patterns: Iterable[Path]) -> tuple[Style, ...]:
    """The styles of all files, which `patterns` may name with `*` and `?`; of one name the last style counts.

    A file that is not there is an empty one; one that cannot be read is logged and left out.
    """
    files = list(dict.fromkeys(file for pattern in patterns for file in _files(pattern)))
    styles: dict[str, Style] = {}
    for file in files:
        if len(files) > 1:
            divider = f" {file.stem.upper()} ".center(40, "-")
            styles[divider] = Style(divider, None, None)
        if file.is_file():
            styles |= {style.name: style for style in _read(file)}
    return tuple(styles.values())


def _files(pattern: Path) -> list[Path]:
    if "*" in pattern.name or "?" in pattern.name:
        return sorted(pattern.parent.glob(pattern.name))
    return [pattern]


def _read(file: Path) -> list[Style]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return [
                # before A1111 knew negative prompts, the column was called text
                Style(name, row.get("prompt", row.get("text")) or "", row.get("negative_prompt") or "", file)
                for row in csv.DictReader(lines, skipinitialspace=True)
                if (name := row.get("name") or "") and not name.startswith("#")
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        logger.warning("styles in %s cannot be read: %s", file, error)
        return []


def save_style(settings: Settings, style: Style) -> None:
    """Keep a style in the file that has one of its name, else in the first. Errors: BadRequest, EaselError (disk)."""
    name = style.name.strip()
    if not name or name.startswith("#"):
        raise BadRequest(
            "is no name of a style", field="name", value=style.name, allowed="a text that begins with no #"
        )
    row = {"name": name, "prompt": style.prompt or "", "negative_prompt": style.negative_prompt or ""}
    with _changing:
        _change(_file_of(settings, name), name, row)


def delete_style(settings: Settings, name: str) -> None:
    """Take a style out of its file. Errors: UnknownName, EaselError (disk)."""
    with _changing:
        known = [style.name for style in styles_of(settings) if style.file is not None]
        if name not in known:
            raise UnknownName.among("style", name, known)
        _change(_file_of(settings, name), name, None)


def _file_of(settings: Settings, name: str) -> Path:
    found = next((style.file for style in styles_of(settings) if style.name == name and style.file), None)
    named = [Path(one) for one in settings.styles_file if "*" not in one and "?" not in one]
    return found or next(iter(named), settings.data_dir / "styles.csv")


def _change(file: Path, name: str, row: Mapping[str, str] | None) -> None:
    """Write a file anew with this row in the place of those of its name; lines that are no styles stay."""
    rows: list[dict[str, str]] = []
    try:
        if file.is_file():
            with file.open(encoding="utf-8-sig", newline="") as text:
                rows = [dict(one) for one in csv.DictReader(text, skipinitialspace=True)]
        kept = [
            {"name": one.get("name") or "", "prompt": one.get("prompt", one.get("text")) or "",
             "negative_prompt": one.get("negative_prompt") or ""}
            for one in rows
            if one.get("name") != name
        ]  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8-sig", newline="", dir=file.parent, delete=False) as written:
            table = csv.DictWriter(written, ["name", "prompt", "negative_prompt"])
            table.writeheader()
            table.writerows([*kept, *([row] if row else [])])
        Path(written.name).replace(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EaselError(f"the styles in {file.name} cannot be changed: {type(error).__name__}") from error


def merge(style: str, prompt: str) -> str:
    """`prompt` with the text `style` around or behind it."""
    if PLACE in style:
        return style.replace(PLACE, prompt)
    return ", ".join(text for text in (prompt.strip(), style.strip()) if text)


def finished(prompt: str, negative_prompt: str, styles: Iterable[StyleTexts], *, comments: bool) -> tuple[str, str]:
    """Typed texts with the styles merged in and, where `comments` are known, these taken out."""
    for style in styles:
        prompt, negative_prompt = merge(style.prompt, prompt), merge(style.negative_prompt, negative_prompt)
    if comments:
        return remove_comments(prompt), remove_comments(negative_prompt)
    return prompt, negative_prompt


def retyped(
    request: GenerationRequest,
    *,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    styles: Sequence[StyleTexts] | None = None,
) -> GenerationRequest:
    """The request as if these texts had been typed and these styles chosen; None: as they were."""
    before = request.typed or Typed(prompt=request.prompt, negative_prompt=request.negative_prompt)
    typed = replace(
        before,
        prompt=before.prompt if prompt is None else prompt,
        negative_prompt=before.negative_prompt if negative_prompt is None else negative_prompt,
        styles=before.styles if styles is None else tuple(styles),
    )
    comments, hires = request.options.enable_prompt_comments, request.hires
    positive, negative = finished(typed.prompt, typed.negative_prompt, typed.styles, comments=comments)
    if hires is not None and styles is not None:
        hr_prompt, hr_negative = finished(
            typed.hires_prompt, typed.hires_negative_prompt, typed.styles, comments=comments
        )
        hires = replace(
            hires,
            prompt=hr_prompt if typed.hires_prompt else "",
            negative_prompt=hr_negative if typed.hires_negative_prompt else "",
        )
    return replace(
        request,
        prompt=positive,
        negative_prompt=negative,
        styles=tuple(style.name for style in typed.styles),
        typed=typed,
        hires=hires,
    )


def extract_styles(prompt: str, negative_prompt: str, styles: Sequence[Style]) -> tuple[tuple[str, ...], str, str]:
    """Find the styles that were applied to two prompts: their names in order, and the prompts without them."""
    left = [style for style in styles if style.prompt or style.negative_prompt]
    names: list[str] = []
    while found := _outermost(prompt, negative_prompt, left):
        style, prompt, negative_prompt = found
        left.remove(style)
        names.insert(0, style.name)
    return tuple(names), prompt, negative_prompt


def _outermost(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[Style, str, str] | None:
    for style in styles:
        inner = _without(style.prompt or "", prompt)
        negative_inner = _without(style.negative_prompt or "", negative_prompt)
        if inner is not None and negative_inner is not None:
            return style, inner, negative_inner
    return None


def _without(style: str, prompt: str) -> str | None:
    """What `prompt` was before `merge(style, …)`, or None if that cannot be its origin."""
    style, prompt = style.strip(), prompt.strip()
    left, place, right = style.partition(PLACE)
    if not place:
        return prompt.removesuffix(style).removesuffix(", ") if prompt.endswith(style) else None
    if len(prompt) >= len(left) + len(right) and prompt.startswith(left) and prompt.endswith(right):
        return prompt[len(left) : len(prompt) - len(right)]
    return None
