"""A job: one request on its way. What hooks see of it, and what it tells the outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from easel.errors import JobCancelled
from easel.values.wire import BASE64_BYTES

if TYPE_CHECKING:
    from easel.values.request import GenerationRequest
    from easel.values.result import Draft, ReportLine, TraceLine

T = TypeVar("T")


class JobState(StrEnum):
    """Where a job is on its road."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """No change follows."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running job is; numbers as A1111's `/progress` counts them."""

    __pydantic_config__ = BASE64_BYTES

    stage: str = ""  # "load", "first", "hires", "decode", "save"
    step: int = 0  # 0-based step of this pass
    steps: int = 0
    part: int = 0  # passes done (n_iter, hires)
    parts: int = 1
    preview: bytes | None = None  # a small PNG or JPEG
    text: str = ""

    @property
    def fraction(self) -> float:
        """0…1 over the whole job."""
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.part + within) / max(1, self.parts))


class JobRunner(Protocol):
    """What a worker lends to the jobs it runs."""

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job."""
        ...

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """An extension's own model out of the engine's cache."""
        ...

    def run_all(self, job: Job, requests: Sequence[GenerationRequest], *, total: int = 0) -> list[Draft]:
        """Run requests as parts of the same job, in the engine together."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One request on its way; the same object from a worker's start of it to its result.

    Flags are set by other threads (`interrupt`, `skip`); everything else belongs to the thread that runs the job.
    """

    id: str
    user: str = ""
    request: GenerationRequest
    created: float = field(default_factory=time.time)
    name: str = ""  # the client's own id (`force_task_id`, `id_task`)
    runner: JobRunner | None = None
    on_progress: Callable[[Progress], None] | None = None
    warnings: list[str] = field(default_factory=list)
    told: tuple[ReportLine, ...] = ()  # what was known of the request before it became a job
    report: list[ReportLine] = field(default_factory=list)
    trace: list[TraceLine] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    work: float = 0.0  # megapixel-steps that were denoised for it
    used: dict[tuple[str, str], Path] = field(default_factory=dict)  # weights that compute for it, by kind and name
    progress: Progress = field(default_factory=Progress)
    parts_done: int = 0  # of those that `run_all` ran
    _apart: float = 0.0  # seconds that the job's thread waited, or that are on the account already
    _interrupted: threading.Event = field(default_factory=threading.Event)
    _skips: list[None] = field(default_factory=list)  # one for each time; shared with the job's parts
    _skips_spent: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def interrupt(self) -> None:
        """Stop after the current step; what is unfinished is decoded as it is, later batches are dropped."""
        self._interrupted.set()

    def skip(self) -> None:
        """The same for the current batch only (of each part that runs)."""
        self._skips.append(None)

    def cancel(self) -> None:
        """Stop as soon as possible without a result."""
        self._cancelled.set()

    @property
    def interrupted(self) -> bool:
        """Somebody asked to stop after the current step."""
        return self._interrupted.is_set()

    @property
    def stopping(self) -> bool:
        """The current pass should end now (interrupt or skip)."""
        return self._interrupted.is_set() or len(self._skips) > self._skips_spent

    @property
    def asked(self) -> tuple[Literal["interrupt", "cancel"], ...]:
        """What was asked of this job that holds until its end."""
        flags = {"interrupt": self._interrupted, "cancel": self._cancelled}
        return tuple(what for what, flag in flags.items() if flag.is_set())  # type: ignore[misc]

    @property
    def cut_short(self) -> bool:
        """Somebody interrupted it, or skipped one of its batches."""
        return self._interrupted.is_set() or bool(self._skips)

    def next_batch(self) -> None:
        """A new batch begins: an earlier skip is spent."""
        self._skips_spent = len(self._skips)

    def raise_if_cancelled(self) -> None:
        """Raise `JobCancelled` once the job was cancelled."""
        if self._cancelled.is_set():
            raise JobCancelled

    def warn(self, text: str) -> None:
        """Tell the caller something that did not stop the job."""
        if text not in self.warnings:
            self.warnings.append(text)

    def note(self, line: ReportLine) -> None:
        """Say what became of a part of the request; the same line counts once, however many batches say it."""
        if line not in self.report:
            self.report.append(line)

    def charge(self, part: str, seconds: float) -> None:
        """Add to the job's account: `part` is load, encode, denoise, decode, compute (an extension's
        model, on the engine's thread), save or an extension's name (its own code)."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    @contextmanager
    def charged(self, part: str) -> Iterator[None]:
        """Charge the time of a block on the job's thread, without what in it is waited for or charged otherwise.

        So no second is on the account twice, and the parts of a job that is alone add up to the time it took.
        """
        before = self._apart
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            self.charge(part, max(0.0, taken - (self._apart - before)))
            self._apart = before + taken

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A block that waits for others (the engine, the job's parts), who charge what they do."""
        before, started = self._apart, time.perf_counter()
        try:
            yield
        finally:
            self._apart = before + time.perf_counter() - started

    def tell(self, progress: Progress) -> None:
        """Publish how far the job is."""
        self.progress = progress
        if self.on_progress is not None:
            self.on_progress(progress)

    def compute(self, fn: Callable[[], T]) -> T:
        """Run `fn` on the engine's thread between ticks, charged to the job (an extension's own model)."""
        if self.runner is None:
            return fn()
        return self.runner.compute(self, fn)

    def model(self, key: Hashable, load: Callable[[str], T], size: int = 0) -> T:
        """An extension's own model, kept in the engine's cache as long as memory allows; call it inside `compute`.

        `key` begins with the extension's name; `load` makes the model on the torch device it is given ("cpu",
        "cuda:0"); paths in `key` are told in pictures' receipts; `size` is its need in bytes, room that is made
        before. Do not keep the model: ask again.
        """
        parts = key if isinstance(key, tuple) else (key,)
        flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        for path in (one for one in flat if isinstance(one, Path)):
            self.used.setdefault((f"model of {flat[0]}", path.name), path)
        if self.runner is None:
            return load("cpu")
        return self.runner.model(key, load, size)

    def run_all(self, requests: Sequence[GenerationRequest], *, total: int = 0) -> list[Draft]:
        """Run more requests as parts of this job, in the engine together, never through the queue.

        The drafts come in the order of the requests. After an interrupt no further part begins, so that there may be
        fewer of them, but never none. `total`: how many parts there will be in all calls, for the job's progress.
        """
        if self.runner is None:
            raise RuntimeError("this job is not being run by a worker")
        return self.runner.run_all(self, requests, total=total)

    def script_args(self, model: type[T]) -> T | None:
        """The arguments a request gave to the script whose argument model is `model`; None when not asked for."""
        return self.scripts.get(model)

    scripts: dict[type[Any], Any] = field(default_factory=dict)
