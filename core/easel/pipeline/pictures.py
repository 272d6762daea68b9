"""The core's own `generate`: batch after batch, from texts or start pictures to finished pictures with infotext."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from PIL import Image as Pillow

from easel.engine.engine import Engine, Latents, ModelFacts, ModelSpec, PictureNoise
from easel.errors import EaselError
from easel.extensions.hooks import Hooks
from easel.generation_data import info, infotext
from easel.hookspecs import hookimpl
from easel.imaging.hires import HiresSize, hires_size
from easel.imaging.resize import STRETCH, resize
from easel.imaging.soft import soft_cover
from easel.imaging.start import Start, prepare_start
from easel.imaging.upscale import BUILT_IN, LATENT_MODES, all_upscalers, find_upscaler
from easel.pipeline.explain import Explained
from easel.pipeline.faces import check_faces, restore_faces
from easel.pipeline.frame import Frame
from easel.pipeline.passes import Batch, Pairs, Passed, first_pass, hires_pass
from easel.pipeline.road import Run, ignored, refuse_ignored
from easel.prompt.syntax import extract_networks
from easel.values.image import Image
from easel.values.job import Job, Progress
from easel.values.prompt import Prompt
from easel.values.request import GenerationRequest
from easel.values.result import Draft


@dataclass(frozen=True, slots=True)
class Told:
    """What a batch adds to the infotext."""

    networks: Pairs = ()
    scripts: Pairs = ()


@dataclass(frozen=True, slots=True)
class Made:
    """One batch's pictures, those that show what steered it, and what it adds to the infotext."""

    images: list[Image]
    maps: tuple[Pillow.Image, ...]
    told: Told


class Pictures:
    """The plugin that answers `generate` when no script did."""

    @hookimpl(trylast=True)
    def generate(self, job: Job) -> Draft:
        """Make the pictures of `job.request`."""
        if not isinstance(job.runner, Run):
            raise EaselError("this job is not on a road")
        made = draft(job.runner.engine, job.runner.hooks, job)
        if job.request.explain:
            raise Explained
        return made


def draft(engine: Engine, hooks: Hooks, job: Job) -> Draft:
    """All batches of a request."""
    request = check_faces(hooks, job)
    model = ModelSpec(checkpoint=request.checkpoint, vae=request.vae, tiling=request.tiling)
    job.tell(Progress(stage="load", parts=_parts(request)))
    facts = engine.facts(job, model)
    job.request = request = _hashed(engine, job, facts)
    model = replace(model, checkpoint=facts.title)
    frame = Frame.of(request.width, request.height, facts.pixels_per_latent)
    start = _start(hooks, job) if request.init is not None else None
    blank_mask = start is not None and start.blank_mask
    images: list[Image] = []
    maps: tuple[Image, ...] = ()
    told = Told()
    for number in range(request.n_iter):
        if number and job.interrupted:
            break
        job.next_batch()
        made = _batch(engine, hooks, job, model, facts, frame, start, number)
        images += made.images
        told = made.told
        maps = maps or tuple(Image(pixels=pixels, kind="control", index=k) for k, pixels in enumerate(made.maps))
    described = info(
        request, facts, images, told.networks, scripts=told.scripts, blank_mask=blank_mask, started=job.created
    )
    return Draft(images=(*images, *maps), info=described)


def _hashed(engine: Engine, job: Job, facts: ModelFacts) -> GenerationRequest:
    """The request with full titles of all its checkpoints: infotexts tell their hashes, which may have been unknown."""
    request = replace(job.request, checkpoint=facts.title)

    def title(checkpoint: str) -> str:
        return engine.facts(job, ModelSpec(checkpoint=checkpoint)).title

    if request.refiner is not None:
        refiner = replace(request.refiner, checkpoint=title(request.refiner.checkpoint))
        request = replace(request, refiner=refiner)
    if request.hires is not None and request.hires.checkpoint is not None:
        request = replace(request, hires=replace(request.hires, checkpoint=title(request.hires.checkpoint)))
    return request


