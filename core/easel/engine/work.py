"""What job threads hand to the engine's thread, and how they get it back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from easel.engine.latents import LatentBatch
from easel.engine.weights import Weights
from easel.errors import JobCancelled
from easel.values.step import Step
from easel.values.user import User, acting_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from easel.engine.pictures import Picture
    from easel.values.job import Job

T = TypeVar("T")
Preview = Callable[[LatentBatch, str], "list[NDArray[np.uint8]]"]


@dataclass(slots=True, eq=False)
class Call(Generic[T]):
    """One function to run on the engine's thread.

    `needs`: the weights it works with, or only the checkpoint's name, or None where it does not matter.
    """

    job: Job
    function: Callable[[], T]
    needs: Weights | str | None = None
    result: Future[T] = field(default_factory=Future)
    seconds: float = 0.0  # of the engine's time, loading not counted
    load_seconds: float = 0.0
    _outcome: tuple[T] | BaseException | None = None

    def fits(self, weights: Weights) -> bool:
        """It can be served without another switch of weights."""
        return self.needs is None or self.needs in (weights, weights.checkpoint)

    def serve(self) -> None:
        """On the engine's thread: run the function."""
        try:
            self.job.raise_if_cancelled()
            with acting_as(User(self.job.user)):
                self._outcome = (self.function(),)
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that asked
            self._outcome = error

    def answer(self) -> None:
        """Let the thread that asked go on; after its time was counted."""
        if isinstance(self._outcome, tuple):
            self.result.set_result(self._outcome[0])
        elif self._outcome is not None:
            self.result.set_exception(self._outcome)

    def fail(self, error: BaseException) -> None:
        """End without having been served."""
        self.result.set_exception(error)


@dataclass(slots=True, eq=False, kw_only=True)
class Run:
    """One pass of one job in the ticks.

    The engine's thread moves the pictures and reports steps; the job's own thread follows them (`follow`), so what it
    does at a step does not hold up the engine, and may see a step later than it was made.
    """

    job: Job
    pictures: list[Picture]
    steps: int
    stage: str
    pixels_per_latent: int
    preview: Preview
    seconds: float = 0.0
    load_seconds: float = 0.0
    error: BaseException | None = None  # what went wrong; the next report ends the run with it
    ended: bool = False
    _step: int = 0
    _reports: SimpleQueue[Step | LatentBatch | BaseException] = field(default_factory=SimpleQueue)

    @property
    def weights(self) -> Weights:
        """The weights its next evaluation needs."""
        return next(picture.target.weights for picture in self.pictures if not picture.finished)

    def fits(self, weights: Weights) -> bool:
        """It can be served without another switch of weights."""
        return self.weights == weights

    def report(self) -> None:
        """Tell the job what was done since the last report: a step, the end, or neither."""
        if self.error is not None:
            self.fail(self.error)
            return
        step = min(self.steps, *(self.steps if picture.finished else picture.step for picture in self.pictures))
        if step > self._step:
            self._step = step
            self._reports.put(self._as_step(step - 1))
        if all(picture.finished for picture in self.pictures):
            self._end(self._so_far())

    def stop_if_asked(self) -> None:
        """End with the pictures so far when the job was interrupted or skipped, without any when it was cancelled."""
        try:
            self.job.raise_if_cancelled()
        except JobCancelled as cancelled:
            self.fail(cancelled)
            return
        if self.job.stopping:
            self._end(self._so_far())

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._end(error)

    def follow(self, on_step: Callable[[Step], None]) -> LatentBatch:
        """On the job's thread: call `on_step` for every step, wait for the end, and return the pictures."""
        try:
            while isinstance(report := self._reports.get(), Step):
                on_step(report)
        except BaseException as error:
            self.error = error  # nobody follows any more: the engine's next sweep drops the run
            raise
        if isinstance(report, BaseException):
            raise report
        return report

    def _as_step(self, index: int) -> Step:
        estimates = [picture.estimate for picture in self.pictures]
        preview, scale = self.preview, self.pixels_per_latent

        def show(kind: str) -> list[NDArray[np.uint8]]:
            return preview(LatentBatch(tuple(estimate() for estimate in estimates), scale), kind)

        return Step(index=index, total=self.steps, stage=self.stage, preview=show)

    def _so_far(self) -> LatentBatch:
        pictures = tuple(picture.estimate() for picture in self.pictures)
        starts = tuple(picture.start for picture in self.pictures)
        return LatentBatch(pictures, self.pixels_per_latent, self.pictures[0].target.weights.checkpoint, starts)

    def _end(self, report: LatentBatch | BaseException) -> None:
        for picture in self.pictures:
            picture.drop()
        self.ended = True
        self._reports.put(report)
