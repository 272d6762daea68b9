"""Which weights a row of the batch needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from easel.engine.engine import ModelSpec
    from easel.values.prompt import Adapter


@dataclass(frozen=True, slots=True)
class Weights:
    """A denoiser with everything that changes its weights; the VAE does not matter to it."""

    checkpoint: str
    adapters: tuple[Adapter, ...] = ()
    tiling: bool = False

    @classmethod
    def of(cls, model: ModelSpec) -> Weights:
        """The weights of a model as the pipeline names it."""
        return cls(model.checkpoint, model.adapters, model.tiling)
