"""What is left as it is written, and what is drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from easel_extensions.wildcards.drawing import Drawing
from easel_extensions.wildcards.template import hide, show

from easel import BadRequest

DOUBLING = {"d0": ["x"], **{f"d{n}": [f"__d{n - 1}__ __d{n - 1}__"] for n in range(1, 40)}}
WILDCARDS = {
    "animal": ["cat", "dog"],
    "place/inside": ["a kitchen"],
    "place/outside": ["__animal__ park"],
    "odd": ["50% #1 {x} http://y $5"],
    "self": ["again __self__"],
    "weighted": ["0::never", "2.5:: often"],
    **DOUBLING,
}


def draw(template: str, seed: int = 1) -> str:
    (text,) = Drawing(WILDCARDS).texts((template,), (seed,), "prompt")
    return text


@pytest.mark.parametrize(
    "text",
    [
        "a  cat,\n(b:1.2) [c|d:0.5] <lora:x__y:1> BREAK a AND b",
        "50% off, #1, http://x /* y */, $5, $$, {masterpiece}, {{best}}, {, }, }{, ________",
        "a | b {c",
        "{a|b",
    ],
)
def test_what_is_not_dynamic_stays_to_the_letter(text: str) -> None:
    assert draw(text) == text
    assert draw(f"{text} {{x|x}}") == f"{text} x"
    assert show(hide(text)) == text


@pytest.mark.parametrize(
    ("template", "allowed"),
    [
        ("{red|blue} ball", {"red ball", "blue ball"}),
        ("{a|{b|c} d}", {"a", "b d", "c d"}),
        ("{2$$a|b}", {"a,b", "b,a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{0-1$$a|b}", {"", "a", "b"}),
        ("{5$$a|b}", {"a,b", "b,a"}),
        ("{1::a|0::b}", {"a"}),
        ("__animal__", {"cat", "dog"}),
        ("__place/*__", {"a kitchen", "cat park", "dog park"}),
        ("{2$$__animal__}", {"cat,dog", "dog,cat"}),
        ("{__animal__|__animal__}s", {"cats", "dogs"}),
        ("${x={a|b}}${x}", {"a", "b"}),
        ("__odd__", {"50% #1 {x} http://y $5"}),
        ("(__animal__:1.2) <lora:{a|b}:1>", {f"({x}:1.2) <lora:{y}:1>" for x in ("cat", "dog") for y in "ab"}),
        ("__weighted__", {"often"}),
        ("{!a|b}", {"a", "b"}),
        ("{|}", {""}),
    ],
)
def test_every_draw_is_one_of_those_allowed_and_each_comes_up(template: str, allowed: set[str]) -> None:
    assert {draw(template, seed) for seed in range(60)} == allowed
    assert draw(template, 7) == draw(template, 7)


DOUBLED = "".join(f"${{{new}=${{{old}}}${{{old}}}}}" for old, new in pairwise("abcdefghijklmnop"))
COSTLY = ["__self__", "__d39__", "__*__ " * 100, "{a|" * 300 + "b" + "}" * 300, "{a|b}" * 900]


@pytest.mark.parametrize("template", [*COSTLY, "${a={x|y}}" + DOUBLED + "${p}"])
def test_what_a_template_costs_is_bounded(template: str) -> None:
    with pytest.raises(BadRequest, match=r"prompt: .*dynamic prompt"):
        draw(template)


@pytest.mark.parametrize("template", ["${y}", "{a||b$$c}", "{9x$$a|b}", "%{a|b$$c|d}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(BadRequest, match="prompt: the dynamic prompt cannot be read"):
        draw(template)


def test_names_that_are_not_there_stay_and_are_told() -> None:
    drawing: Any = Drawing(WILDCARDS)
    assert drawing.texts(("__nope__ __../animal__ __animal__",), (1,), "prompt") == ("__nope__ __../animal__ cat",)
    assert drawing.missing == ("nope", "../animal")


def test_long_lists_are_drawn_from_evenly_and_quickly() -> None:
    drawing = Drawing({"long": [f"v{number}" for number in range(100_000)]})
    drawn = drawing.texts(("__long__",) * 300, range(300), "prompt")
    assert len(set(drawn)) > 290
    numbers = sorted(int(text[1:]) for text in drawn)
    assert numbers[75] < 50_000 < numbers[225]
    assert len(drawing.texts(("{3$$__long__}",), (1,), "prompt")[0].split(",")) == 3
