"""Explaining a job: the same road, with an engine that only notes what it would have to load and compute.

So what is explained is what a real run does, by construction: hooks run, prompts are rewritten, controls made; nothing
is encoded, denoised, decoded or saved. Pictures are blank where the road needs their sizes; no extension sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from easel.engine.engine import DenoisePlan, Engine, ModelFacts, ModelSpec
from easel.errors import EaselError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easel.values.job import Job
    from easel.values.receipt import UsedWeights

T = TypeVar("T")


class Explained(EaselError):
    """The job is explained: what follows would need its pictures."""


@dataclass(frozen=True, slots=True)
class PlannedTexts:
    """Texts that were not encoded."""

    extra_infotext: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedLatents:
    """Latents that were not made, of pictures of this size in pixels; `cells` (h, w) of the grid under a mask."""

    count: int
    width: int
    height: int
    cells: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Planner(Engine):
    """An engine that makes nothing; checkpoints are described and extensions' own models run by the real one.

    `needs` are the models that the passes use, each once, in the order of their first use: kind, name, and the bytes
    of its file where that is known here. `passes` has every pass; `planned` tells equal ones once, with how often.
    """

    engine: Engine
    needs: dict[tuple[str, str], int | None] = field(default_factory=dict)
    passes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def planned(self) -> list[dict[str, Any]]:
        """The passes, equal ones once: `times`."""
        found: list[dict[str, Any]] = []
        for one in self.passes:
            if one not in found:
                found.append(one)
        return [one | {"times": self.passes.count(one)} for one in found]

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        """As the real engine has it."""
        return self.engine.facts(job, model)

    def encode_prompts(
        self,
        job: Job,
        model: ModelSpec,
        positive: Sequence[str],
        negative: Sequence[str],
        *,
        steps: int,
        width: int,
        height: int,
        hires: bool = False,
        first_pass_steps: int = 0,
    ) -> PlannedTexts:
        """Note the model."""
        self._need(job, model)
        return PlannedTexts()

    def encode_pictures(self, job: Job, model: ModelSpec, pictures: Sequence[NDArray[np.uint8]]) -> PlannedLatents:
        """Latents of that many pictures of that size."""
        height, width = pictures[0].shape[:2]
        return PlannedLatents(len(pictures), width, height)

    def resize_latents(self, job: Job, latents: PlannedLatents, mode: str, width: int, height: int) -> PlannedLatents:
        """Latents of that size."""
        return PlannedLatents(latents.count, width, height)

    def crop_latents(
        self, job: Job, latents: PlannedLatents, left: int, top: int, right: int, bottom: int
    ) -> PlannedLatents:
        """The same: the pass that follows has its own size."""
        return latents

    def denoise(self, job: Job, model: ModelSpec, plan: DenoisePlan) -> PlannedLatents:
        """Note the pass and what it uses."""
        self._need(job, model)
        if plan.refiner is not None:
            self._need(job, plan.refiner)
        for control in plan.conditioning.controls:
            self._file("controlnet", Path(control.model))
        told = {
            "stage": plan.conditioning.stage,
            "width": plan.width,
            "height": plan.height,
            "pictures": len(plan.pictures),
            "steps": plan.steps,
            "sampler": plan.sampler,
            "scheduler": plan.scheduler,
        }
        self.passes.append(told)
        mask = plan.conditioning.mask
        cells = () if mask is None else mask.mask.shape
        return PlannedLatents(len(plan.pictures), plan.width, plan.height, cells)

    def distances(self, job: Job, latents: PlannedLatents) -> list[NDArray[np.float32]]:
        """Nothing has moved."""
        return [np.zeros(latents.cells, np.float32)] * latents.count

    def decode(self, job: Job, model: ModelSpec, latents: PlannedLatents) -> list[NDArray[np.uint8]]:
        """Blank pictures."""
        blank = np.zeros((latents.height, latents.width, 3), np.uint8)
        return [blank] * latents.count

    def compute(self, job: Job, fn: Callable[[], T]) -> T:
        """Run it: hooks decide by what their models say."""
        return self.engine.compute(job, fn)

    def model(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """Out of the real engine's cache."""
        return self.engine.model(key, load, size)

    def load(self, job: Job, model: ModelSpec) -> None:
        """Note the model."""
        self._need(job, model)

    def unload(self, job: Job) -> None:
        """Nothing is loaded."""

    def used(self, job: Job) -> tuple[UsedWeights, ...]:
        """As the real engine has it."""
        return self.engine.used(job)

    def machine(self) -> Mapping[str, Any]:
        """As the real engine has it."""
        return self.engine.machine()

    def spent(self) -> Mapping[str, float]:
        """As the real engine has it."""
        return self.engine.spent()

    def memory(self) -> Mapping[str, Any]:
        """As the real engine has it."""
        return self.engine.memory()

    def close(self) -> None:
        """The real engine goes on."""

    def _need(self, job: Job, model: ModelSpec) -> None:
        facts = self.engine.facts(job, model)
        self.needs.setdefault(("checkpoint", facts.title), None)
        if facts.vae_name is not None:
            self.needs.setdefault(("vae", facts.vae_name), None)
        for adapter in model.adapters:
            self._file(adapter.kind, Path(adapter.file))

    def _file(self, kind: str, path: Path) -> None:
        self.needs.setdefault((kind, path.stem), path.stat().st_size if path.is_file() else None)
