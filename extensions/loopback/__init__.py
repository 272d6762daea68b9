"""Loopback: each result is the start picture of the next pass, at a denoising strength that follows a curve."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field

from easel import (
    Draft,
    EncodedPicture,
    Extension,
    GenerationRequest,
    Image,
    Job,
    NotAvailable,
    Script,
    check_count,
    encoded,
    grid_image,
    hookimpl,
)

TITLE = "Loopback"
ORIGINAL = 1  # masked content


class Arguments(BaseModel):
    """In A1111's order."""

    loops: int = Field(4, title="Loops", ge=1, le=32)
    final_denoising_strength: int | float = Field(0.5, title="Final denoising strength", ge=0, le=1)
    denoising_curve: Literal["Aggressive", "Linear", "Lazy"] = Field("Linear", title="Denoising strength curve")
    append_interrogation: Literal["None", "CLIP", "DeepBooru"] = Field(
        "None", title="Append interrogated prompt at each iteration"
    )

    def strength(self, initial: float, loop: int) -> float:
        """The denoising strength of a loop, counted from 0."""
        if self.loops == 1:
            return initial
        progress = loop / (self.loops - 1)
        if self.denoising_curve == "Aggressive":
            progress = math.sin(progress * math.pi * 0.5)
        elif self.denoising_curve == "Lazy":
            progress = 1 - math.cos(progress * math.pi * 0.5)
        return initial + (self.final_denoising_strength - initial) * progress


class Loopback(Extension):
    """Runs of a job (`n_iter`) are independent: the same loop of all of them is one call of the engine."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the limits."""
        self._settings = app.settings

    @hookimpl
    def register_scripts(self) -> Script:
        """The script, for img2img."""
        return Script(TITLE, Arguments, tabs=("img2img",))

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse what cannot be done before it waits. Errors: NotAvailable, BadRequest."""
        arguments = job.script_args(Arguments)
        if arguments is None:
            return
        if arguments.append_interrogation != "None":
            raise NotAvailable(
                f"script_args[3]: {arguments.append_interrogation} is not part of this service; use None"
            )
        check_count(arguments.loops * job.request.n_iter, self._settings)

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """A grid of the loops when there are several, then the results: of each loop, or of each run's last one."""
        arguments, request = job.script_args(Arguments), job.request
        if arguments is None or request.init is None:
            return None
        runs = request.n_iter
        told = (
            ("Final denoising strength", arguments.final_denoising_strength),
            ("Denoising curve", arguments.denoising_curve),
        )
        if len(request.init.pictures) > 1 or request.batch_size > 1:
            job.warn(f"{TITLE}: begins with the first picture, one at a time")
        init = replace(request.init, pictures=request.init.pictures[:1], colors=request.init.pictures[0])
        base = replace(request, init=init, batch_size=1, n_iter=1, infotext=(*request.infotext, *told))
        initial = 0.75 if request.denoising_strength is None else request.denoising_strength
        history: list[list[Image]] = []
        first: Draft | None = None
        for loop in range(arguments.loops):
            if history and job.stopping:
                break
            strength = arguments.strength(initial, loop)
            before = [encoded(image.pixels) for image in history[-1]] if history else list(init.pictures) * runs
            requests = [
                _again(base, picture, loop, strength, seed=request.seed + run * arguments.loops + loop)
                for run, picture in enumerate(before)
            ]
            drafts = job.run_all(requests, total=arguments.loops * runs)
            first = first or drafts[0]
            history.append([draft.images[0] for draft in drafts])
        assert first is not None
        made = [loop[0] for loop in history] if runs == 1 else history[-1]
        following = arguments.strength(initial, len(history))  # as A1111 leaves it
        return _draft(request, made, first, drafts[-1], following)


def _again(
    base: GenerationRequest, picture: EncodedPicture, loop: int, strength: float, *, seed: int
) -> GenerationRequest:
    assert base.init is not None
    init = replace(base.init, pictures=(picture,))
    if init.inpaint is not None and loop:
        init = replace(init, inpaint=replace(init.inpaint, fill=ORIGINAL))
    return replace(base, init=init, denoising_strength=strength, seed=seed)


def _draft(request: GenerationRequest, made: list[Image], first: Draft, last: Draft, following: float) -> Draft:
    """All pictures are told the generation data of the first; the rest of the info is the last one's: A1111's way."""
    told = first.images[0].infotext
    images = [replace(image, index=number, infotext=told) for number, image in enumerate(made)]
    if len(images) > 1 and request.options.return_grid:
        pixels = grid_image([image.pixels for image in images], rows=1)
        images.insert(0, replace(images[0], kind="grid", pixels=pixels))
    same = {"seed": request.seed, "denoising_strength": following, "infotexts": [told] * len(images)}
    return Draft(images=tuple(images), info={**last.info, **same})
