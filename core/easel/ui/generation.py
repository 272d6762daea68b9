"""What happens on a generation tab: Generate, Interrupt, Skip, ↙️, and jobs that go on while a page is loaded again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from easel.api.infotext_fields import merge_infotext
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import EaselError
from easel.prompt.styles import styles_of
from easel.ui.gallery import Gallery, own_job
from easel.ui.generate import Shown, failure, generate, watch
from easel.ui.panel import Kind, Panel, sent, switches
from easel.ui.prompts import Prompts
from easel.ui.scripts import Scripts

if TYPE_CHECKING:
    from easel.ui.page import Page

_PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a request starts from: components, and how their values become fields of the request."""

    components: Sequence[Component]
    fields: Callable[..., Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The parts of a tab."""

    panel: Panel
    prompts: Prompts
    gallery: Gallery
    scripts: Scripts
    pictures: Pictures = Pictures((), dict)

    @property
    def parts(self) -> dict[str, Component]:
        """What others may fill, by field of the request."""
        prompts = self.prompts
        texts = {"prompt": prompts.prompt, "negative_prompt": prompts.negative, "styles": prompts.styles}
        return {**texts, **self.panel.fields}


def connect(page: Page, tab: Generation) -> None:
    """Let the buttons do what they say."""
    kind, prompts, gallery = tab.panel.kind, tab.prompts, tab.gallery
    top: list[Component] = [page.checkpoint, page.vae, prompts.prompt, prompts.negative, prompts.styles]
    fields, pictures, scripts = list(tab.panel.fields.values()), list(tab.pictures.components), tab.scripts.components
    shown: list[Component] = [gallery.progress, gallery.pictures, gallery.job]

    async def run(request: gr.Request, *values: Any) -> AsyncIterator[Any]:
        try:
            asked = _fields(page, tab, values)
        except EaselError as error:
            yield _updates((failure(page, error), None, ""))
            return
        for request_fields in _each(asked):
            async for one in generate(page, page.user(request), kind, request_fields):
                yield _updates(one)

    async def resume(job_id: str, request: gr.Request) -> AsyncIterator[Any]:
        try:
            job = own_job(page.app, page.user(request), job_id)
        except EaselError:
            yield _updates(("", None, ""))  # none, or of a service that was started anew
            return
        begin = time.monotonic() - page.app.jobs.elapsed(job)
        async for one in watch(page, job, begin):
            yield _updates(one)

    prompts.generate.click(run, [*top, *fields, *pictures, *scripts], shown, **_PRIVATE)
    page.on_load(resume, [gallery.job], shown, js=f"() => easel.job('{kind}')")
    for button, what in ((prompts.interrupt, "interrupt"), (prompts.skip, "skip")):
        button.click(_signalling(page, what), gallery.job, None, **_PRIVATE)
    parts = tab.parts
    prompts.paste.click(
        lambda text: pasted(page, kind, text, list(parts)), prompts.prompt, list(parts.values()), **_PRIVATE
    )


def _updates(shown: Shown) -> list[Any]:
    progress, pictures, job = shown
    return [progress, gr.skip() if pictures is None else pictures, job]


def _fields(page: Page, tab: Generation, values: Sequence[Any]) -> dict[str, Any]:
    """The fields of the request. Errors: EaselError for what cannot be one."""
    checkpoint, vae, prompt, negative, styles, *rest = values
    count, pictures = len(tab.panel.fields), len(tab.pictures.components)
    given, started, scripted = rest[:count], rest[count : count + pictures], rest[count + pictures :]
    fields = sent(tab.panel.kind, tab.panel.named(given))
    fields |= {"prompt": prompt, "negative_prompt": negative, "styles": styles or []}
    fields |= {**tab.pictures.fields(*started), **tab.scripts.asked(scripted)}
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


def _each(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """One request for each picture to start from."""
    if len(fields.get("init_images", ())) < 2:
        return [fields]
    return [fields | {"init_images": [picture]} for picture in fields["init_images"]]


def _signalling(page: Page, what: Any) -> Callable[..., None]:
    def signal(job_id: str, request: gr.Request) -> None:
        with suppress(EaselError):  # it has ended meanwhile, or has not begun
            page.app.jobs.signal(what, own_job(page.app, page.user(request), job_id))

    return signal


def pasted(page: Page, kind: Kind, text: str, names: Sequence[str]) -> list[Any]:
    """The values of components as generation data say; what they do not name stays. Errors: gr.Error."""
    body = (Txt2ImgBody if kind == "txt2img" else Img2ImgBody)(infotext=text)
    try:
        read, report = merge_infotext(page.app, body, styles_of(page.app.settings))
    except EaselError as error:
        raise gr.Error(error.message) from error
    for line in report:
        gr.Info(f"{line.item}: {line.reason}")
    told = {name: getattr(read, name) for name in read.model_fields_set}
    if "seed" not in told and "steps" not in told:  # a mere prompt
        told = {"prompt": text}
    else:
        told = {"negative_prompt": "", "styles": [], **told, **switches(told)}
    return [gr.skip() if told.get(name) is None else told[name] for name in names]
