"""The marks inside a prompt: comments, `<networks>`, AND, and attention in brackets with BREAK.

They are read in this order, each by one function that takes and gives plain values; prompt editing comes between AND
and attention (`schedule`). The rules are AUTOMATIC1111's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

from easel.errors import PromptSyntaxError


class Weighted(NamedTuple):
    """A piece of a prompt and how strongly it counts."""

    text: str
    weight: float


BREAK = Weighted("BREAK", -1.0)
"""The piece that ends a chunk of tokens. Inside brackets its weight is another one, and it is a mere word."""


# comments ------------------------------------------------------------------------------------------------------------

_WHOLE_LINE_COMMENT = re.compile(r"(?:\A|\n)#.*(?:\n|\Z)")
_COMMENT = re.compile(r"#.*(?:\n|\Z)")


def remove_comments(text: str) -> str:
    """Cut everything from `#` to the end of its line; a line that was only a comment goes as a whole."""
    return _COMMENT.sub("\n", _WHOLE_LINE_COMMENT.sub("\n", text))


# networks ------------------------------------------------------------------------------------------------------------

_NETWORK = re.compile(r"<(?P<name>\w+):(?P<items>[^>]+)>")


@dataclass(frozen=True, slots=True)
class ExtraNetworkTag:
    """`<name:item:item>`: a LoRA, a hypernetwork, or what an extension makes of it."""

    name: str
    items: tuple[str, ...]

    @property
    def positional(self) -> tuple[str, ...]:
        """The items without a name, in order."""
        return tuple(item for item in self.items if item.count("=") != 1)

    @property
    def named(self) -> Mapping[str, str]:
        """The items of the form `key=value`; the last of a key counts."""
        return MappingProxyType(dict(item.split("=") for item in self.items if item.count("=") == 1))

    def __str__(self) -> str:
        return f"<{':'.join((self.name, *self.items))}>"


def extract_networks(text: str, names: Collection[str] | None = None) -> tuple[str, tuple[ExtraNetworkTag, ...]]:
    """Cut all tags out of `text`, or those that begin with one of `names`; give what is left, and the tags in order."""
    tags: list[ExtraNetworkTag] = []

    def cut(found: re.Match[str]) -> str:
        if names is not None and found["name"] not in names:
            return found.group()
        tags.append(ExtraNetworkTag(found["name"], tuple(found["items"].split(":"))))
        return ""

    end = text.rfind(">") + 1  # behind it every "<" would be followed to the end of the text in vain
    return _NETWORK.sub(cut, text[:end]) + text[end:], tuple(tags)


# AND -----------------------------------------------------------------------------------------------------------------

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


def split_and(text: str) -> tuple[Weighted, ...]:
    """The prompts joined by AND, each with the weight written at its end (`a :1.2 AND b`), or 1."""
    return tuple(_weight_at_end(part.rstrip()) for part in _AND.split(text))


def _weight_at_end(part: str) -> Weighted:
    text, colon, number = part.rpartition(":")
    number = number.lstrip()
    if colon and _WEIGHT.fullmatch(number):
        return Weighted(text.rstrip(), float(number))
    return Weighted(part, 1.0)


# attention -----------------------------------------------------------------------------------------------------------

ROUND, SQUARE = 1.1, 1 / 1.1
"""What a pair of round or square brackets multiplies the weight with."""
DEEPEST = 200
"""So many brackets may be open at once; more would only cost time."""

_MARK = re.compile(
    r"""  \\(?P<escaped>[()\[\]\\]?)                 # a bracket or backslash taken literally; a lone backslash vanishes
        | (?P<opening>[(\[])
        | :\s*(?P<weight>[+-]?[.\d]+)\s*\)
        | (?P<closing>[)\]])
        | (?P<text>[^\\()\[\]:]+|:)
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


def parse_attention(text: str) -> tuple[Weighted, ...]:
    """The pieces of `text` with their weights, neighbours of equal weight joined; never empty.

    Raises PromptSyntaxError for a weight that is no number, as in `(a:1.2.3)`, and for brackets nested beyond sense.
    """
    texts: list[str] = []
    weights: list[float] = []
    waiting: dict[str, list[int]] = {"(": [], "[": []}  # where each bracket that is still open began

    def close(bracket: str, factor: float) -> None:
        start = waiting[bracket].pop()
        weights[start:] = [weight * factor for weight in weights[start:]]

    for mark in _MARK.finditer(text):
        if mark["opening"]:
            waiting[mark["opening"]].append(len(texts))
            _check_depth(waiting)
        elif mark["weight"] and waiting["("]:
            close("(", _number(mark["weight"], mark.group()))
        elif mark["closing"] == ")" and waiting["("]:
            close("(", ROUND)
        elif mark["closing"] == "]" and waiting["["]:
            close("[", SQUARE)
        elif mark["escaped"] is not None:
            texts.append(mark["escaped"])
            weights.append(1.0)
        else:
            for piece in _split_at_breaks(mark.group()):
                texts.append(piece.text)
                weights.append(piece.weight)
    while waiting["("]:
        close("(", ROUND)
    while waiting["["]:
        close("[", SQUARE)
    return tuple(_joined(texts, weights)) or (Weighted("", 1.0),)


def _check_depth(waiting: Mapping[str, list[int]]) -> None:
    if sum(map(len, waiting.values())) > DEEPEST:
        raise PromptSyntaxError(
            f"more than {DEEPEST} brackets are open at once: close them, or write \\( for a plain ("
        )


def _number(written: str, where: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise PromptSyntaxError(
            f"{written!r} in '{where}' is no weight: write one number, as in (word:1.2), or \\( \\) for plain brackets"
        ) from None


def _split_at_breaks(text: str) -> Iterator[Weighted]:
    first, *others = _BREAK.split(text)
    yield Weighted(first, 1.0)
    for other in others:
        yield BREAK
        yield Weighted(other, 1.0)


def _joined(texts: list[str], weights: list[float]) -> Iterator[Weighted]:
    for weight, run in groupby(zip(texts, weights, strict=True), key=itemgetter(1)):
        yield Weighted("".join(text for text, _ in run), weight)
