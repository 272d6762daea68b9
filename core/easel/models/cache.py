"""Loaded models within a budget: the least recently used goes first. No torch here: it does not know what it keeps."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
Key = tuple[str, Hashable]  # ("checkpoint", path), ("controlnet", path), ("my-extension", …)


def available_memory() -> int:
    """Bytes of memory that can be used without swapping."""
    return int(psutil.virtual_memory().available)


class ModelCache:
    """Keeps loaded models by key; the first part of a key is the kind.

    `limits` bounds how many models of a kind are kept (one checkpoint, unless `--sd-dynamic-cache`), `reserved` how
    many bytes stay free (`--min-ram-reserved`), `free` measures them (memory, or that of a GPU). What is dropped is
    freed when nobody else refers to it, so do not keep what `get` returned: ask again.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, int] | None = None,
        reserved: int = 0,
        free: Callable[[], int] = available_memory,
    ) -> None:
        self._limits = dict(limits or {})
        self._reserved = reserved
        self._free = free
        self._models: OrderedDict[Key, Any] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Key, load: Callable[[], T], size: int = 0) -> T:
        """The model of `key`; else `load()` it, after making room for `size` bytes. One loader at a time."""
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
                found: T = self._models[key]
                return found
            self._make_room(key[0], size)
            model = load()
            self._models[key] = model
            return model

    def keys(self) -> tuple[Key, ...]:
        """What is loaded, the least recently used first."""
        with self._lock:
            return tuple(self._models)

    def drop(self, *keys: Key) -> None:
        """Forget these models (all, when none is named)."""
        with self._lock:
            for key in keys or tuple(self._models):
                self._models.pop(key, None)
            _give_back()

    def _make_room(self, kind: str, size: int) -> None:
        same = [key for key in self._models if key[0] == kind]
        limit = self._limits.get(kind)
        if limit is not None and len(same) >= limit:
            self.drop(*same[: len(same) - limit + 1])
        while self._models and self._free() < self._reserved + size:
            self.drop(next(iter(self._models)))


def _give_back() -> None:
    """Return freed memory to the system; glibc would keep much of it for itself."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
