"""Hashes of weights for receipts, computed beside the work: no picture waits long for one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

PATIENCE = 1.0  # seconds that a picture waits for a hash that is not known yet


class Fingerprints:
    """Thread-safe. `digest` reads a whole file, or finds its hash in a cache; one at a time, in a thread of its own."""

    def __init__(self, digest: Callable[[Path], str]) -> None:
        self._digest = digest
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="easel-hashes")
        self._known: dict[tuple[Path, int], Future[str]] = {}

    def begin(self, path: Path) -> None:
        """The hash of this file, or folder, will be asked for."""
        self._future(path)

    def get(self, path: Path, patience: float = PATIENCE) -> str:
        """The hash; "" when it could not be had in `patience` seconds, or the file cannot be read."""
        try:
            future = self._future(path)
            return future.result(patience) if future is not None else ""
        except (OSError, TimeoutError):
            return ""

    def close(self) -> None:
        """Forget what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _future(self, path: Path) -> Future[str] | None:
        try:
            key = path, path.stat().st_mtime_ns
        except OSError:
            return None
        if key not in self._known:
            self._known[key] = self._pool.submit(self._digest, path)
        return self._known[key]
