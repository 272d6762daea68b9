"""What an img2img request starts from: a picture, a sketch over it, a mask, or several files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from PIL import Image as Pillow

from easel.errors import BadRequest
from easel.imaging.decode import open_picture
from easel.ui.page import Place
from easel.ui.prompts import QUIET

if TYPE_CHECKING:
    from easel.ui.page import Page

START_PLACES = ("img2img", "inpaint", "sketch")


@dataclass(frozen=True, slots=True)
class Start:
    """The components, and how their values become fields. `mode` is the hidden id of the open tab."""

    page: Page
    tabs: Sequence[gr.Tab]
    mode: gr.Textbox
    picture: gr.Image
    sketch: gr.ImageEditor
    inpaint: gr.ImageEditor
    inpaint_sketch: gr.ImageEditor
    upload: gr.Image
    upload_mask: gr.Image
    batch: gr.File

    @property
    def components(self) -> Sequence[Component]:
        """In the order that `fields` takes their values."""
        drawn = [self.sketch, self.inpaint, self.inpaint_sketch]
        return [self.mode, self.picture, *drawn, self.upload, self.upload_mask, self.batch]

    def fields(self, mode: str, *values: Any) -> Mapping[str, Any]:
        """`init_images` and `mask`; of a batch all files, one request each. Errors: BadRequest (nothing there)."""
        picture, sketch, inpaint, inpaint_sketch, upload, upload_mask, batch = values
        match mode:
            case "sketch" if sketch and sketch["composite"] is not None:
                return {"init_images": [encoded(sketch["composite"].convert("RGB"))]}
            case "inpaint" if inpaint and inpaint["background"] is not None:
                return self._masked(inpaint, inpaint["background"])
            case "inpaint_sketch" if inpaint_sketch and inpaint_sketch["background"] is not None:
                return self._masked(inpaint_sketch, inpaint_sketch["composite"])
            case "inpaint_upload" if upload and upload_mask:
                return {"init_images": [read(upload)], "mask": read(upload_mask)}
            case "batch" if batch:
                return {"init_images": [read(path) for path in batch]}
            case "img2img" if picture:
                return {"init_images": [read(picture)]}
        raise BadRequest(self.page.text("There is no picture to start from"), field="init_images")

    def _masked(self, painted_on: Mapping[str, Any], picture: Pillow.Image) -> Mapping[str, Any]:
        if (mask := painted(painted_on["layers"])) is None:
            text = "Nothing is painted: paint over what is to be made anew"
            raise BadRequest(self.page.text(text), field="mask")
        return {"init_images": [encoded(picture.convert("RGB"))], "mask": encoded(mask)}


def build_start(page: Page) -> Start:
    """The row of tabs."""
    _ = page.text
    mode = gr.Textbox("img2img", visible="hidden", elem_id="img2img_mode", show_label=False, container=False)
    plain: dict[str, Any] = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"], "height": 420}
    drawn: dict[str, Any] = {
        "type": "pil", "format": "png", "sources": ["upload", "clipboard"], "transforms": (), "height": 480,
        "layers": gr.LayerOptions(allow_additional_layers=False), "show_label": False,
        "visible": False,  # until it is asked for: the editor is more code than all the rest of the page
    }  # fmt: skip
    with gr.Tabs(elem_id="img2img_modes", elem_classes="easel-modes") as modes:
        with gr.Tab(_("img2img"), id="img2img") as one:
            picture = gr.Image(**plain, show_label=False, elem_id="img2img_image")
        with gr.Tab(_("Sketch"), id="sketch") as two:
            brush = gr.Brush(colors=["#d33a2c", "#2c7bd3", "#e8c020", "#2c9a4b", "#000000", "#ffffff"])
            sketch = gr.ImageEditor(**drawn, brush=brush, elem_id="img2img_sketch")
        with gr.Tab(_("Inpaint"), id="inpaint") as three:
            marker = gr.Brush(colors=["#b43ac8"], color_mode="fixed", default_size=40)  # seen on most pictures
            inpaint = gr.ImageEditor(**drawn, brush=marker, elem_id="img2img_inpaint")
        with gr.Tab(_("Inpaint sketch"), id="inpaint_sketch") as four:
            coloured = gr.ImageEditor(**drawn, brush=brush, elem_id="img2img_inpaint_sketch")
        with gr.Tab(_("Inpaint upload"), id="inpaint_upload") as five, gr.Row():
            upload = gr.Image(**plain, label=_("Picture"), elem_id="img2img_upload")
            upload_mask = gr.Image(**plain, label=_("Mask: white is made anew"), elem_id="img2img_upload_mask")
        with gr.Tab(_("Batch"), id="batch") as six:
            said = _("Every file is a request of its own; the results are saved like all pictures.")
            gr.Markdown(said, elem_classes="easel-said")
            batch = gr.File(file_count="multiple", file_types=["image"], label=_("Pictures"), elem_id="img2img_batch")
    page.places["img2img"] = Place(tab="img2img", parts={"picture": picture}, inner=(modes, "img2img"))
    page.places["inpaint"] = Place(tab="img2img", parts={"picture": inpaint}, inner=(modes, "inpaint"))
    page.places["sketch"] = Place(tab="img2img", parts={"picture": sketch}, inner=(modes, "sketch"))
    tabs = (one, two, three, four, five, six)
    start = Start(page, tabs, mode, picture, sketch, inpaint, coloured, upload, upload_mask, batch)
    _connect_modes(start)
    return start


def _connect_modes(start: Start) -> None:
    """Know which tab is open; what a mask means is asked for where there is one (`page.css`)."""
    editors = {"sketch": start.sketch, "inpaint": start.inpaint, "inpaint_sketch": start.inpaint_sketch}
    for tab in start.tabs:
        mode, editor = str(tab.id), editors.get(str(tab.id))
        said = f"easel.mode('{mode}')"
        if editor is None:
            tab.select(None, None, start.mode, js=f"() => {said}", **QUIET)
        else:
            js = f"() => [{said}, {{__type__: 'update', visible: true}}]"
            tab.select(None, None, [start.mode, editor], js=js, **QUIET)


def painted(layers: Sequence[Pillow.Image]) -> Pillow.Image | None:
    """What was painted over a picture, as a mask (mode L, white where anything is); None for nothing."""
    mask: Pillow.Image | None = None
    for layer in layers:
        alpha = layer.getchannel("A").point(lambda value: 255 if value >= 128 else 0)
        if alpha.getbbox():
            mask = alpha if mask is None else Pillow.composite(alpha, mask, alpha)
    return mask


def encoded(pixels: Pillow.Image) -> str:
    """A picture as a request has it: base64 of a PNG."""
    written = io.BytesIO()
    pixels.save(written, "PNG", compress_level=1)
    return base64.b64encode(written.getvalue()).decode("ascii")


def read(path: str) -> str:
    """An uploaded file as a request has it."""
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


def size_of(page: Page, picture: str) -> tuple[int, int]:
    """The size in pixels of a picture that a request starts from. Errors: BadRequest, BadImage."""
    data = base64.b64decode(picture)
    return open_picture(data, field="init_images[0]", max_pixels=page.app.settings.max_input_pixels).size
