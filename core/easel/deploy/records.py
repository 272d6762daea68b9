"""What is written down about a deployed service: JSON files in a folder of its own.

```
ROOT/services/NAME/service.json   the file as it was deployed
                  deployed.json   how it is started
                  state.json      what has become of it; its supervisor writes this
                  token           what clients send
                  service.log     everything it said
                  state/  data/   the service's --state-dir, and its data folder where it has no storage
```
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import psutil

from easel.deploy.bucket import BucketPlace
from easel.errors import EaselError

Word = Literal["Creating", "Running", "Restarting", "Stopping", "Stopped", "Failed"]


@dataclass(frozen=True, slots=True)
class Process:
    """A process, so named that another one with the same number is not taken for it."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process with this number; None when it is gone."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """Does it still run?"""
        try:
            found = psutil.Process(self.pid)
            return bool(found.create_time() == self.created and found.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def send(self, signal: int) -> None:
        """Send a signal, if it is still there."""
        try:
            found = psutil.Process(self.pid)
            if found.create_time() == self.created:
                found.send_signal(signal)
        except psutil.Error:
            pass  # it ended by itself


@dataclass(frozen=True, slots=True)
class State:
    """What has become of a service."""

    state: Word
    since: float = field(default_factory=time.time)
    reason: str = ""
    restarts: int = 0  # that nobody asked for
    supervisor: Process | None = None
    service: Process | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """How a service is started, and where it answers."""

    name: str
    edition: str
    flags: tuple[str, ...]
    url: str
    port: int
    data_dir: str
    deadline: float  # seconds until it must answer
    buckets: tuple[BucketPlace, ...] = ()
    links: tuple[str, ...] = ()  # mount paths that were made for it, or for another service that has them too


def write_json(file: Path, value: object) -> None:
    """Replace a file in one step; only its owner may read it."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(file)


def write_state(folder: Path, state: State) -> None:
    """Write down what has become of a service."""
    write_json(folder / "state.json", asdict(state))


def read_deployed(folder: Path) -> Deployed:
    """How a service is started. Errors: EaselError (its record cannot be read)."""
    try:
        found = json.loads((folder / "deployed.json").read_text("utf-8"))
        buckets = tuple(BucketPlace(**one) for one in found.get("buckets", ()))
        return Deployed(
            **found | {"flags": tuple(found["flags"]), "buckets": buckets, "links": tuple(found.get("links", ()))}
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EaselError(f"the record of service {folder.name!r} cannot be read; delete it and deploy again") from error


def read_state(folder: Path) -> State:
    """What has become of a service: where its supervisor is gone without a word, that it failed."""
    try:
        found = json.loads((folder / "state.json").read_text("utf-8"))
        processes = {key: Process(**found[key]) if found[key] else None for key in ("supervisor", "service")}
        state = State(**found | processes)
    except (OSError, ValueError, TypeError, KeyError):
        return State("Failed", reason="it was never started, or its record was damaged; restart it")
    if state.state not in ("Stopped", "Failed") and not (state.supervisor and state.supervisor.alive):
        return replace(state, state="Failed", reason="its supervisor was killed, or the machine restarted; restart it")
    return state
