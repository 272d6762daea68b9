"""How a sampler talks to the engine.

A sampler is a generator that works on one picture. It yields an `Evaluation` whenever it needs the denoiser, is sent
the `Prediction`, and returns the finished latents:

    run = start(plan, x, noise)
    evaluation = next(run)
    try:
        while True:
            evaluation = run.send(predict(evaluation))
    except StopIteration as end:
        latents = end.value

Samplers in sigma space hold x = x0 + sigma·noise and are sent the denoised x0; those in timestep space hold
x = sqrt(ᾱ)·x0 + sqrt(1-ᾱ)·noise and are sent the noise (see `Sampler.space`). Tensors are (1, C, h, w) float32 on the
engine's device; a sampler never changes one in place, so an `Evaluation.x` stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The denoiser is needed at `x`.

    `at`: the sigma, or the timestep (0…999, may be a fraction). `step`: the steps that are finished by now, 0-based
    index of the one being worked on: when it grows, or the run returns, the steps before it are done (it may grow by
    more than one, or stay the same for several evaluations). `timestep`: what the model must be told instead of the
    timestep that belongs to `at` (LCM).

    A run may be dropped at any evaluation: the last prediction of x0 is the picture so far, `x` the noisy state.
    """

    x: Tensor
    at: float
    step: int
    timestep: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The denoiser's answer: `value` after CFG (x0 or noise, see above), `uncond` the negative row's own.

    `uncond` equals `value` where no negative row was computed.
    """

    value: Tensor
    uncond: Tensor


SamplerRun = Generator[Evaluation, Prediction, Tensor]


class NoiseSource(Protocol):
    """Where the noise of one picture comes from; tensors are (1, C, h, w) float32, unit variance."""

    def draw(self) -> Tensor:
        """The next draw of the picture's generator."""
        ...

    def brownian(self, sigma_min: float, sigma_max: float) -> Callable[[float, float], Tensor]:
        """A Brownian path over sigma; called with two sigmas it gives the increment between them, normalised."""
        ...
