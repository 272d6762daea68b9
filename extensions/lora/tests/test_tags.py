"""What a tag asks for."""

from __future__ import annotations

import pytest
from easel_extensions.lora.tags import STRONGEST, Wish, read_tag

from easel import BadRequest, extract_networks


def read(text: str) -> Wish:
    _, (tag,) = extract_networks(text)
    return read_tag(tag)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("<lora:x>", (1.0, 1.0, None)),
        ("<lora:x:0.5>", (0.5, 0.5, None)),
        ("<lora:x:0.5:0.7>", (0.5, 0.7, None)),
        ("<lora:x:0.5:0.7:8>", (0.5, 0.7, 8)),
        ("<lora:x:te=0.5:unet=1:dyn=4>", (0.5, 1.0, 4)),
        ("<lora:x:unet=0.2>", (1.0, 0.2, None)),
        ("<lora:x:0.5:te=0.1>", (0.1, 0.1, None)),
        ("<lora:x:-1>", (-1.0, -1.0, None)),
        ("<lora:x:0>", (0.0, 0.0, None)),
        ("<lora:x: .5 >", (0.5, 0.5, None)),
    ],
)
def test_weights(text: str, wish: tuple[float, float, int | None]) -> None:
    one = read(text)
    assert (one.text_weight, one.unet_weight, one.dyn_dim) == wish
    assert (one.name, one.tag, one.notes) == ("x", text, ())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("<lora:x:abc>", "te"),
        ("<lora:x:1:>", "unet"),
        ("<lora:x:1:nan>", "unet"),
        ("<lora:x:inf>", "te"),
        ("<lora:x:te=1e999>", "te"),
        ("<lora:x:1:1:0>", "dyn"),
        ("<lora:x:dyn=2.5>", "dyn"),
    ],
)
def test_what_is_no_number_is_refused_and_named(text: str, field: str) -> None:
    with pytest.raises(BadRequest) as error:
        read(text)
    assert error.value.field == field
    assert text in error.value.message


@pytest.mark.parametrize(("written", "used"), [("1000", STRONGEST), ("-1000", -STRONGEST)])
def test_a_weight_beyond_sense_is_cut_with_a_word(written: str, used: float) -> None:
    wish = read(f"<lora:x:{written}>")
    assert (wish.text_weight, wish.unet_weight) == (used, used)
    assert wish.notes == (f"weight {written} is beyond 20, which is used instead",)


def test_what_means_nothing_is_noted() -> None:
    assert read("<lora:x:1:1:4:5:unte=3>").notes == ("unte=3 means nothing here", "'5' is one value too many")
