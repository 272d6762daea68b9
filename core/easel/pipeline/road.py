"""The road of a job, top to bottom: scripts ▸ generate ▸ review ▸ grid ▸ save ▸ result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from easel.engine.engine import Engine
from easel.errors import BadRequest, EaselError
from easel.extensions.changes import change_in_words
from easel.extensions.hooks import Hooks
from easel.extensions.sets import Selection
from easel.imaging.grid import grid_image
from easel.pipeline.explain import Explained, Planner
from easel.pipeline.parts import run_parts
from easel.pipeline.receipts import Receipts
from easel.values.image import Image, SavedImage
from easel.values.job import Job, Progress
from easel.values.receipt import CHUNK, Receipt
from easel.values.request import GenerationRequest
from easel.values.result import Draft, ReportLine, Result, TraceLine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One job on the road: what `job.runner` is. It keeps the set of hooks that the job started with."""

    engine: Engine
    hooks: Hooks

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job."""
        watch = self.hooks.watch  # it is inside the extension's code there, not here
        with watch.outside():
            return self.engine.compute(job, watch.carried(fn))

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """An extension's own model out of the engine's cache; `load` gets the engine's device."""
        return self.engine.model(key, load, size)

    def run_all(self, job: Job, requests: Sequence[GenerationRequest], *, total: int = 0) -> list[Draft]:
        """Run requests as parts of the same job, in the engine together; the drafts in the requests' order."""
        drafts = []
        with self.hooks.watch.outside(), job.apart():
            made = run_parts(job, requests, self._part, total=total)
        for number, (part, draft) in enumerate(made):
            job.trace += _of_part(number, job, part, self.hooks.scripts.owner(job.request))
            drafts += [] if draft is None else [draft]
        if job.request.explain:
            raise Explained
        return drafts

    def _part(self, job: Job) -> Draft | None:
        # A script was named by the request as a whole; its parts are plain pictures.
        request = replace(job.request, script=None)
        part = replace(job, request=request, scripts=self.hooks.scripts.bind(request))
        with suppress(Explained):
            return generate(self.hooks, part)
        return None


class Road:
    """Runs jobs. `hold` lends a user's set of the hooks that are switched on now, for as long as a job runs."""

    def __init__(self, engine: Engine, hold: Callable[[Selection], AbstractContextManager[Hooks]]) -> None:
        self._engine, self._hold = engine, hold
        self._receipts = Receipts(engine)

    def run(self, job: Job) -> Result:
        """The whole road of one job; errors: EaselError."""
        with self._hold(job.request.extensions) as hooks:
            job.scripts = hooks.scripts.bind(job.request)
            if job.request.explain:
                return self._explained(hooks, job)
            job.runner = Run(self._engine, hooks)
            self._receipts.begin(hooks)
            called = job.request.task
            draft = generate(hooks, job) if called is None else hooks.run_task(called, job)
            job.raise_if_cancelled()
            reviewed = hooks.review_images(draft.images, job)
            job.tell(Progress(stage="save", part=1, parts=1))
            with job.charged("save"):
                grid = _grid(reviewed, job)
                receipt = self._receipts.of(job, hooks) if called is None else None
                told = _with_receipts((*grid, *reviewed), receipt)
                saved = tuple(_saved(hooks, image, job) for image in told)
        refuse_ignored(job)
        return Result(
            images=tuple(image for image in saved if image.kind != "intermediate"),
            info=_info_with_grid(draft, grid),
            report=tuple(job.report),
            trace=tuple(job.trace),
            warnings=tuple(job.warnings),
            seconds=dict(job.seconds),
            work=job.work,
            interrupted=job.interrupted,
            receipt=receipt,
        )

    def _explained(self, hooks: Hooks, job: Job) -> Result:
        """What a run would do: its trace and report, and as `info` what it would load and which passes it would run."""
        planner = Planner(self._engine)
        job.runner = Run(planner, hooks)
        with suppress(Explained):
            generate(hooks, job)
        for hook in ("review_images", "save_image"):
            hooks.would_run(hook, job)
        refuse_ignored(job)
        loads = [{"kind": kind, "name": name, "bytes": size} for (kind, name), size in planner.needs.items()]
        return Result(
            images=(),
            info={"loads": loads, "passes": planner.planned},
            report=tuple(job.report),
            trace=tuple(job.trace),
            warnings=tuple(job.warnings),
            seconds=dict(job.seconds),
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


def _of_part(number: int, job: Job, part: Job, owner: str) -> Iterator[TraceLine]:
    """The trace of a part: what its request has that is another than the whole job's, then what its hooks did."""
    asked = change_in_words(replace(job.request, script=None), replace(part.request, script=None))
    line = TraceLine(hook="generate", extension=owner, outcome="changed", change=asked)
    for one in (line, *part.trace):
        yield replace(one, part=f"{number + 1}.{one.part}".rstrip("."))


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


def _with_receipts(images: Sequence[Image], receipt: Receipt | None) -> Iterator[Image]:
    """Each with the receipt among its texts, which says which picture of its kind it is."""
    counts = Counter[str]()
    for image in images:
        if receipt is None:
            yield image
            continue
        yield replace(image, texts=(*image.texts, (CHUNK, receipt.text(image.kind, counts[image.kind]))))
        counts[image.kind] += 1


def _info_with_grid(draft: Draft, grid: Sequence[Image]) -> Mapping[str, Any]:
    """A grid comes first: its infotext too, and results are counted after it. (Scripts tell of their own grids.)"""
    grids = [image.infotext for image in grid]
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
