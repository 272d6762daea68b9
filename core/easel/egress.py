"""What this program tried to get from the network, whether it got it, and where the file belongs that it wanted.

Two things write here: the way out of the program itself (`fetching`), and a guard over each process, which also sees
what libraries and extensions try past it. With `--offline` all of that is refused at once, so that nothing hangs.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

log = logging.getLogger("easel.egress")
FILE = "egress.jsonl"  # in the state folder
_LARGEST = 1 << 20  # bytes; then it begins anew, and the last one is kept beside it
_AGAIN = 3600.0  # seconds after which the same attempt of a process is noted again
_OURS = "easel_extensions."
_LOCAL = ("localhost", "localhost.localdomain", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt. `url` is without its query, which may hold a signature; of a bare connection it is `host:port`."""

    url: str
    outcome: Literal["made", "failed", "refused"]
    by: str  # the field of a request, or the extension
    put: str  # where the file belongs, or what else to do
    when: float  # seconds since 1970


class EgressLog:
    """The attempts of all processes of one service, a line each."""

    def __init__(self, state_dir: Path) -> None:
        self._file = state_dir / FILE
        self._noted: dict[tuple[str, str, str], float] = {}

    def note(self, url: str, outcome: Literal["made", "failed", "refused"], by: str, put: str) -> None:
        """One more; the same one of this process is noted once an hour."""
        attempt = Attempt(url=_bare(url), outcome=outcome, by=by, put=put, when=time.time())
        key = (attempt.url, outcome, by)
        if attempt.when - self._noted.get(key, 0.0) < _AGAIN:
            return
        self._noted[key] = attempt.when
        log.warning("%s %s for %s; %s", outcome, attempt.url, by or "a library", put)
        with suppress(OSError):  # a full disk must not fail what works without this line
            if self._file.exists() and self._file.stat().st_size > _LARGEST:
                self._file.replace(self._file.with_suffix(".1"))
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(attempt)) + "\n")

    def read(self) -> list[Attempt]:
        """What was tried, the last attempt of each kind, the oldest first."""
        found: dict[tuple[str, str, str], Attempt] = {}
        with suppress(OSError):
            for line in self._file.read_text("utf-8", "replace").splitlines():
                with suppress(ValueError, TypeError):  # a line that was cut off
                    one = Attempt(**json.loads(line))
                    found.pop((one.url, one.outcome, one.by), None)
                    found[one.url, one.outcome, one.by] = one
        return list(found.values())


def guard(attempts: EgressLog, *, offline: bool, expected: Collection[str], place: Callable[[str], str]) -> None:
    """Watch all look-ups and connections of this process from now on; the interpreter keeps the guard to its end.

    `offline`: refuse them (OSError). Nothing is said of this machine, of addresses off the public internet, and of
    `expected` hosts. `place` says, for the name of an extension or "", where its files belong.
    """
    known = {one.lower() for one in expected} | set(_LOCAL)

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if not event.startswith("socket."):  # the way of every import and open: as short as can be
            return
        target = _target(event, arguments)
        if target is None or _named(target[0]) in known or not _is_public(_named(target[0])):
            return
        frame, extension, ours = sys._getframe(1), "", False
        while frame is not None:
            module = str(frame.f_globals.get("__name__", ""))
            ours = ours or module == "easel.fetching"
            if module.startswith(_OURS):
                extension = module.removeprefix(_OURS).partition(".")[0]
                break
            frame = frame.f_back  # type: ignore[assignment]
        if ours:  # it notes the whole URL itself
            return
        where = f"{target[0]}:{target[1]}" if target[1] else target[0]
        attempts.note(where, "refused" if offline else "made", extension, place(extension))
        if offline:
            raise OSError(f"this service is offline (--offline): {where} is not asked")

    sys.addaudithook(see)


def _target(event: str, arguments: tuple[Any, ...]) -> tuple[str, object] | None:
    """Host and port that an event of `socket` names."""
    match event, arguments:
        case "socket.getaddrinfo", (host, port, *_):
            return _text(host), port
        case "socket.gethostbyname", (host, *_):
            return _text(host), ""
        case "socket.connect", (_, (host, port, *_)):
            return _text(host), port
    return None


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _named(host: str) -> str:
    return host.lower().rstrip(".").partition("%")[0]


def _is_public(host: str) -> bool:
    """A name may be anybody's; an address says what it is."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url[:200]
    if not parts.scheme or not parts.netloc:
        return url[:500]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:500]
