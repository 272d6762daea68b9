"""Styles: named texts that are merged into prompts, kept in CSV files as A1111 writes them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PLACE = "{prompt}"
"""Where a style wants the prompt; a style without it goes to the prompt's end."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Style:
    """A named pair of texts. Both are None in a divider, the line that heads a file's styles in a list of several."""

    name: str
    prompt: str | None
    negative_prompt: str | None
    file: Path | None = None


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


def merge(style: str, prompt: str) -> str:
    """`prompt` with the text `style` around or behind it."""
    if PLACE in style:
        return style.replace(PLACE, prompt)
    return ", ".join(text for text in (prompt.strip(), style.strip()) if text)


def apply_styles(
    prompt: str, negative_prompt: str, names: Iterable[str], styles: Iterable[Style]
) -> tuple[str, str, tuple[str, ...]]:
    """Merge the styles called `names`, in that order, into both prompts.

    Gives the prompts, and the names that no style has (they leave the prompts alone, but for blanks at the ends).
    """
    known = {style.name: style for style in styles}
    names = tuple(names)
    for name in names:
        style = known.get(name) or Style(name, None, None)
        prompt = merge(style.prompt or "", prompt)
        negative_prompt = merge(style.negative_prompt or "", negative_prompt)
    return prompt, negative_prompt, tuple(name for name in names if name not in known)


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
