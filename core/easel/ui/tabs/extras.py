"""Making pictures larger: the task of the extension `upscale`, with a form that is derived from what it takes."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel.errors import EaselError, NotFound
from easel.ui.controls import form_component
from easel.ui.forms import make_form
from easel.ui.gallery import build_gallery
from easel.ui.generate import failure, watch
from easel.ui.markup import failed
from easel.ui.page import Place
from easel.values.request import GenerationRequest, Output, TaskCall

if TYPE_CHECKING:
    from easel.ui.page import Page

TITLE = "Extras"
_CALL = TaskCall("upscale", "extras", {})
_FIELDS = (
    "upscaler_1", "upscaling_resize", "resize_mode", "upscaling_resize_w", "upscaling_resize_h", "upscaling_crop",
    "upscaler_2", "extras_upscaler_2_visibility",
)  # fmt: skip
_FACES = {"GFPGAN": ("gfpgan_visibility",), "CodeFormer": ("codeformer_visibility", "codeformer_weight")}


def build(page: Page) -> None:
    """The tab: pictures and wishes on the left, the results on the right."""
    _ = page.text
    try:
        task = page.app.extensions.hooks.task(_CALL)
    except NotFound:
        gr.Markdown(_("The extension “upscale” is switched off: there is nothing here without it."))
        return
    with gr.Row(elem_classes="easel-work"):
        with gr.Column(min_width=320, elem_classes="easel-settings"):
            plain: dict[str, Any] = {"sources": ["upload", "clipboard"], "image_mode": None, "type": "filepath"}
            picture = gr.Image(**plain, show_label=False, height=380, elem_id="extras_image")
            with gr.Accordion(_("Several pictures"), open=False):
                files = gr.File(
                    file_count="multiple", file_types=["image"], label=_("Pictures"), elem_id="extras_batch"
                )
            names = [one.name for one in page.app.upscalers]
            faces = [name for one in page.app.face_restorers if not one.lacks for name in _FACES.get(one.name, ())]
            form = make_form(
                page,
                task.arguments,
                choices={"upscaler_1": names, "upscaler_2": names},
                values={"upscaler_1": names[-1] if len(names) > 3 else "Lanczos"},
                only=(*_FIELDS, *faces),
            )
            wishes = form_component(form.html, "extras_panel")
        with gr.Column(min_width=320):
            button = gr.Button(_("Generate"), variant="primary", elem_id="extras_generate")
            gallery = build_gallery(page, "extras")
    page.places["extras"] = Place(tab="extras", parts={"picture": picture})

    async def run(
        request: gr.Request, one: str | None, several: list[str] | None, values: dict[str, Any]
    ) -> AsyncIterator[Any]:
        paths = several or ([one] if one else [])
        try:
            if not paths:
                raise failed(_("There is no picture to start from"))
            pictures = [base64.b64encode(Path(path).read_bytes()).decode("ascii") for path in paths]
            arguments = {**form.read(values), "pictures": pictures}
            task.parse(arguments)
            options = page.app.options.resolve({})
            call, output = TaskCall("upscale", "extras", arguments), Output(save=options.samples_save)
            asked = GenerationRequest(kind="task", task=call, options=options, output=output)
            job = page.app.jobs.submit(asked, user=page.user(request).name)
        except EaselError as error:
            yield [failure(page, error), gr.skip(), ""]
            return
        async for progress, shown, job_id in watch(page, job, time.monotonic()):
            yield [progress, gr.skip() if shown is None else shown, job_id]

    shown = [gallery.progress, gallery.pictures, gallery.job]
    button.click(run, [picture, files, wishes], shown, show_progress="hidden")
