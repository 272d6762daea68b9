"""Classifier-free guidance: which texts an evaluation needs, and how the model's answers to them are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """How one pass is guided. `calls` is the number of denoiser calls it plans for."""

    scale: float
    calls: int
    skip_early: float = 0.0  # fraction of the calls that run without the negative text
    floor: float = 0.0  # below this sigma (or timestep) the negative text is left out …
    floor_every_call: bool = False  # … at every call, not only at every other one

    def needs_negative(self, call: int, at: float) -> bool:
        """Whether denoiser call `call` (0-based) at a sigma or timestep looks at the negative text."""
        if self.skip_early and call / self.calls <= self.skip_early:
            return False
        return not (at < self.floor and (call % 2 == 1 or self.floor_every_call))

    def combine(self, parts: Sequence[tuple[float, Tensor]], negative: Tensor | None) -> tuple[Tensor, Tensor]:
        """(guided, unguided) from the answers to the weighted parts that AND joins and to the negative text.

        Works on any answers that are mixed affinely, so on the model's raw output: unguided + Σ wᵢ·scale·(partᵢ -
        unguided). Without a negative answer the first part stands in for it, so that a single part is itself.
        """
        base = parts[0][1] if negative is None else negative
        guided = base
        for weight, answer in parts:
            if answer is not base:
                guided = guided.add(answer - base, alpha=weight * self.scale)
        return guided, base
