"""Extensions that write prompts, together: wildcards are drawn, then the text is expanded, then tags are read."""

from __future__ import annotations

from pathlib import Path

from easel.extensions.finder import CHECKOUT
from easel.extensions.registry import Registry


def test_wildcards_then_the_expander_then_tags(tmp_path: Path) -> None:
    registry = Registry([CHECKOUT / "extensions"], tmp_path)
    registry.load()
    order = [one.extension for one in registry.hooks.implementations["rewrite_prompt"]]
    assert [name for name in order if name in ("wildcards", "beautiful-prompt", "lora", "hypernetworks")] == [
        "wildcards",
        "beautiful-prompt",
        "hypernetworks",
        "lora",
    ]


def test_the_censor_has_the_last_word_on_pictures(tmp_path: Path) -> None:
    registry = Registry([CHECKOUT / "extensions"], tmp_path, required=("nsfw-censor",))
    registry.load()
    assert registry.hooks.implementations["review_images"][-1].extension == "nsfw-censor"
