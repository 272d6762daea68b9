"""The pictures of a job: thumbnails, the chosen one large, what it was made from, and what can be done with it.

The HTML is made here; choosing, the large view and the keys are `page.js`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
from PIL import Image as Pillow

from easel.api.infotext_fields import fields_of
from easel.errors import EaselError, NotFound
from easel.prompt.infotext import parse_infotext
from easel.ui.markup import failed
from easel.values.result import Result

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.ui.page import Page
    from easel.values.image import SavedImage
    from easel.values.job import Job
    from easel.values.user import User

Made = list[tuple["Job", Result]]  # jobs whose pictures are shown together
SENT_TO = (("▣", "img2img", "img2img"), ("✎", "inpaint", "Inpaint"), ("⤢", "extras", "Extras"))  # symbol, place, title
SENT = ("picture", "prompt", "negative_prompt", "width", "height", "seed")


@dataclass(frozen=True, slots=True)
class Gallery:
    """The components that show a job: `progress` while it runs, `pictures`, and the hidden id of the job."""

    progress: gr.HTML
    pictures: gr.HTML
    job: gr.Textbox


def build_gallery(page: Page, name: str) -> Gallery:
    """A gallery with its buttons."""
    with gr.Column(elem_id=f"{name}_results", elem_classes="easel-results", min_width=320):
        progress = gr.HTML("", elem_id=f"{name}_progress", elem_classes="easel-bare")
        pictures = gr.HTML(empty_gallery(), elem_id=f"{name}_gallery", elem_classes="easel-bare")
        job = gr.Textbox("", visible="hidden", elem_id=f"{name}_job", show_label=False, container=False)
        titles = {place: f"{symbol} {page.text(title)}" for symbol, place, title in SENT_TO}
        senders = page.senders(name, titles)
    for place in titles:
        chosen = f"(job) => easel.chosen('{name}', job)"
        page.send(senders, to=place, fill=SENT, inputs=[job], fn=_sending(page), js=chosen)
    return Gallery(progress, pictures, job)


def _sending(page: Page) -> Callable[..., Any]:
    def send(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        """The picture `job/number` and what it was made from. Errors: gr.Error."""
        job_id, _, number = chosen.partition("/")
        if not job_id:
            raise failed(page.text("There is no picture yet"))
        try:
            image, pixels = picture_of(page.app, page.user(request), job_id, int(number or 0))
        except EaselError as error:
            raise failed(error) from error
        told = fields_of(parse_infotext(image.infotext)) if image.infotext else {}
        seed = int(told["seed"]) if "seed" in told else gr.skip()
        texts = told.get("prompt", gr.skip()), told.get("negative_prompt", gr.skip())
        return pixels, *texts, pixels.width, pixels.height, seed  # a hires pass's size, not the one it began with

    return send


def picture_of(app: Easel, user: User, job_id: str, number: int) -> tuple[SavedImage, Pillow.Image]:
    """A picture of one of the user's jobs. Errors: NotFound."""
    job = own_job(app, user, job_id)
    outcome = app.jobs.outcome(job)
    if not isinstance(outcome, Result) or not 0 <= number < len(outcome.images):
        raise NotFound("this job has no such picture")
    image = outcome.images[number]
    return image, opened(image)


def opened(image: SavedImage) -> Pillow.Image:
    """Its pixels."""
    return Pillow.open(io.BytesIO(image.data)).convert("RGB")


def own_job(app: Easel, user: User, job_id: str) -> Job:
    """One of the user's jobs. Errors: NotFound."""
    job = app.jobs.find(job_id, None if user.admin else user.name) if job_id else None
    if job is None:
        raise NotFound("there is no such job")
    return job


def empty_gallery() -> str:
    """Where pictures will be."""
    return '<div class="easel-gallery easel-empty"><div class="easel-stage"><span>▣</span></div></div>'


def gallery_html(page: Page, made: Made, seconds: float) -> str:
    """The pictures of finished jobs, one after the other. `seconds`: how long the last took."""
    job, result = made[-1]
    shown = [(of, number, image) for of, its in made for number, image in enumerate(its.images)]
    if not shown:
        return f'<div class="easel-gallery easel-empty"><p>{escape(page.text("No picture was made."))}</p></div>'
    thumbs = "".join(_thumb(of, number, image, index) for index, (of, number, image) in enumerate(shown))
    about = "".join(
        f'<div class="easel-infotext" data-index="{index}">{_infotext(image)}</div>'
        for index, (_, _, image) in enumerate(shown)
    )
    taken = f"{page.text('Time taken')}: {seconds:.1f} s"
    told = "".join(f'<p class="easel-warning">{escape(text)}</p>' for text in _warnings(job, result))
    packed = f'<a href="easel/v1/jobs/{job.id}/images.zip" download>▤ Zip</a>' if len(made) == 1 else ""
    return (
        f'<div class="easel-gallery" data-job="{job.id}"><div class="easel-stage" tabindex="0"></div>'
        f'<div class="easel-thumbs">{thumbs}</div>'
        f'<div class="easel-links"><a class="easel-save" download>↓ {escape(page.text("Save"))}</a>{packed}</div>'
        f'{about}<p class="easel-time">{escape(taken)}</p>{told}</div>'
    )


def _thumb(job: Job, number: int, image: SavedImage, index: int) -> str:
    source = f"easel/v1/jobs/{job.id}/images/{number}"
    kept = f"file={quote(image.path)}" if image.path else ""
    name = image.path.rpartition("/")[2] if image.path else f"{job.id[:8]}-{number}.{image.format}"
    return (
        f'<button class="easel-thumb" data-index="{index}" data-of="{job.id}/{number}" data-src="{source}" '
        f'data-file="{escape(kept)}" data-seed="{image.seed}" data-subseed="{image.subseed}" '
        f'data-name="{escape(name)}" aria-label="{image.kind} {number + 1}"><img src="{source}" alt=""></button>'
    )


def _infotext(image: SavedImage) -> str:
    lines = image.infotext.split("\n")
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)


def _warnings(job: Job, result: Result) -> list[str]:
    ignored = [f"{line.item}: {line.reason}" for line in job.told if line.outcome == "ignored"]
    return [*ignored, *(text for text in result.warnings if text not in ignored)]
