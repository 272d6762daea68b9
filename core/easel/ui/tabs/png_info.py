"""What a picture says about how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError
from easel.imaging.decode import open_picture
from easel.imaging.metadata import generation_data_of
from easel.ui.generation import pasted
from easel.ui.markup import failed
from easel.ui.page import Place
from easel.ui.panel import Kind

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "PNG Info"
_LONG = 400  # characters; a receipt is longer
_PLACES: Mapping[str, Kind] = {"txt2img": "txt2img", "img2img": "img2img", "inpaint": "img2img"}  # that take the data
_TITLES = {"txt2img": "txt2img", "img2img": "img2img", "inpaint": "Inpaint", "extras": "Extras"}


def build(page: Page) -> None:
    """The tab: a picture on the left, its generation data on the right, and where they can go."""
    _ = page.text
    with gr.Row(elem_classes="easel-work"):
        with gr.Column(min_width=320):
            picture = gr.Image(
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                show_label=False,
                height=520,
                elem_id="pnginfo_image",
            )
        with gr.Column(min_width=320, elem_classes="easel-results"):
            shown = gr.HTML(_told(page, "", {}), elem_id="pnginfo_shown")
            text = gr.Textbox("", visible="hidden", elem_id="pnginfo_text", show_label=False, container=False)
            places = [place for place in (*_PLACES, "extras") if place in page.places]
            senders = page.senders("pnginfo", {place: f"→ {_(_TITLES[place])}" for place in places})
    for place in places:
        if (kind := _PLACES.get(place)) is None:
            page.send(senders, to=place, fill=["picture"], inputs=[picture])
        else:
            known = page.places[place]
            page.send(senders, to=place, fill=known.names, **_filling(page, kind, picture, text, known))
    page.places["png_info"] = Place(tab="png_info", parts={"picture": picture})

    def read(path: str | None) -> tuple[str, str]:
        if not path:
            return _told(page, "", {}), ""
        try:
            limit = page.app.settings.max_input_pixels
            found = generation_data_of(open_picture(Path(path).read_bytes(), max_pixels=limit))
        except EaselError as error:
            raise failed(error) from error
        return _told(page, found.infotext, found.items), found.infotext

    picture.change(read, picture, [shown, text], show_progress="hidden")


def _filling(page: Page, kind: Kind, picture: gr.Image, text: gr.Textbox, place: Place) -> dict[str, Any]:
    """What a button puts into a place: the values that the generation data name, and the picture where one can be."""

    def fill(path: str | None, infotext: str) -> list[Any]:
        values = {**(pasted(page, kind, infotext) if infotext else {}), "picture": path}
        return [values.get(name) for name in place.names]

    return {"inputs": [picture, text], "fn": fill}


def _told(page: Page, infotext: str, items: Mapping[str, Any]) -> str:
    """The data as HTML: prompts first, then what else the file holds."""
    if not infotext and not items:
        return f'<div class="easel-gallery easel-said">{escape(page.text("Drop a picture to read its data."))}</div>'
    parts = [f"<p>{escape(line)}</p>" for line in infotext.split("\n") if line]
    more = [_item(str(name), str(value)) for name, value in items.items()]
    missing = (
        "" if infotext else f'<p class="easel-warning">{escape(page.text("There are no generation data in it."))}</p>'
    )
    return f'<div class="easel-gallery easel-infotext">{missing}{"".join(parts)}<hr>{"".join(more)}</div>'


def _item(name: str, value: str) -> str:
    """What else a file holds; long texts are folded."""
    if len(value) <= _LONG:
        return f"<p><b>{escape(name)}</b><br>{escape(value)}</p>"
    return f"<details><summary>{escape(name)}</summary><p>{escape(value)}</p></details>"
