"""What is written for an axis, as values: `1, 2`, `1-5`, `1-10 (+3)`, `0.5-1 [3]`, texts as CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from io import StringIO
from itertools import chain, permutations
from typing import Any, Literal

from easel import BadRequest

Kind = Literal["int", "float", "text", "order"]
_SPAN = re.compile(
    r"([+-]?\d+(?:\.\d*)?)\s*-\s*([+-]?\d+(?:\.\d*)?)\s*(?:\(([+-]?\d+(?:\.\d*)?)\)|\[(\d+)\])?"
)  # from - to (step) or [count]


def split(text: str) -> list[str]:
    """The values of one CSV text, without blanks around them."""
    return [value.strip() for value in chain.from_iterable(csv.reader(StringIO(text), skipinitialspace=True))]


def read(texts: list[str], kind: Kind, field: str, check: Callable[[int], None]) -> list[Any]:
    """Typed values; spans are opened, of an order all permutations are made. `check` hears how many there would be.

    An empty number is None: for seeds it means any. Errors: BadRequest.
    """
    if kind == "text":
        return texts
    if kind == "order":
        check(math.factorial(min(len(texts), 20)))
        return list(permutations(texts))
    return [value for text in texts for value in _numbers(text, kind, field, check)]


def _numbers(text: str, kind: Kind, field: str, check: Callable[[int], None]) -> list[Any]:
    if not text:
        return [None]
    number = int if kind == "int" else float
    try:
        return [number(text)]
    except ValueError:
        span = _SPAN.fullmatch(text)
    if span is None:
        raise BadRequest("no number", field=field, value=text, allowed="e.g. 1, 1-5, 1-10 (+3), 1-10 [4]")
    start, end, step, count = span.groups()
    if kind == "int" and any("." in one for one in (start, end, step or "")):
        raise BadRequest("no whole number", field=field, value=text, allowed="e.g. 1-5")
    if count is not None:
        check(int(count))
        return [number(value) for value in _spread(float(start), float(end), int(count))]
    width = float(step or 1)
    if not width:
        raise BadRequest("a step of 0 leads nowhere", field=field, value=text)
    places = max(0, math.floor((float(end) - float(start)) / width + 1e-9) + 1)
    check(places)
    return [number(float(start) + place * width) for place in range(places)]


def _spread(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * place / max(1, count - 1) for place in range(count)]
