"""Text around the cells of a grid, laid out as A1111 does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from PIL.ImageFont import FreeTypeFont

_ACTIVE, _INACTIVE = "#000000", "#999999"
_SMALLEST = 1  # pixels of a letter


@dataclass(frozen=True, slots=True)
class Label:
    """One text; what is not `active` is grey and struck out."""

    text: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class _Line:
    label: Label
    font: FreeTypeFont
    width: float
    height: float


def labelled_grid(
    grid: Pixels, columns: Sequence[Sequence[Label]], rows: Sequence[Sequence[Label]], *, margin: int = 0
) -> Pixels:
    """`grid`, its cells `margin` pixels apart, with the labels of each column above it and of each row beside it.

    A row without any text takes no room. On white; RGB.
    """
    width, height = grid.width // len(columns), grid.height // len(rows)
    left = width * 3 // 4 if any(label.text for row in rows for label in row) else 0
    size = (width + height) // 25
    spacing = size // 2
    heads = [_lines(labels, size, width) for labels in columns]
    sides = [_lines(labels, size, left) for labels in rows]
    head_heights = [_height(lines, spacing) - spacing for lines in heads]
    top = 0 if not any(label.text for column in columns for label in column) else max(head_heights) + spacing * 2
    total = (grid.width + left + margin * (len(columns) - 1), int(grid.height + top + margin * (len(rows) - 1)))
    result = Image.new("RGB", total, "white")
    for row in range(len(rows)):
        for column in range(len(columns)):
            cell = grid.crop((width * column, height * row, width * (column + 1), height * (row + 1)))
            result.paste(cell, (left + (width + margin) * column, int(top) + (height + margin) * row))
    draw = ImageDraw.Draw(result)
    for column, lines in enumerate(heads):
        _write(draw, left + (width + margin) * column + width / 2, top / 2 - head_heights[column] / 2, lines, spacing)
    for row, lines in enumerate(sides):
        tall = _height(lines, spacing) - spacing * len(lines)
        _write(draw, left / 2, top + (height + margin) * row + height / 2 - tall / 2, lines, spacing)
    return result


def _height(lines: Sequence[_Line], spacing: int) -> float:
    return sum(line.height + spacing for line in lines)


def _lines(labels: Sequence[Label], size: int, allowed: int) -> list[_Line]:
    """The labels broken into lines at their blanks; a word that is too long is written smaller."""
    font = _font(size)
    wrapped: list[Label] = []
    for label in labels:
        line = ""
        for word in label.text.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > allowed:
                wrapped.append(Label(line, label.active))
                longer = word
            line = longer
        wrapped.append(Label(line, label.active))
    return [_line(label, size, allowed) for label in wrapped]


def _line(label: Label, size: int, allowed: int) -> _Line:
    room = _box(label.text, _font(size))
    while size > _SMALLEST and _box(label.text, _font(size))[0] > allowed:
        size -= 1
    return _Line(label, _font(size), *room)


def _box(text: str, font: FreeTypeFont) -> tuple[float, float]:
    left, top, right, bottom = font.getbbox(text)
    return right - left, bottom - top


@cache
def _font(size: int) -> FreeTypeFont:
    with resources.as_file(resources.files("easel").joinpath("imaging", "Roboto-Regular.ttf")) as file:
        return ImageFont.truetype(file, max(_SMALLEST, size))


def _write(draw: ImageDraw.ImageDraw, x: float, y: float, lines: Sequence[_Line], spacing: int) -> None:
    for line in lines:
        color = _ACTIVE if line.label.active else _INACTIVE
        draw.text((x, y + line.height / 2), line.label.text, font=line.font, fill=color, anchor="mm")
        if not line.label.active:
            middle = y + line.height // 2
            draw.line((x - line.width // 2, middle, x + line.width // 2, middle), fill=_INACTIVE, width=4)
        y += line.height + spacing
