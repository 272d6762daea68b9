"""What a gateway and a worker say to each other: JSON messages over one socket pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from easel import errors
from easel.extensions.watch import Fault
from easel.settings import Settings
from easel.values.job import Progress
from easel.values.request import GenerationRequest
from easel.values.result import Result


@dataclass(frozen=True, slots=True)
class Open:
    """The first command: the settings of the service."""

    settings: Settings
    kind: Literal["open"] = "open"


@dataclass(frozen=True, slots=True)
class Run:
    """Begin a job."""

    id: str
    user: str
    name: str
    created: float
    request: GenerationRequest
    kind: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell a running job to stop."""

    id: str
    what: Literal["interrupt", "skip", "cancel"]
    kind: Literal["signal"] = "signal"


@dataclass(frozen=True, slots=True)
class Follow:
    """Who is on in the gateway, with the number of its instance: jobs begun from now on run with the same set."""

    extensions: Mapping[str, int]
    kind: Literal["follow"] = "follow"


@dataclass(frozen=True, slots=True)
class Refresh:
    """Look at the model folders again."""

    kind: Literal["refresh"] = "refresh"


@dataclass(frozen=True, slots=True)
class Close:
    """Finish nothing, stop."""

    kind: Literal["close"] = "close"


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker takes jobs."""

    pid: int
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker is alive: its interpreter runs."""

    kind: Literal["beat"] = "beat"


@dataclass(frozen=True, slots=True)
class Lacks:
    """Extensions that are on in the gateway and could not be here, with the reason."""

    reasons: Mapping[str, str]
    kind: Literal["lacks"] = "lacks"


@dataclass(frozen=True, slots=True)
class Faulted:
    """An extension failed."""

    fault: Fault
    kind: Literal["faulted"] = "faulted"


@dataclass(frozen=True, slots=True)
class Progressed:
    """A job got further."""

    id: str
    progress: Progress
    kind: Literal["progressed"] = "progressed"


@dataclass(frozen=True, slots=True)
class Done:
    """A job ended well; `spent` is what the engine has spent so far, in all."""

    id: str
    result: Result
    spent: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Failed:
    """A job ended badly; `error` names a class of `easel.errors`, `seconds` are those it took until then."""

    id: str
    error: str
    message: str
    seconds: Mapping[str, float]
    spent: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["failed"] = "failed"

    def rebuild(self) -> errors.EaselError:
        """The error as it was raised in the worker."""
        known = getattr(errors, self.error, errors.EaselError)
        error: errors.EaselError = known.__new__(known)
        Exception.__init__(error, self.message)
        return error


def _one_of(*kinds: Any) -> Any:
    from pydantic import Field

    union = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return Annotated[union, Field(discriminator="kind")]


COMMAND = _one_of(Open, Run, Signal, Follow, Refresh, Close)
EVENT = _one_of(Ready, Beat, Lacks, Faulted, Progressed, Done, Failed)
