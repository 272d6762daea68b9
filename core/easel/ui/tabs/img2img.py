"""Pictures from a text and a picture: as it is, sketched over, with a mask, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError
from easel.ui import choices
from easel.ui.cards import build_cards
from easel.ui.gallery import build_gallery
from easel.ui.generation import Generation, Pictures, connect
from easel.ui.page import Place
from easel.ui.panel import (
    Panel,
    build_guidance,
    build_masking,
    build_refiner,
    build_resizing,
    build_sampling,
    build_seed,
    build_size,
)
from easel.ui.prompts import build_prompts
from easel.ui.scripts import build_scripts
from easel.ui.start import build_start, connect_modes, size_of

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "img2img"


def build(page: Page) -> None:
    """The tab."""
    first = choices.first_values(page.app.chosen_checkpoint())
    panel = Panel("img2img")
    prompts = build_prompts(page, "img2img")
    with gr.Tabs(elem_id="img2img_inner", elem_classes="easel-inner-tabs"):
        with gr.Tab(page.text("Generation"), id="img2img_generation"), gr.Row(elem_classes="easel-work"):
            with gr.Column(scale=1, min_width=320, elem_id="img2img_settings", elem_classes="easel-settings"):
                start = build_start(page)
                build_resizing(page, panel)
                with gr.Group(visible=False) as masking:
                    build_masking(page, panel)
                connect_modes(start, masking)
                build_sampling(page, panel, first)
                build_refiner(page, panel)
                tools = build_size(page, panel, first)
                with tools:
                    measure = page.tool("▣", "img2img_measure", "The size of the picture")
                build_guidance(page, panel, first)
                build_seed(page, panel)
                scripts = build_scripts(page, "img2img")
            sent_to = [("▣", "img2img", "img2img"), ("✎", "inpaint", "Inpaint"), ("⤢", "extras", "Extras")]
            gallery = build_gallery(page, "img2img", sent_to)
        build_cards(page, "img2img")
    pictures = Pictures(start.components, start.fields)
    tab = Generation(panel=panel, prompts=prompts, gallery=gallery, scripts=scripts, pictures=pictures)
    for name in ("img2img", "inpaint", "sketch"):
        place = page.places[name]
        page.places[name] = Place(tab=place.tab, inner=place.inner, parts={**tab.parts, **place.parts})
    connect(page, tab)

    def size(*values: Any) -> tuple[int, int]:
        try:
            return size_of(page, start.fields(*values))
        except EaselError as error:
            raise gr.Error(error.message) from error

    sides = [panel.fields["width"], panel.fields["height"]]
    measure.click(size, list(start.components), sides, show_progress="hidden", api_visibility="private")
