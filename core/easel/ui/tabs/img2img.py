"""Pictures from a text and a picture: as it is, sketched over, with a mask, many at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from easel.ui.generation import build_generation
from easel.ui.start import START_PLACES, build_start

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "img2img"


def build(page: Page) -> None:
    """The tab."""
    tab = build_generation(page, "img2img", build_start)
    for name in START_PLACES:
        place = page.places[name]
        page.places[name] = replace(tab.place, inner=place.inner, parts={**tab.place.parts, **place.parts})
