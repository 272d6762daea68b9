"""The road of a job, top to bottom: scripts ▸ generate ▸ review ▸ grid ▸ save ▸ result."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from easel.engine.engine import Engine
from easel.errors import BadRequest, EaselError
from easel.extensions.hooks import Hooks
from easel.imaging.grid import grid_image
from easel.values.image import Image, SavedImage
from easel.values.job import Job, Progress
from easel.values.request import GenerationRequest
from easel.values.result import Draft, ReportLine, Result

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One job on the road: what `job.runner` is. It keeps the set of hooks that the job started with."""

    engine: Engine
    hooks: Hooks

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job."""
        return self.engine.compute(job, fn)

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """An extension's own model out of the engine's cache; `load` gets the engine's device."""
        return self.engine.model(key, load, size)

    def run_all(self, job: Job, requests: Sequence[GenerationRequest]) -> list[Draft]:
        """Run requests as parts of the same job, all in the engine together; the drafts in the requests' order."""
        with ThreadPoolExecutor(max_workers=max(1, len(requests)), thread_name_prefix=f"job-{job.id[:8]}") as pool:
            parts = [replace(job, request=request, on_progress=None) for request in requests]
            drafts = []
            for number, draft in enumerate(pool.map(self._part, parts)):
                job.tell(Progress(stage="first", part=number + 1, parts=len(parts)))
                drafts.append(draft)
            return drafts

    def _part(self, job: Job) -> Draft:
        # A script was named by the request as a whole; its parts are plain pictures.
        request = replace(job.request, script=None)
        return generate(self.hooks, replace(job, request=request, scripts=self.hooks.scripts.bind(request)))


class Road:
    """Runs jobs. `hold` lends the set of hooks that is switched on now, for as long as a job runs."""

    def __init__(self, engine: Engine, hold: Callable[[], AbstractContextManager[Hooks]]) -> None:
        self._engine, self._hold = engine, hold

    def run(self, job: Job) -> Result:
        """The whole road of one job; errors: EaselError."""
        with self._hold() as hooks:
            job.runner = Run(self._engine, hooks)
            job.scripts = hooks.scripts.bind(job.request)
            called = job.request.task
            draft = generate(hooks, job) if called is None else hooks.run_task(called, job)
            job.raise_if_cancelled()
            reviewed = hooks.review_images(draft.images, job)
            job.tell(Progress(stage="save", part=1, parts=1))
            with charged(job, "save"):
                saved = tuple(_saved(hooks, image, job) for image in (*_grid(reviewed, job), *reviewed))
        refuse_ignored(job)
        return Result(
            images=tuple(image for image in saved if image.kind != "intermediate"),
            info=_info_with_grid(draft, saved),
            report=tuple(job.report),
            warnings=tuple(job.warnings),
            seconds=dict(job.seconds),
            interrupted=job.interrupted,
        )


def generate(hooks: Hooks, job: Job) -> Draft:
    """Ask the `generate` hooks; the core's own answers last, so somebody always does."""
    draft = hooks.generate(job)
    if draft is None:
        raise EaselError("nothing in this service makes pictures: no `generate` hook answered")
    return draft


def refuse_ignored(job: Job) -> None:
    """A strict request is refused when a part of it would be ignored. Errors: BadRequest naming the part."""
    ignored = [line for line in job.report if line.outcome == "ignored"]
    if job.request.strict and ignored:
        raise BadRequest(f"{ignored[0].item} would be ignored: {ignored[0].reason} (the request is strict)")


@contextmanager
def charged(job: Job, part: str) -> Iterator[None]:
    """Charge the time of a block to the job's account."""
    started = time.perf_counter()
    try:
        yield
    finally:
        job.charge(part, time.perf_counter() - started)


def _grid(images: Sequence[Image], job: Job) -> tuple[Image, ...]:
    """A1111 puts a grid before the pictures when several are saved; made of reviewed pictures only."""
    request, options = job.request, job.request.options
    results = [image for image in images if image.kind == "result"]
    wanted = request.output.save and not request.output.do_not_save_grid and (options.return_grid or options.grid_save)
    wanted = wanted and request.task is None
    if not wanted or (len(results) < 2 and options.grid_only_if_multiple) or request.script is not None:
        return ()
    first = results[0]
    pixels = grid_image([image.pixels for image in results], rows=options.n_rows, batch_size=request.batch_size)
    flags = tuple(dict.fromkeys(flag for image in results for flag in image.flags))
    return (replace(first, pixels=pixels, kind="grid", index=0, flags=flags, scores={}),)


def _info_with_grid(draft: Draft, saved: Sequence[SavedImage]) -> Mapping[str, Any]:
    """A grid comes first: its infotext too, and results are counted after it."""
    grids = [image.infotext for image in saved if image.kind == "grid"]
    if not grids:
        return draft.info
    return {**draft.info, "index_of_first_image": len(grids), "infotexts": [*grids, *draft.info["infotexts"]]}


def _saved(hooks: Hooks, image: Image, job: Job) -> SavedImage:
    saved = hooks.save_image(image, job)
    if saved is None:
        raise EaselError("nothing in this service saves pictures: no `save_image` hook answered")
    return saved


def ignored(job: Job, item: str, reason: str, extension: str = "") -> None:
    """Note that a part of the request has no effect, and tell the caller."""
    job.report.append(ReportLine(item=item, outcome="ignored", reason=reason, extension=extension))
    job.warn(f"{item}: {reason}")
