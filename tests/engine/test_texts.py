"""Texts of unequal length, editing over denoiser calls, and the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from easel.engine.texts import (
    Encoded,
    PictureTexts,
    ScheduledText,
    TextCache,
    level_negative,
    level_parts,
    level_with_blank,
)
from easel.errors import BadRequest
from easel.models.text import EncodedTexts
from easel.prompt.schedule import Stage
from easel.values.options import Options

LONG = "word, " * 60


def text(length: int, value: float = 1.0) -> ScheduledText:
    context = torch.full((1, length, 2), value)
    context[:, -1] = 9.0
    return ScheduledText((Stage(10, ""),), (Encoded(context),))


def test_a_stage_serves_the_calls_up_to_its_end() -> None:
    stages = tuple(Encoded(torch.full((1, 1, 1), float(n))) for n in range(2))
    edited = ScheduledText((Stage(3, "a"), Stage(6, "b")), stages)
    assert [edited.at(call).context.item() for call in range(8)] == [0, 0, 0, 0, 1, 1, 1, 0]


def test_parts_of_a_batch_are_stretched_to_the_longest() -> None:
    short, long = text(77), text(154)
    levelled = level_parts([PictureTexts(((1.0, short), (0.5, long)), short), PictureTexts(((1.0, short),), short)])
    assert [part.length for picture in levelled for _, part in picture.parts] == [154] * 3
    assert levelled[0].parts[0][1].stages[0].context[0, 77:].unique().item() == 9.0
    assert levelled[0].negative.length == 77


def test_blanks_fill_the_shorter_side() -> None:
    blank = torch.zeros(1, 77, 2)
    picture = level_with_blank(PictureTexts(((1.0, text(231)),), text(77)), blank)
    assert picture.negative.length == 231 and not picture.negative.stages[0].context[:, 77:].any()
    assert level_with_blank(PictureTexts(((1.0, text(77)),), text(154)), blank).parts[0][1].length == 154


def test_the_old_way_cuts_or_stretches_the_negative() -> None:
    assert level_negative(PictureTexts(((1.0, text(77)),), text(154))).negative.length == 77
    stretched = level_negative(PictureTexts(((1.0, text(154)),), text(77))).negative
    assert stretched.stages[0].context[0, 77:].unique().item() == 9.0


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache, made = TextCache(2), []

    def encode(name: str) -> EncodedTexts:
        made.append(name)
        return EncodedTexts(torch.zeros(1))

    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, lambda name=name: encode(name))  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]


def test_the_cache_holds_so_many_bytes_and_no_more() -> None:
    cache, made = TextCache(9, room=100), []

    def encode(name: str, size: int) -> EncodedTexts:
        made.append(name)
        return EncodedTexts(torch.zeros(size, dtype=torch.uint8))

    for name, size in (("a", 60), ("b", 40), ("a", 60), ("c", 30), ("a", 60), ("huge", 101), ("a", 60)):
        cache.get(name, lambda name=name, size=size: encode(name, size))  # type: ignore[misc]
    assert made == ["a", "b", "c", "huge", "a"]


@pytest.mark.parametrize(("prompt", "says"), [
    (" AND ".join(f"a{k}" for k in range(65)), "prompt: too many parts (got 65"),
    ("x" * 60000 + "".join(f"[a:b:{k}]" for k in range(1, 10)), "prompt: it changes too often for its length"),
])  # fmt: skip
def test_texts_that_would_hold_up_everybody_are_refused(sitting: Callable[..., Any], prompt: str, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        sitting(prompt=prompt, steps=20).texts(20)
    assert says in refused.value.message


def test_the_same_texts_are_encoded_once(engine: Any, sitting: Callable[..., Any]) -> None:
    first, second = sitting(prompt="a cat").texts(4), sitting(prompt="a cat", seed=2).texts(4)
    assert first.pictures[0].parts[0][1].stages[0].context is not None
    same = [batch.pictures[0].parts[0][1].stages[0].context.data_ptr() for batch in (first, second)]
    assert same[0] == same[1]
    other = sitting(prompt="a cat", options=replace(Options(), CLIP_stop_at_last_layers=2)).texts(4)
    assert not torch.equal(
        other.pictures[0].parts[0][1].stages[0].context, first.pictures[0].parts[0][1].stages[0].context
    )


@pytest.mark.parametrize("option", ["pad_cond_uncond", "pad_cond_uncond_v0"])
def test_texts_of_unequal_length_cost_two_passes_unless_padded(
    engine: Any, sitting: Callable[..., Any], option: str
) -> None:
    before = engine.counters.ticks
    sitting(prompt=LONG, steps=2).paint()
    assert engine.counters.ticks - before == 4
    sitting(prompt=LONG, steps=2, options=replace(Options(), **{option: True})).paint()
    assert engine.counters.ticks - before == 6
