"""The cache keeps what fits, drops the least recently used, and gives memory back."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import psutil
import pytest

from easel.models.cache import ModelCache
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import ModelStore


class Model:
    """Something that can be referred to weakly."""


def test_a_model_is_loaded_once() -> None:
    cache, loads = ModelCache(), []
    for _ in range(3):
        cache.get(("checkpoint", "a"), lambda: loads.append(1) or Model())
    assert loads == [1]


def test_limits_hold_by_kind_and_the_least_recently_used_goes() -> None:
    cache = ModelCache(limits={"checkpoint": 2})
    for name in ("a", "b"):
        cache.get(("checkpoint", name), Model)
    cache.get(("upscaler", "u"), Model)
    cache.get(("checkpoint", "a"), Model)
    cache.get(("checkpoint", "c"), Model)
    assert cache.keys() == (("upscaler", "u"), ("checkpoint", "a"), ("checkpoint", "c"))


def test_what_is_dropped_is_freed_before_the_next_is_loaded() -> None:
    cache = ModelCache(limits={"checkpoint": 1})
    first = weakref.ref(cache.get(("checkpoint", "a"), Model))

    def load() -> Model:
        assert first() is None
        return Model()

    cache.get(("checkpoint", "b"), load)


def loaded(cache: ModelCache) -> tuple[tuple[str, object], ...]:
    return cache.keys()


def test_memory_stays_reserved() -> None:
    models: dict[str, int] = {}
    cache = ModelCache(reserved=10, free=lambda: 100 - sum(models[str(name)] for _, name in loaded(cache)))
    for name, size in (("a", 30), ("b", 30), ("c", 25), ("d", 60)):
        models[name] = size
        cache.get(("checkpoint", name), Model, size)
    assert cache.keys() == (("checkpoint", "c"), ("checkpoint", "d"))
    models["huge"] = 1000
    cache.get(("checkpoint", "huge"), Model, 1000)  # nothing is left to drop: it is tried
    assert cache.keys() == (("checkpoint", "huge"),)


def test_a_load_that_fails_leaves_nothing_behind() -> None:
    cache = ModelCache()

    def fail() -> Model:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get(("vae", "a"), fail)
    assert cache.keys() == ()
    cache.get(("vae", "a"), Model)
    cache.drop(("vae", "a"), ("vae", "never there"))
    assert cache.keys() == ()


def test_one_loader_at_a_time() -> None:
    cache, running, most = ModelCache(), [0], [0]
    gate = threading.Event()

    def load() -> Model:
        running[0] += 1
        most[0] = max(most[0], running[0])
        gate.wait(0.02)
        running[0] -= 1
        return Model()

    threads = [threading.Thread(target=cache.get, args=(("checkpoint", n), load)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], len(cache.keys())) == (1, 4)


def switch(store: ModelStore, cache: ModelCache, times: int) -> int:
    """Load the two checkpoints in turn; the growth of memory in bytes after the first quarter."""
    start = 0
    for turn in range(times):
        info = store.checkpoint(("tiny", "tiny2")[turn % 2])
        cache.get(("checkpoint", info.path), lambda info=info: load_checkpoint(info, Placement()))
        if turn == times // 4:
            gc.collect()
            start = psutil.Process().memory_info().rss
    gc.collect()
    return int(psutil.Process().memory_info().rss) - start


def test_switching_checkpoints_keeps_memory_flat(tiny_store: ModelStore) -> None:
    assert switch(tiny_store, ModelCache(limits={"checkpoint": 1}), 8) < 60 * 2**20  # less than one checkpoint


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_memory_is_flat_over_a_hundred_switches(tiny_store: ModelStore, tmp_path: Path) -> None:
    assert switch(tiny_store, ModelCache(limits={"checkpoint": 1}), 100) < 20 * 2**20
