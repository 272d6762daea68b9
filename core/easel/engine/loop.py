"""The engine's thread: it serves many jobs, one call or one forward pass of the denoiser ("tick") at a time.

A tick takes the rows that the next evaluation of the job in turn needs, and rows of other jobs that fit in with them
(same weights, shape, length of text and controls; timesteps may differ), computes them together and hands each picture
its part. Whose turn it is: `turns`. What a picture does with its part: `pictures`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import torch

from easel.engine.controls import residuals
from easel.engine.latents import is_finite
from easel.engine.pictures import Picture, Row
from easel.engine.references import remembered
from easel.engine.turns import Turns
from easel.engine.work import Call, Run
from easel.errors import EaselError, NotANumber

if TYPE_CHECKING:
    from easel.engine.workbench import Bench
    from easel.models.checkpoint import LoadedCheckpoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the engine did since it started. Seconds are wall time of the engine's thread."""

    ticks: int = 0  # forward passes
    rows: int = 0  # in all of them
    pictures: int = 0  # pictures served by ticks: pictures / ticks tells how much is shared
    forward_seconds: float = 0.0  # inside the denoiser
    tick_seconds: float = 0.0  # whole ticks: choosing, forward, sampling; loading not counted
    call_seconds: float = 0.0  # encoding, decoding, extensions' functions; loading not counted
    load_seconds: float = 0.0  # loading and switching models
    idle_seconds: float = 0.0
    switches: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one picture brings to a tick."""

    run: Run
    picture: Picture
    rows: Sequence[Row]


class Loop:
    """Takes turns until it is closed.

    `latent_budget`: how many latent cells (rows x h x w) a forward pass should not exceed. `alone`: one picture to a
    forward pass.
    """

    def __init__(self, bench: Bench, *, max_jobs: int, latent_budget: int, alone: bool, nan_check: bool) -> None:
        self._bench = bench
        self._latent_budget = latent_budget
        self._alone = alone
        self._nan_check = nan_check
        self._turns = Turns(max_jobs)
        self._counts: dict[str, float] = {field.name: 0 for field in fields(Counters)}
        self._idle: tuple[float, float | None] = (0.0, perf_counter())  # seconds, and since when again; None: it works
        self._thread = threading.Thread(target=self._serve, name="easel-engine", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> Counters:
        """A snapshot."""
        counts = (
            self._counts
            | {"idle_seconds": self._idle_until(perf_counter())}
            | {"load_seconds": self._bench.seconds, "switches": self._bench.switches}
        )
        return Counters(**counts)  # type: ignore[arg-type]

    def call(self, call: Call[T], part: str) -> T:
        """Have a call served (at once when this is the engine's thread), and charge it to the job as `part`."""
        if threading.current_thread() is self._thread:
            return call.function()
        call.job.raise_if_cancelled()
        self._turns.ask(call)
        try:
            with call.job.apart():
                return call.result.result()
        finally:
            charge(call, part)

    def refuse_thread(self) -> None:
        """Raise when this is the engine's thread, which must not wait for its own ticks."""
        if threading.current_thread() is self._thread:
            raise EaselError("a pass cannot be run from a function that runs on the engine's thread (job.compute)")

    def join(self, run: Run) -> None:
        """Let a run take part in the ticks; only on the engine's thread."""
        self._turns.join(run)

    def close(self) -> None:
        """Finish the turn in hand, fail everything that waits, and end the thread."""
        self._turns.close()
        self._thread.join()

    def _serve(self) -> None:
        end: BaseException = EaselError("the engine is closed")
        try:
            while self._turns.wait():
                start = perf_counter()
                self._idle = (self._idle_until(start), None)
                self._turn(start)
        except BaseException as error:
            end = error  # a fault of the loop itself: nobody may wait for it forever
            raise
        finally:
            self._turns.close()
            self._turns.fail_all(end)

    def _idle_until(self, now: float) -> float:
        """Idle seconds."""
        idle, since = self._idle
        return idle if since is None else idle + now - since

    def _rest(self, since: float) -> None:
        """From then on the thread counts as idle."""
        self._idle = (self._idle[0], since)

    def _turn(self, start: float) -> None:
        """One call or one tick; what follows when its time is on somebody's account counts as idle."""
        self._turns.sweep()
        order = self._turns.in_order(self._bench.weights if start < self._bench.stay_until else None)
        if not order:
            self._rest(start)
            return
        loaded = self._bench.seconds
        first = order[0]
        if isinstance(first, Call):
            self._turns.take(first)
            first.serve()
            try:
                self._bench.finish()
                self._account(first, [(first, 1.0)], "call_seconds", start, loaded)
            finally:
                first.answer()
            return
        parts = self._tick([run for run in order if isinstance(run, Run)])
        total = sum(len(part.rows) for part in parts)
        shares = [(part.run, len(part.rows) / total) for part in parts] or [(first, 1.0)]  # who failed pays too
        self._account(first, shares, "tick_seconds", start, loaded)
        for run in dict.fromkeys((first, *(part.run for part in parts))):
            run.report()

    def _account(
        self,
        first: Call[object] | Run,
        shares: Sequence[tuple[Call[object] | Run, float]],
        kind: str,
        start: float,
        loaded: float,
    ) -> None:
        """Count a turn's time until now: loading for the one in turn, the rest for each its share."""
        end, loading = perf_counter(), self._bench.seconds - loaded
        seconds = end - start - loading
        self._counts[kind] += seconds
        first.load_seconds += loading
        self._turns.charge(first, loading)
        for work, share in shares:
            work.seconds += seconds * share
            self._turns.charge(work, seconds * share)
        self._rest(end)

    @torch.inference_mode()
    def _tick(self, runs: Sequence[Run]) -> list[Part]:
        """One evaluation of the first run's first waiting picture, and of all that fit in with it."""
        try:
            model = self._bench.use(runs[0].weights)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is that run's alone
            runs[0].error = error
            return []
        parts = self._gather(runs)
        self._compute(model, parts)
        for part in parts:
            if part.run.error is None and not part.picture.waiting:
                self._advance(part)
        return parts

    def _gather(self, runs: Sequence[Run]) -> list[Part]:
        pictures = [(run, picture) for run in runs for picture in run.pictures if picture.rows]
        group = next(row.group for row in pictures[0][1].rows if row.output is None)
        cells = 0
        parts: list[Part] = []
        for run, picture in pictures:
            rows = [row for row in picture.rows if row.output is None and row.group == group]
            if not rows:
                continue
            part = Part(run, picture, rows)
            cells += _cells(part)
            if parts and (self._alone or cells > self._latent_budget):
                break
            parts.append(part)
        return parts

    def _compute(self, model: LoadedCheckpoint, parts: Sequence[Part]) -> None:
        """Fill in the rows' outputs. A batch that fails is split, so that only the run at fault ends with the error."""
        try:
            self._forward(model, parts)
            return
        except Exception as error:  # noqa: BLE001 - anything a model can do wrong must not stop the others
            halves = _halves(parts, error)
            if not halves:
                parts[0].run.error = error
            elif _out_of_memory(error):  # failing again at every tick would be slow
                self._latent_budget = min(self._latent_budget, sum(map(_cells, parts)) // 2)
        # outside of `except`, so that the failed attempt's memory is free again
        for half in halves:
            self._compute(model, half)

    def _forward(self, model: LoadedCheckpoint, parts: Sequence[Part]) -> None:
        rows = [row for part in parts for row in part.rows]
        vectors = [row.text.vector for row in rows if row.text.vector is not None]
        extra = [row.extra for row in rows if row.extra is not None]
        x = torch.cat([row.x for row in rows])
        timesteps = torch.tensor([row.timestep for row in rows], dtype=torch.float32)
        context = torch.cat([row.text.context for row in rows])
        vector = torch.cat(vectors) if vectors else None
        start = perf_counter()
        added = residuals(self._bench.controlnet, [row.controls for row in rows], x, timesteps, context, vector)
        with remembered(model, [row.references for row in rows], timesteps, context, vector):
            outputs = model.predict(x, timesteps, context, vector, added, torch.cat(extra) if extra else None)
        self._bench.finish()  # the one wait of a tick, so that everybody is charged for his own
        self._counts["forward_seconds"] += perf_counter() - start
        self._counts["ticks"] += 1
        self._counts["rows"] += len(rows)
        self._counts["pictures"] += len(parts)
        for row, output in zip(rows, outputs.chunk(len(rows)), strict=True):
            row.output = output

    def _advance(self, part: Part) -> None:
        picture = part.picture
        try:
            picture.advance()
            if self._nan_check and (picture.finished or picture.call == 1) and not is_finite(picture.estimate()):
                raise NotANumber
        except Exception as error:  # noqa: BLE001 - a sampler's failure is its run's alone
            part.run.error = error


def charge(work: Call[T] | Run, part: str) -> None:
    """Write the engine time of some work into its job's account; on the job's thread, once the work is done."""
    work.job.charge(part, work.seconds)
    if work.load_seconds:
        work.job.charge("load", work.load_seconds)


def _cells(part: Part) -> int:
    return len(part.rows) * part.rows[0].x.shape[-1] * part.rows[0].x.shape[-2]


def _halves(parts: Sequence[Part], error: Exception) -> tuple[Sequence[Part], ...]:
    """Two smaller batches to try instead of one that failed; () when there is nothing to split."""
    if len(parts) > 1:
        middle = len(parts) // 2
        return parts[:middle], parts[middle:]
    (part,) = parts
    if len(part.rows) > 1 and _out_of_memory(error):
        middle = len(part.rows) // 2
        return [replace(part, rows=part.rows[:middle])], [replace(part, rows=part.rows[middle:])]
    return ()


def _out_of_memory(error: Exception) -> bool:
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)
