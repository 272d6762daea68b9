from __future__ import annotations

from typing import Any

import pytest

from easel import BadRequest

Generate = Any
App = Any


def texts(app: App, which: str = "positive") -> list[str]:
    return [call.arguments[which][0] for call in app.engine.called("encode_prompts")]


def test_every_combination_after_a_grid(easel_app: App, easel_generate: Generate) -> None:
    result = easel_generate("a fox|red|snow", scripts={"prompt matrix": [False, True]})
    wanted = ["a fox", "a fox, red", "a fox, snow", "a fox, red, snow"]
    assert sorted(texts(easel_app)) == sorted(wanted)
    assert [image.kind for image in result.images] == ["grid", *["result"] * 4]
    assert result.info["all_prompts"] == wanted
    assert result.info["all_seeds"] == [1, 2, 3, 4]
    assert len(result.info["infotexts"]) == 5
    assert result.info["index_of_first_image"] == 1


def test_the_negative_prompt_joined_by_blanks_from_the_front(easel_app: App, easel_generate: Generate) -> None:
    easel_generate("a fox", negative_prompt="dull|dark", scripts={"prompt matrix": [True, False, "negative", "space"]})
    assert sorted(texts(easel_app, "negative")) == ["dark dull", "dull"]


def test_one_part_alone_is_one_picture_in_its_grid(easel_generate: Generate) -> None:
    assert len(easel_generate("a fox", scripts={"prompt matrix": []}).images) == 2


def test_too_many_combinations_are_refused_before_they_are_made(easel_app: App, easel_generate: Generate) -> None:
    with pytest.raises(BadRequest, match="too many pictures"):
        easel_generate("|".join("abcdefghijklmnopqrstuvwxyz" * 40), scripts={"prompt matrix": []})
    with pytest.raises(BadRequest, match="prompt_type"):
        easel_generate("", scripts={"prompt matrix": [False, False, "both"]})
    assert easel_app.engine.called("denoise") == []
