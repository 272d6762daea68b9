"""The censor: no picture leaves that a detector scores at the threshold or above. It fails closed.

`review_images` sees everything that leaves: results, masks, control maps, previews, pictures that are only saved. The
wrapper around `generate` comes before, for each part of a job: so a grid that a script pastes together is made of
reviewed pictures, and a flagged picture can be made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from easel import (
    Draft,
    Extension,
    GenerationRequest,
    Image,
    Job,
    NotFound,
    ReportLine,
    Script,
    ScriptCall,
    hookimpl,
)

from .again import request_again, with_new
from .cover import black, blurred
from .detectors import CHECKER_SIZE, Detector, open_nsfw, safety_checker

FLAG = "nsfw"
TITLE = "NSFW censor"
COVERED = {"blur": "blurred", "black": "blackened"}
REMEMBERED = 256  # scores; a picture comes by more than once


class Settings(BaseModel):
    """What an operator decides."""

    detector: Literal["open_nsfw", "safety_checker", "both"] = "open_nsfw"
    threshold: float = Field(0.5, ge=0, le=1, description="pictures with this score or more are flagged")
    action: Literal["blur", "black"] = "blur"
    reseed: int = Field(0, ge=0, le=5, description="times that a flagged picture is made again before the action")


class Arguments(BaseModel):
    """What a request may ask for."""

    reseed: int | None = Field(
        None,
        ge=0,
        le=5,
        description="times a flagged picture is made again with another seed; null: as the server says",
    )


class NsfwCensor(Extension):
    """Scores every picture; what is flagged is made again where that is asked for, and else covered."""

    settings_model = Settings

    @hookimpl
    def startup(self, app: Any) -> None:
        """Know the detectors. Errors: NotFound when the weights of one are not there."""
        self._folder = app.settings.models_path / "safety_checker"
        self._scores: dict[bytes, float] = {}  # by the pictures' digests; belongs to the engine's thread
        self._open_nsfw: Detector | None = None
        if self.settings.detector != "open_nsfw" and not (self._folder / "config.json").is_file():
            raise NotFound(
                "the safety checker's folder is missing: models/safety_checker/ with config.json and weights"
            )

    @hookimpl
    def register_scripts(self) -> Script:
        """How often a flagged picture is made again."""
        return Script(TITLE, Arguments, always_on=True)

    @hookimpl(wrapper=True)
    def generate(self, job: Job) -> Generator[None, Draft | None, Draft | None]:
        """Review each part of a job; what a script makes of parts is seen by `review_images`."""
        draft = yield
        if draft is None or job.request.script is not None:
            return draft
        tries = self._tries(job)
        if tries and not job.interrupted:
            draft = self._made_again(draft, tries, job)
        return replace(draft, images=self._reviewed(draft.images, job))

    @hookimpl(trylast=True)  # after whatever else has a last word
    def review_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...]:
        """Cover every picture that is flagged."""
        return self._reviewed(images, job)

    def _tries(self, job: Job) -> int:
        asked = job.script_args(Arguments)
        return self.settings.reseed if asked is None or asked.reseed is None else asked.reseed

    def _made_again(self, draft: Draft, tries: int, job: Job) -> Draft:
        """The draft with another picture in the place of each that is flagged; it may be flagged too."""
        scores = self._scored(draft.images, job)
        flagged = {
            image.index: (image, score)
            for image, score in zip(draft.images, scores, strict=True)
            if image.kind == "result" and self._unsafe(score)
        }
        requests = [_with_tries(request_again(job.request, image), tries - 1) for image, _ in flagged.values()]
        made = dict(zip(flagged, job.run_all(requests) if requests else (), strict=True))
        for index, (image, score) in flagged.items():
            self._note(job, image, score, f"made again with seed {made[index].info['seed']}")
        return with_new(draft, made) if made else draft

    def _reviewed(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...]:
        """The pictures with their scores, those that are flagged covered; masks and intermediate pictures of a flagged
        result too, whatever their own score."""
        scores = self._scored(images, job)
        unsafe = {
            image.index
            for image, score in zip(images, scores, strict=True)
            if image.kind == "result" and self._unsafe(score)
        }
        reviewed = []
        for image, score in zip(images, scores, strict=True):
            if self._unsafe(score) or (image.kind in ("mask", "intermediate") and image.index in unsafe):
                image = self._covered(image, score, job)
            elif image.kind != "intermediate" and FLAG not in image.scores:
                image = replace(image, scores={**image.scores, FLAG: score})
            reviewed.append(image)
        return images if all(new is old for new, old in zip(reviewed, images, strict=True)) else tuple(reviewed)

    def _covered(self, image: Image, score: float, job: Job) -> Image:
        cover = blurred if self.settings.action == "blur" else black
        self._note(job, image, score, COVERED[self.settings.action])
        return replace(
            image,
            pixels=cover(image.pixels),
            scores={**image.scores, FLAG: max(score, image.scores.get(FLAG, 0.0))},
            flags=tuple(dict.fromkeys((*image.flags, FLAG))),
        )

    def _unsafe(self, score: float) -> bool:
        return not score < self.settings.threshold  # what is no number is not safe

    def _scored(self, images: tuple[Image, ...], job: Job) -> list[float]:
        return [job.compute(partial(self._score, image, job)) for image in images]

    def _score(self, image: Image, job: Job) -> float:
        """On the engine's thread: the highest score that a detector gives."""
        pixels = image.pixels
        key = hashlib.sha256(f"{pixels.mode} {pixels.size}".encode() + pixels.tobytes()).digest()
        if key not in self._scores:
            self._scores[key] = round(max(detect(pixels) for detect in self._detectors(job)), 4)
            if len(self._scores) > REMEMBERED:
                del self._scores[next(iter(self._scores))]
        return self._scores[key]

    def _detectors(self, job: Job) -> Iterator[Detector]:
        if self.settings.detector in ("open_nsfw", "both"):
            # 24 MB stay with us: in the cache they would compete with checkpoints, for every preview.
            self._open_nsfw = self._open_nsfw or open_nsfw()
            yield self._open_nsfw
        if self.settings.detector in ("safety_checker", "both"):
            yield job.model((self.name, self._folder), partial(safety_checker, folder=self._folder), CHECKER_SIZE)

    def _note(self, job: Job, image: Image, score: float, done: str) -> None:
        """Say what was done to a picture and why; previews and pictures that are only saved go without saying."""
        if image.kind != "intermediate" and FLAG not in image.flags:
            reason = f"{done}: its score is {score}, the threshold {self.settings.threshold}"
            item = image.kind if image.seed < 0 else f"{image.kind}, seed {image.seed}"
            line = ReportLine(item=item, outcome="applied", reason=reason, extension=self.name)
            job.note(line)


def _with_tries(request: GenerationRequest, tries: int) -> GenerationRequest:
    """The request with this many tries left."""
    others = (call for call in request.always_on if call.name.casefold() != TITLE.casefold())
    return replace(request, always_on=(*others, ScriptCall(TITLE, {"reseed": tries})))
