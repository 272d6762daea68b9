"""What happens on a generation tab: Generate, Interrupt, Skip, ↙️, and jobs that go on while a page is loaded again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from easel.api.infotext_fields import merge_infotext
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import EaselError
from easel.prompt.styles import styles_of
from easel.ui.cards import build_cards
from easel.ui.gallery import Gallery, Made, build_gallery, own_job
from easel.ui.generate import Shown, failure, generate, watch
from easel.ui.markup import failed
from easel.ui.page import Place
from easel.ui.panel import Kind, Panel, build_panel, connect_sizes, switches
from easel.ui.prompts import Prompts, build_prompts
from easel.ui.scripts import Scripts, build_scripts
from easel.ui.start import Start, size_of

if TYPE_CHECKING:
    from easel.ui.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The parts of a tab. `start` is what a request starts from, where it does."""

    panel: Panel
    prompts: Prompts
    gallery: Gallery
    scripts: Scripts
    start: Start | None

    @property
    def place(self) -> Place:
        """What others may fill, by field of the request."""
        prompts, panel = self.prompts, self.panel
        texts = {"prompt": prompts.prompt, "negative_prompt": prompts.negative, "styles": prompts.styles}
        return Place(tab=panel.kind, parts=texts, form=panel.form, fields=tuple(panel.defaults))


def build_generation(page: Page, kind: Kind, build_start: Callable[[Page], Start] | None = None) -> Generation:
    """The whole tab."""
    prompts = build_prompts(page, kind)
    build_cards(page, kind)
    with gr.Row(elem_classes="easel-work"):
        with gr.Column(scale=1, min_width=320, elem_id=f"{kind}_settings", elem_classes="easel-settings"):
            start = build_start(page) if build_start else None
            panel = build_panel(page, kind)
            scripts = build_scripts(page, kind)
        gallery = build_gallery(page, kind)
    tab = Generation(panel=panel, prompts=prompts, gallery=gallery, scripts=scripts, start=start)
    _connect(page, tab)
    return tab


def _connect(page: Page, tab: Generation) -> None:
    """Let the buttons do what they say."""
    kind, prompts, gallery, place = tab.panel.kind, tab.prompts, tab.gallery, tab.place
    top: list[Component] = [page.checkpoint, page.vae, prompts.prompt, prompts.negative, prompts.styles]
    forms, pictures = [tab.panel.form, tab.scripts.component], list(tab.start.components) if tab.start else []
    shown: list[Component] = [gallery.progress, gallery.pictures, gallery.job]

    async def run(request: gr.Request, *values: Any) -> AsyncIterator[Any]:
        made: Made = []
        try:
            asked = _fields(page, tab, values)
            for request_fields in _each(page, asked):
                async for one in generate(page, page.user(request), kind, request_fields, made):
                    yield _updates(one)
        except EaselError as error:
            yield _updates((failure(page, error), None, ""))

    async def resume(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        try:
            job = own_job(page.app, page.user(request), event._data["job"])
        except EaselError:
            yield _updates(("", None, ""))  # none, or of a service that was started anew
            return
        begin = time.monotonic() - page.app.jobs.elapsed(job)
        async for one in watch(page, job, begin):
            yield _updates(one)

    prompts.actions.generate(run, [*top, *forms, *pictures], shown, show_progress="hidden")
    prompts.actions.resume(resume, None, shown, show_progress="hidden")
    for pressed, what in ((prompts.actions.interrupt, "interrupt"), (prompts.actions.skip, "skip")):
        pressed(_signalling(page, what), gallery.job, None, show_progress="hidden")
    names = place.names

    def paste(text: str) -> Any:
        return place.values(dict.fromkeys(names) | pasted(page, kind, text))

    prompts.actions.paste(paste, prompts.prompt, place.outputs(names), show_progress="hidden")

    def measured(*values: Any) -> tuple[int, int]:
        assert tab.start is not None  # whose button it is
        try:
            return size_of(page, tab.start.fields(*values)["init_images"][0])
        except EaselError as error:
            raise failed(error) from None

    connect_sizes(page, tab.panel, measured, pictures)


def _updates(shown: Shown) -> list[Any]:
    progress, pictures, job = shown
    return [progress, gr.skip() if pictures is None else pictures, job]


def _fields(page: Page, tab: Generation, values: Sequence[Any]) -> dict[str, Any]:
    """The fields of the request. Errors: EaselError for what cannot be one."""
    checkpoint, vae, prompt, negative, styles, panel, scripts, *started = values
    fields = tab.panel.sent(panel)
    fields |= {"prompt": prompt, "negative_prompt": negative, "styles": styles or []}
    fields |= {**(tab.start.fields(*started) if tab.start else {}), **tab.scripts.asked(scripts)}
    if "init_images" in fields and "mask" not in fields:
        fields = {name: value for name, value in fields.items() if not name.startswith(("mask_", "inpaint"))}
    app = page.app
    picked = {
        name: value
        for name, value, now in (
            ("sd_model_checkpoint", checkpoint, app.chosen_checkpoint().title),
            ("sd_vae", vae, app.options.get("sd_vae")),
        )
        if value and value != now
    }
    return fields | ({"override_settings": picked} if picked else {})


def _each(page: Page, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One request for each picture to start from. Errors: BadImage where its size counts."""
    fields, scale = dict(fields), fields.get("resize_by")
    fields.pop("resize_by", None)
    for picture in fields.get("init_images", (None,)):
        one = fields if picture is None else fields | {"init_images": [picture]}
        if picture is not None and scale:
            width, height = size_of(page, picture)
            one |= {"width": max(8, round(width * scale / 8) * 8), "height": max(8, round(height * scale / 8) * 8)}
        yield one


def _signalling(page: Page, what: Any) -> Callable[..., None]:
    def signal(job_id: str, request: gr.Request) -> None:
        with suppress(EaselError):  # it has ended meanwhile, or has not begun
            page.app.jobs.signal(what, own_job(page.app, page.user(request), job_id))

    return signal


def pasted(page: Page, kind: Kind, text: str) -> dict[str, Any]:
    """What generation data say, by field of the request and switch of the panel. Errors: gr.Error."""
    body = (Txt2ImgBody if kind == "txt2img" else Img2ImgBody)(infotext=text)
    try:
        read, report = merge_infotext(page.app, body, styles_of(page.app.settings))
    except EaselError as error:
        raise failed(error) from None
    for line in report:
        gr.Info(f"{line.item}: {line.reason}")
    told = {name: getattr(read, name) for name in read.model_fields_set}
    if "seed" not in told and "steps" not in told:  # a mere prompt
        return {"prompt": text}
    return {"negative_prompt": "", "styles": [], **told, **switches(told)}
