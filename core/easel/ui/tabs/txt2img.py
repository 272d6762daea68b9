"""Pictures from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from easel.ui import choices
from easel.ui.cards import build_cards
from easel.ui.gallery import build_gallery
from easel.ui.generation import Generation, connect
from easel.ui.page import Place
from easel.ui.panel import Panel, build_guidance, build_hires, build_refiner, build_sampling, build_seed, build_size
from easel.ui.prompts import build_prompts
from easel.ui.scripts import build_scripts

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "txt2img"


def build(page: Page) -> None:
    """The tab."""
    first = choices.first_values(page.app.chosen_checkpoint())
    panel = Panel("txt2img")
    prompts = build_prompts(page, "txt2img")
    with gr.Tabs(elem_id="txt2img_inner", elem_classes="easel-inner-tabs"):
        with gr.Tab(page.text("Generation"), id="txt2img_generation"), gr.Row(elem_classes="easel-work"):
            with gr.Column(scale=1, min_width=320, elem_id="txt2img_settings", elem_classes="easel-settings"):
                build_sampling(page, panel, first)
                build_hires(page, panel)
                build_refiner(page, panel)
                build_size(page, panel, first)
                build_guidance(page, panel, first)
                build_seed(page, panel)
                scripts = build_scripts(page, "txt2img")
            sent_to = [("▣", "img2img", "img2img"), ("✎", "inpaint", "Inpaint"), ("⤢", "extras", "Extras")]
            gallery = build_gallery(page, "txt2img", sent_to)
        build_cards(page, "txt2img")
    tab = Generation(panel=panel, prompts=prompts, gallery=gallery, scripts=scripts)
    page.places["txt2img"] = Place(tab="txt2img", parts=tab.parts)
    connect(page, tab)
