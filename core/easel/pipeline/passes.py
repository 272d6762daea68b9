"""The passes of one batch: first, img2img, hires. Each prepares texts and steering, and lets the engine denoise."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image as Pillow

from easel.engine.engine import DenoisePlan, Engine, Latents, ModelSpec, PictureNoise, Texts
from easel.extensions.hooks import Hooks
from easel.imaging.grid import grid_image
from easel.pipeline.frame import Frame
from easel.values.conditioning import Conditioning, LatentMask
from easel.values.image import Image
from easel.values.job import Job, Progress
from easel.values.prompt import Prompt
from easel.values.sampling import SAMPLERS
from easel.values.step import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easel.imaging.start import Start, StartMask


Pairs = tuple[tuple[str, object], ...]  # what the infotext gains
STRETCH_LATENT = 3  # resize_mode: the start picture keeps its size, its latent is stretched


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch on its way: everything its passes share."""

    engine: Engine
    hooks: Hooks
    job: Job
    model: ModelSpec
    frame: Frame
    prompt: Prompt
    noise: tuple[PictureNoise, ...]
    parts_done: int  # passes of this job before this batch
    parts: int  # passes of the whole job
    step: int  # pixels per latent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """How one pass runs."""

    stage: Literal["first", "hires"]
    frame: Frame
    sampler: str
    scheduler: str
    steps: int
    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass made, what steered it, how far the latents of a soft mask moved (h, w), and what its texts add to
    the infotext."""

    latents: Latents
    steering: Conditioning
    distances: tuple[NDArray[np.float32], ...]
    infotext: Pairs


def first_pass(batch: Batch, start: Start | None) -> Passed:
    """Texts to latents.

    With `start` the pass begins at the noised start pictures (img2img, inpainting).
    """
    request, prompt = batch.job.request, batch.prompt
    setup = _Setup(
        stage="first",
        frame=batch.frame,
        sampler=request.sampler,
        scheduler=request.scheduler,
        steps=request.steps,
        positive=prompt.positive,
        negative=prompt.negative,
    )
    plan = _plan(batch, setup, start)
    if start is not None:
        plan = _from_start(batch, plan, start)
    plan = _refined(batch, plan, setup)
    return _passed(batch, batch.model, plan)


def _refined(batch: Batch, plan: DenoisePlan, setup: _Setup) -> DenoisePlan:
    """The plan with the request's refiner, if it works in this pass: with hires an option says in which."""
    request = batch.job.request
    if request.refiner is None:
        return plan
    if request.hires is not None:
        here = "first pass" if setup.stage == "first" else "second pass"
        if request.options.hires_fix_refiner_pass not in (here, "both passes"):
            return plan
    refiner = replace(batch.model, checkpoint=request.refiner.checkpoint, adapters=())  # A1111's has no LoRAs either
    return replace(
        plan,
        refiner=refiner,
        refiner_texts=_texts(batch, refiner, setup),
        refiner_switch_at=request.refiner.switch_at,
    )


def _from_start(batch: Batch, plan: DenoisePlan, start: Start) -> DenoisePlan:
    request, frame = batch.job.request, batch.frame
    assert request.init is not None
    stretch = request.init.resize_mode == STRETCH_LATENT
    padded = {one: frame.fitted(one.array()) for one in start.pictures}
    if stretch:
        padded = {one: Frame.of(*one.pixels.size, batch.step).fitted(one.array()) for one in start.pictures}
    init = batch.engine.encode_pictures(batch.job, batch.model, [padded[one] for one in start.pictures])
    if stretch:
        init = batch.engine.resize_latents(batch.job, init, "bilinear", frame.grid_width, frame.grid_height)
    strength = request.denoising_strength
    plan = replace(
        plan,
        init=init,
        denoising_strength=0.75 if strength is None else strength,
    )
    if start.mask is None or request.init.inpaint is None:
        return plan
    return replace(
        plan,
        fill=request.init.inpaint.fill,
        masked_pictures=tuple(padded[one] for one in start.pictures),
        pixel_mask=_fitted(start.mask, frame).pixels(),
    )


