"""The ledger's values: a line for every job that has ended, a shift for every worker's time, what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from easel.values.result import LOST, QUEUE

# Parts of a job's seconds that the engine's thread worked for it; of these, loading makes no picture.
ENGINE: Final = ("load", "encode", "denoise", "decode", "compute")
GENERATION: Final = ENGINE[1:]
PARTS: Final = (QUEUE, *ENGINE, "save", LOST)  # every other part is an extension's own code

State = Literal["done", "failed", "cancelled", "lost"]
Billing = Literal["worker", "generation"]


def engine_seconds(seconds: Mapping[str, float]) -> float:
    """What the engine worked for a job."""
    return sum(seconds.get(part, 0.0) for part in ENGINE)


def generation_seconds(seconds: Mapping[str, float]) -> float:
    """The same without loading: what is charged where only making pictures is."""
    return sum(seconds.get(part, 0.0) for part in GENERATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a job came to. One a job, whatever happened on the way; an attempt that is made again has its own."""

    job: str  # of a lost attempt "<job>#<number>"
    service: str
    user: str = ""
    project: str = ""  # the request's `uid`
    kind: str = ""  # txt2img, img2img, task
    state: State = "done"
    status: int = 0  # of the error tree; 0: done
    attempts: int = 1
    model: str = ""
    pictures: int = 0
    work: float = 0.0  # megapixel-steps that were denoised
    seconds: Mapping[str, float] = field(default_factory=dict)  # by part: queue, load, encode, denoise …
    created: float = 0.0  # Unix time
    ended: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A worker's time, from its process' start until now or its end; seconds.

    `start` + `busy` + `idle` is the whole; `charged` of `busy` stands in jobs' lines, the rest is in jobs that run, or
    was lost with them when the worker died.
    """

    worker: str
    service: str
    began: float  # Unix time
    ended: float  # until when it is told
    over: bool = False  # the worker is gone
    start: float = 0.0  # until it took jobs
    busy: float = 0.0  # of its engine's thread
    idle: float = 0.0
    charged: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines: those that ended from `since` until before `until` (Unix time); None: whatever it is."""

    user: str | None = None
    project: str | None = None
    service: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Several lines together. `name` is what they have in common."""

    name: str
    jobs: int = 0
    pictures: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a model's latest jobs measured: seconds for a megapixel-step, for each picture besides, for loading."""

    jobs: int
    denoise: float
    picture: float
    load: float


class Enter(Protocol):
    """Takes what is to be in the ledger."""

    def __call__(self, *entries: Line | Shift, patience: float) -> None:
        """Returns when it is there, or after `patience` seconds."""