def _parts(request: GenerationRequest) -> int:
    return request.n_iter * (2 if request.hires else 1)


def _start(hooks: Hooks, job: Job) -> Start:
    """Prepared at the size that was asked, which may be a few pixels more than what is delivered."""
    request = job.request
    assert request.init is not None
    upscalers = [one.for_job(job) for one in all_upscalers(owned.value for owned in hooks.upscalers)]
    return prepare_start(
        request.init, request.width, request.height, request.options, upscalers, batch_size=request.batch_size
    )


def _noise(request: GenerationRequest, number: int, count: int) -> tuple[PictureNoise, ...]:
    """A1111's rule: every picture of a job counts up the seed, or the subseed when subseeds are in use.

    What fills a mask is drawn once, with the seeds of the first batch.
    """
    first = number * count
    varied = request.subseed_strength != 0
    return tuple(
        PictureNoise(
            seed=request.seed + (0 if varied else first + k),
            subseed=request.subseed + first + k,
            fill_seed=request.seed + (0 if varied else k),
        )
        for k in range(count)
    )


def _batch(
    engine: Engine,
    hooks: Hooks,
    job: Job,
    model: ModelSpec,
    facts: ModelFacts,
    frame: Frame,
    start: Start | None,
    number: int,
) -> Made:
    request = job.request
    count = len(start.pictures) if start else request.batch_size
    noise = _noise(request, number, count)
    asked = _prompt(request, noise)
    prompt = _without_networks(hooks.rewrite_prompt(asked, job), job)
    refuse_ignored(job)
    batch = Batch(
        engine=engine,
        hooks=hooks,
        job=job,
        model=replace(model, adapters=prompt.adapters),
        frame=frame,
        prompt=prompt,
        noise=noise,
        parts_done=number * (2 if request.hires else 1),
        parts=_parts(request),
        step=facts.pixels_per_latent,
    )
    first = last = first_pass(batch, start)
    model = batch.model
    if request.hires is not None and not job.stopping:
        target = hires_size(request.width, request.height, request.hires, facts.pixels_per_latent)
        frame, model, last = _hires(batch, target, first.latents)
    job.tell(replace(job.progress, stage="decode"))
    pictures = [Pillow.fromarray(frame.crop(one)) for one in engine.decode(job, model, last.latents)]
    pictures = restore_faces(hooks, job, pictures)
    if start is not None:
        start = _softly_covered(start, first, frame)
    told = Told((*prompt.extra_infotext, *first.infotext), (*request.infotext, *first.steering.infotext))
    return Made(
        _finished(batch, facts, start, pictures, number, told, prompt.written or asked), _maps(first, last), told
    )


def _softly_covered(start: Start, made: Passed, frame: Frame) -> Start:
    """With a soft mask, the pictures' overlays follow what has changed."""
    mask = made.steering.mask
    if mask is None or mask.soft is None:
        return start
    size, asked = (frame.grid_width, frame.grid_height), (0, 0, frame.width, frame.height)
    covers = [soft_cover(one, mask.mask, mask.soft, size).crop(asked) for one in made.distances]
    pictures = tuple(one.covered(cover) for one, cover in zip(start.pictures, covers, strict=True))
    return replace(start, pictures=pictures)


def _maps(first: Passed, last: Passed) -> tuple[Pillow.Image, ...]:
    """The maps of both passes: of what acts in both, the hires pass's comes first, as in A1111."""
    if last is first:
        return first.steering.maps
    pairs = zip_longest(last.steering.maps, first.steering.maps)
    return tuple(pixels for pair in pairs for pixels in pair if pixels is not None)


def _prompt(request: GenerationRequest, noise: Sequence[PictureNoise]) -> Prompt:
    hires, count = request.hires, len(noise)
    return Prompt(
        positive=(request.prompt,) * count,
        negative=(request.negative_prompt,) * count,
        hires_positive=(hires.prompt or request.prompt,) * count if hires else (),
        hires_negative=(hires.negative_prompt or request.negative_prompt,) * count if hires else (),
        seeds=tuple(one.seed for one in noise),
    )


