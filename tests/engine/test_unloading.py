"""Models dropped on request: nothing of them stays, and a pass under way is not disturbed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from easel.engine.engine import ModelSpec
from easel.engine.ticks import TickEngine
from easel.models.cache import ModelCache
from easel.models.checkpoint import LoadedCheckpoint
from easel.values.job import Job
from easel.values.request import GenerationRequest


def loaded_already() -> LoadedCheckpoint:
    raise AssertionError("it should be there")


def test_nothing_stays_of_what_was_loaded(make_engine: Callable[..., TickEngine]) -> None:
    cache = ModelCache()
    engine, job = make_engine(cache), Job(id="1", request=GenerationRequest())
    engine.load(job, ModelSpec(checkpoint="tiny.safetensors"))
    (key,) = cache.keys()
    model = weakref.ref(cache.get(key, loaded_already).unet)
    assert model() is not None
    engine.unload(job)
    gc.collect()
    assert cache.keys() == () and model() is None
    engine.load(job, ModelSpec(checkpoint="tiny.safetensors"))
    assert cache.keys() == (key,)
    assert dict(engine.memory()) == {"error": "unavailable"}  # these tests run on a processor