def _latent_mask(batch: Batch, mask: StartMask) -> LatentMask:
    frame = batch.frame
    return LatentMask(mask=_fitted(mask, frame).latent(frame.grid_width // batch.step, frame.grid_height // batch.step))


def _fitted(mask: StartMask, frame: Frame) -> StartMask:
    """The mask on the model's grid."""

    def fitted(one: Pillow.Image) -> Pillow.Image:
        return Pillow.fromarray(frame.fitted(np.asarray(one)))

    own = mask.own_latent
    return replace(mask, work=fitted(mask.work), own_latent=None if own is None else fitted(own))


def hires_pass(batch: Batch, frame: Frame, model: ModelSpec, latents: Latents) -> Passed:
    """Latents of the target size, denoised again with exactly the hires steps."""
    request, prompt, hires = batch.job.request, batch.prompt, batch.job.request.hires
    assert hires is not None
    setup = _Setup(
        stage="hires",
        frame=frame,
        sampler=hires.sampler or request.sampler,
        scheduler=hires.scheduler or request.scheduler,
        steps=hires.steps or request.steps,
        positive=prompt.hires_positive,
        negative=prompt.hires_negative,
    )
    second = replace(batch, model=model, parts_done=batch.parts_done + 1)
    plan = replace(_plan(second, setup), init=latents, denoising_strength=hires.denoising_strength, exact_steps=True)
    plan = _refined(second, plan, setup)
    return _passed(batch, model, plan)


def _passed(batch: Batch, model: ModelSpec, plan: DenoisePlan) -> Passed:
    latents = batch.engine.denoise(batch.job, model, plan)
    batch.job.work += plan.width * plan.height * plan.steps * len(plan.pictures) / 1e6
    mask = plan.conditioning.mask
    soft = mask is not None and mask.soft is not None
    distances = tuple(batch.engine.distances(batch.job, latents)) if soft else ()
    return Passed(latents, plan.conditioning, distances, plan.texts.extra_infotext)


def _plan(batch: Batch, setup: _Setup, start: Start | None = None) -> DenoisePlan:
    frame = setup.frame
    steering = Conditioning(
        stage=setup.stage,
        width=frame.width,
        height=frame.height,
        images=len(batch.noise),
        crop=None if start is None else start.crop,
        mask=None if start is None or start.mask is None else _latent_mask(batch, start.mask),
    )
    return DenoisePlan(
        request=batch.job.request,
        width=setup.frame.grid_width,
        height=setup.frame.grid_height,
        pictures=batch.noise,
        texts=_texts(batch, batch.model, setup),
        conditioning=batch.hooks.add_conditioning(steering, batch.job),
        sampler=setup.sampler,
        scheduler=setup.scheduler,
        steps=setup.steps,
        on_step=_listener(batch),
    )


def _texts(batch: Batch, model: ModelSpec, setup: _Setup) -> Texts:
    request, hires = batch.job.request, setup.stage == "hires"
    if hires and request.options.hires_fix_use_firstpass_conds and model.checkpoint == request.checkpoint:
        model = replace(model, adapters=batch.prompt.adapters)  # what that option is about: the first pass's networks
    return batch.engine.encode_prompts(
        batch.job,
        model,
        setup.positive,
        setup.negative,
        steps=SAMPLERS[setup.sampler].denoiser_calls(setup.steps),
        width=setup.frame.grid_width,
        height=setup.frame.grid_height,
        hires=hires,
        first_pass_steps=SAMPLERS[request.sampler].denoiser_calls(request.steps),
    )


def _listener(batch: Batch) -> Callable[[Step], None]:
    """What hears of every step: the job's progress, previews when due, and the `denoise_step` hooks."""
    job, options = batch.job, batch.job.request.options
    every = options.show_progress_every_n_steps if options.live_previews_enable else 0

    def on_step(step: Step) -> None:
        due = every > 0 and (step.index + 1) % every == 0
        part = batch.parts_done
        job.tell(
            Progress(
                stage=step.stage,
                step=step.index,
                steps=step.total,
                part=part,
                parts=batch.parts,
                preview=_preview(batch, step) if due else None,
            )
        )
        batch.hooks.denoise_step(step, job)

    return on_step


def _preview(batch: Batch, step: Step) -> bytes:
    """A small JPEG of the batch; previews are reviewed like every picture that leaves."""
    kind = "full" if batch.job.request.options.show_progress_type == "Full" else "cheap"
    drafts = tuple(
        Image(pixels=Pillow.fromarray(pixels), kind="intermediate", index=k)
        for k, pixels in enumerate(step.preview(kind))
    )
    reviewed = [image.pixels for image in batch.hooks.review_images(drafts, batch.job)]
    picture = reviewed[0] if len(reviewed) == 1 else grid_image(reviewed, rows=-1, batch_size=len(reviewed))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    return data.getvalue()
