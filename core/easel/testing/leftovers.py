"""What an extension leaves behind: threads, sockets, files outside its folder, changes of the process."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

_GRACE = 2.0  # seconds that threads have to end
_OURS = ("easel-", "job-", "AnyIO", "asyncio")  # names of the service's own threads
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(slots=True)
class Deeds:
    """What the extension's own code did while it was watched."""

    written: set[Path] = field(default_factory=set)
    called: set[str] = field(default_factory=set)  # hosts


@contextmanager
def watched(folder: Path) -> Iterator[Deeds]:
    """Note files that code below `folder` opens for writing, and hosts that it connects to.

    Python's audit hooks cannot be taken off again: ours does nothing after the block.
    """
    deeds, watching = Deeds(), [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if not watching or event not in ("open", "socket.connect"):
            return
        if event == "open" and not _writes(arguments):
            return
        if not _by(folder, sys._getframe(1)):
            return
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            deeds.written.add(Path(os.path.abspath(arguments[0])))  # noqa: PTH100 - a link is not followed
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            deeds.called.add(str(arguments[1][0]))

    sys.addaudithook(hook)
    try:
        yield deeds
    finally:
        watching.clear()


def _writes(arguments: tuple[object, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITING)


def _by(folder: Path, frame: FrameType | None) -> bool:
    """Is code below `folder` running, other than by importing?"""
    inside = f"{folder}{os.sep}"
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap_external>":
            return False  # byte code that Python keeps
        if frame.f_code.co_filename.startswith(inside):
            return True
        frame = frame.f_back
    return False


@dataclass(frozen=True, slots=True)
class Process:
    """What of this process an extension must leave as it was."""

    path: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    threads: frozenset[int | None]
    sockets: frozenset[int]

    @classmethod
    def now(cls) -> Process:
        """As it is."""
        threads = frozenset(one.ident for one in threading.enumerate())
        return cls(tuple(sys.path), dict(os.environ), str(Path.cwd()), threads, frozenset(_sockets()))

    def changes(self) -> Iterator[str]:
        """In words, what is another now."""
        if tuple(sys.path) != self.path:
            yield "changes sys.path"
        other = [name for name in {**self.environment, **os.environ} if self.environment.get(name) != os.getenv(name)]
        if other := [name for name in sorted(other) if name != "PYTEST_CURRENT_TEST"]:
            yield f"changes the environment variable {other[0]}"
        if str(Path.cwd()) != self.folder:
            yield "changes the working directory"

    def left(self) -> Iterator[str]:
        """In words, what still runs or is open; threads that are ending are waited for."""
        end = time.monotonic() + _GRACE
        while (threads := self._new_threads()) and time.monotonic() < end:
            time.sleep(0.02)
        if threads:
            yield f"a thread is left: {threads[0].name}"
        if set(_sockets()) - self.sockets:
            yield "a socket is left open"

    def _new_threads(self) -> list[threading.Thread]:
        running = (one for one in threading.enumerate() if one.ident not in self.threads)
        return [one for one in running if not one.name.startswith(_OURS)]


def _sockets() -> Iterator[int]:
    """Of this process, those of the network."""
    import psutil

    yield from (one.fd for one in psutil.Process().net_connections("inet"))


def misplaced(deeds: Deeds, data: Path, allowed: tuple[Path, ...]) -> Iterator[str]:
    """In words, what was written where it should not be: `allowed` folders below `data`, and temporary files that are
    gone, are fine."""
    temporary = Path(tempfile.gettempdir()).resolve()
    for path in sorted(deeds.written):
        if any(path.is_relative_to(folder) for folder in allowed) or path == Path(os.devnull):
            continue
        if path.is_dir():
            continue  # a file without a name (O_TMPFILE)
        inside = path.resolve().is_relative_to(data.resolve())
        if not inside and path.resolve().is_relative_to(temporary) and not path.exists():
            continue
        shown = path.relative_to(data) if path.is_relative_to(data) else path
        yield f"writes {shown}; its own folder is self.data, others stand in permissions.paths"
