"""Pictures from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from easel.ui.page import Place

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "txt2img"


def build(page: Page) -> None:
    """The tab."""
    prompt = gr.Textbox(label=page.text("Prompt"), lines=3, elem_id="txt2img_prompt")
    negative = gr.Textbox(label=page.text("Negative prompt"), lines=3, elem_id="txt2img_neg_prompt")
    page.places["txt2img"] = Place(tab="txt2img", prompt=prompt, negative=negative)
