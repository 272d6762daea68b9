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
    picture_scale: float | None = None  # how far a picture that is edited guides; None: it is only looked at
    skip_early: float = 0.0  # fraction of the calls that run without the negative text
    floor: float = 0.0  # below this sigma (or timestep) the negative text is left out …
    floor_every_call: bool = False  # … at every call, not only at every other one

    def needs_negative(self, call: int, at: float) -> bool:
        """Whether denoiser call `call` (0-based) at a sigma or timestep looks at the negative text."""
        if self.skip_early and call / self.calls <= self.skip_early:
            return False
        return not (at < self.floor and (call % 2 == 1 or self.floor_every_call))

    def combine(
        self, parts: Sequence[tuple[float, Tensor]], negative: Tensor | None, blind: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(guided, unguided) from the answers to the weighted parts that AND joins and to the negative text.

        Works on any answers that are mixed affinely, so on the model's raw output: unguided + Σ wᵢ·scale·(partᵢ -
        unguided). Without a negative answer the first part stands in for it and scale is 1: a single part is itself.
        `blind`, the answer to the negative text without the picture to edit, adds (unguided - blind)·(picture_scale
        - 1): Brooks et al., arXiv:2211.09800, equation 3.
        """
        base, scale = (parts[0][1], 1.0) if negative is None else (negative, self.scale)
        guided = base
        for weight, answer in parts:
            if answer is not base:
                guided = guided.add(answer - base, alpha=weight * scale)
        if blind is not None and self.picture_scale is not None:
            guided = guided.add(base - blind, alpha=self.picture_scale - 1.0)
        return guided, base