def _without_networks(prompt: Prompt, job: Job) -> Prompt:
    """Cut the `<network:…>` tags that no hook took: as text they would only disturb the picture."""
    left: dict[str, None] = {}

    def cut(texts: tuple[str, ...]) -> tuple[str, ...]:
        pairs = [extract_networks(text) for text in texts]
        left.update((str(tag), None) for _, tags in pairs for tag in tags)
        return tuple(text for text, _ in pairs)

    prompt = replace(
        prompt,
        positive=cut(prompt.positive),
        hires_positive=cut(prompt.hires_positive),
    )
    for tag in left:
        ignored(job, tag, "no extension that is switched on reads such tags")
    return prompt


def _hires(batch: Batch, target: HiresSize, latents: Latents) -> tuple[Frame, ModelSpec, Passed]:
    """Upscale the first pass's latents, or its decoded pictures, and denoise again: also with which frame and model."""
    engine, job, hires = batch.engine, batch.job, batch.job.request.hires
    assert hires is not None
    large = Frame.of(target.width, target.height, batch.step)
    model = replace(
        batch.model, checkpoint=hires.checkpoint or batch.model.checkpoint, adapters=batch.prompt.hires_adapters
    )
    cut = (target.columns // 2, target.rows // 2, (target.columns + 1) // 2, (target.rows + 1) // 2)
    frame = Frame.of(large.width - target.columns * batch.step, large.height - target.rows * batch.step, batch.step)
    if hires.upscaler in LATENT_MODES:
        mode = LATENT_MODES[hires.upscaler]
        latents = engine.resize_latents(job, latents, mode, large.grid_width, large.grid_height)
        latents = engine.crop_latents(job, latents, *cut)
    else:
        registered = all_upscalers(owned.value for owned in batch.hooks.upscalers)
        upscaler = find_upscaler(hires.upscaler, registered, "hr_upscaler").for_job(job)
        if job.request.explain:
            upscaler = BUILT_IN[0]  # of blank pictures; the sizes are the same
        small = [Pillow.fromarray(batch.frame.crop(one)) for one in engine.decode(job, batch.model, latents)]
        enlarged = [np.asarray(resize(one, target.width, target.height, STRETCH, upscaler)) for one in small]
        latents = engine.encode_pictures(job, model, [large.fitted(one) for one in enlarged])
        latents = engine.crop_latents(job, latents, *cut)
    return frame, model, hires_pass(batch, frame, model, latents)


def _finished(
    batch: Batch,
    facts: ModelFacts,
    start: Start | None,
    pictures: Sequence[Pillow.Image],
    number: int,
    told: Told,
    written: Prompt,
) -> list[Image]:
    """Put img2img results back into their pictures, give each its infotext, and let the hooks process them."""
    job, request = batch.job, batch.job.request
    images, extra = [], []
    for k, (picture, noise) in enumerate(zip(pictures, batch.noise, strict=True)):
        image = Image(
            pixels=start.pictures[k].put_back(picture) if start else picture,
            index=number * len(pictures) + k,
            seed=noise.seed,
            subseed=noise.subseed,
            prompt=written.positive[k],
            negative_prompt=written.negative[k],
        )
        blank = start is not None and start.blank_mask
        text = infotext(
            _as_written(request, written, k), facts, image, told.networks, scripts=told.scripts, blank_mask=blank
        )
        image = replace(image, infotext=text)
        images.append(image)
        for suffix, pixels in start.mask_pictures(picture, request.options) if start else ():
            extra.append(replace(image, pixels=pixels, kind="mask", suffix=suffix))
    return [*batch.hooks.process_images(tuple(images), job), *extra]


def _as_written(request: GenerationRequest, written: Prompt, k: int) -> GenerationRequest:
    """The request with the hires texts that picture `k` was made with, where it has its own."""
    hires = request.hires
    if hires is None:
        return request
    prompt = written.hires_positive[k] if hires.prompt else ""
    negative = written.hires_negative[k] if hires.negative_prompt else ""
    return replace(request, hires=replace(hires, prompt=prompt, negative_prompt=negative))
