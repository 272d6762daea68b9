"""The expander that Easel carries."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    not files("easel").joinpath("starter", "expander", "config.json").is_file(), reason="this Easel carries no expander"
)


def test_it_is_the_default_and_keeps_the_words(easel_client: Any) -> None:
    listed = {model["name"]: model for model in easel_client.get("/beautiful_prompt/models").json()}
    assert (listed["starter"]["available"], listed["starter"]["default"]) == (True, True)
    for words in ("a red cat", "two dogs and a tree", "zorbl xylophone"):
        body = {"prompt": words, "candidates": 3, "seed": 1}
        answer = easel_client.post("/beautiful_prompt/generate", json=body).json()
        assert answer["model"] == "starter"
        prompts = [one["prompt"] for one in answer["candidates"]]
        assert len(set(prompts)) == 3
        for prompt in prompts:
            assert prompt.startswith(words)
            assert len(prompt) > len(words) + 10
            assert "Input" not in prompt and "Converts" not in prompt
        assert answer == easel_client.post("/beautiful_prompt/generate", json=body).json()
