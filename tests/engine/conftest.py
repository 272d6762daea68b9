"""An engine on the tiny recorded checkpoints, and requests made through it call by call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel.engine.engine import DenoisePlan, Engine, ModelSpec, PictureNoise
from easel.engine.ticks import EngineOptions, TickEngine
from easel.models.cache import ModelCache
from easel.models.placement import Placement
from easel.models.store import ModelStore
from easel.values.conditioning import Conditioning, LatentMask
from easel.values.job import Job
from easel.values.request import GenerationRequest
from easel.values.sampling import find_sampler
from easel.values.step import Step

Pictures = list[NDArray[np.uint8]]
FOX = "a red fox in the snow, oil painting"
NUMBERS = count()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on shared cores are many times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_store(tiny_data: Path) -> ModelStore:
    return ModelStore(tiny_data, hashing=False)


@pytest.fixture(scope="session")
def tiny_cache() -> ModelCache:
    """Shared by the engines of all tests, which use it one after the other."""
    return ModelCache()


@pytest.fixture
def make_engine(tiny_store: ModelStore, tiny_cache: ModelCache) -> Iterator[Callable[..., TickEngine]]:
    """Engines with options of one's own, closed at the end."""
    engines: list[TickEngine] = []
    others = _engine_threads()  # services of other tests may live for a whole session

    def make(cache: ModelCache = tiny_cache, **options: Any) -> TickEngine:
        engines.append(TickEngine(tiny_store, cache, Placement(), EngineOptions(**options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
    assert _engine_threads() <= others


def _engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "easel-engine"}


@pytest.fixture
def engine(make_engine: Callable[..., TickEngine]) -> TickEngine:
    return make_engine()


@dataclass(kw_only=True)
class Sitting:
    """One request through an engine, as the pipeline would make it."""

    engine: Engine
    request: GenerationRequest
    job: Job = field(init=False)
    user: str = ""
    model: ModelSpec = field(default_factory=lambda: ModelSpec(checkpoint="tiny.safetensors"))
    on_step: Callable[[Step], None] = field(default=lambda step: None)

    def __post_init__(self) -> None:
        self.job = Job(id=f"job{next(NUMBERS)}", user=self.user, request=self.request)

    def texts(self, steps: int, model: ModelSpec | None = None) -> Any:
        request, n = self.request, self.request.batch_size
        return self.engine.encode_prompts(
            self.job,
            model or self.model,
            [request.prompt] * n,
            [request.negative_prompt] * n,
            steps=steps,
            width=request.width,
            height=request.height,
        )

    def plan(self, **changes: Any) -> DenoisePlan:
        request = self.request
        sampler, _ = find_sampler(request.sampler, request.scheduler)
        varied = request.subseed_strength != 0
        plan = DenoisePlan(
            request=request,
            width=request.width // 8 * 8,
            height=request.height // 8 * 8,
            pictures=tuple(
                PictureNoise(seed=request.seed + (0 if varied else n), subseed=request.subseed + (n if varied else 0))
                for n in range(request.batch_size)
            ),
            texts=None,
            conditioning=Conditioning(width=request.width, height=request.height, images=request.batch_size),
            sampler=request.sampler,
            scheduler=request.scheduler,
            steps=request.steps,
            on_step=self.on_step,
        )
        plan = replace(plan, **changes)
        return plan if plan.texts is not None else replace(plan, texts=self.texts(sampler.denoiser_calls(plan.steps)))

    def paint(self, **changes: Any) -> Pictures:
        """Texts, denoise, decode."""
        latents = self.engine.denoise(self.job, self.model, self.plan(**changes))
        return self.engine.decode(self.job, self.model, latents)


@pytest.fixture
def sitting(engine: TickEngine) -> Callable[..., Sitting]:
    """Requests for the fixture's engine, or the one that is named."""
    return lambda engine=engine, **wishes: sit(engine, **wishes)


def sit(
    engine: Engine,
    *,
    user: str = "",
    model: ModelSpec | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    **wishes: Any,
) -> Sitting:
    defaults: dict[str, Any] = {"prompt": FOX, "negative_prompt": "blurry", "steps": 4, "width": 64, "height": 64}
    request = GenerationRequest(**(defaults | {"seed": 1, "cfg_scale": 5.0} | wishes))
    chosen = {} if model is None else {"model": model}
    return Sitting(engine=engine, request=request, user=user, on_step=on_step, **chosen)


def together(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run functions in threads of their own, all at once; what each returned or raised, in order."""
    results: list[Any] = [None] * len(tasks)

    def run(index: int) -> None:
        try:
            results[index] = tasks[index]()
        except Exception as error:  # noqa: BLE001 - handed back to the test
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    return results


@pytest.fixture
def in_threads() -> Callable[[Sequence[Callable[[], Any]]], list[Any]]:
    return together


@pytest.fixture
def half_mask() -> LatentMask:
    """The right half of a 64 x 64 picture may be painted."""
    mask = np.zeros((8, 8), dtype=np.float32)
    mask[:, 4:] = 1
    return LatentMask(mask=mask)
