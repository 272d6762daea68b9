"""Pictures from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easel.ui.generation import build_generation

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "txt2img"


def build(page: Page) -> None:
    """The tab."""
    tab = build_generation(page, "txt2img")
    page.places["txt2img"] = tab.place
