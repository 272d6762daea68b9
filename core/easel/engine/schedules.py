"""Noise schedules: the levels a model was trained on, and the rules that pick the few of them a pass visits.

Sigma counts noise against the picture (x = x0 + sigma·noise), sigma² = (1-ᾱ)/ᾱ. Every rule returns falling sigmas that
end in 0, except KL Optimal, which ends at the smallest sigma as A1111 has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from easel.errors import BadRequest
from easel.values.options import Options

Array = NDArray[np.float64]
LEVELS = 1000
LONGEST = 200_000  # steps of a schedule of which img2img runs the end


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The discrete noise levels of a model, rising: `timesteps` (n,) and the `alphas_cumprod` (n,) that belong to them.

    Between levels log sigma is interpolated; with `quantize` only levels themselves are answered by `timestep_of`.
    """

    timesteps: Array
    alphas_cumprod: Array
    quantize: bool = False

    @cached_property
    def sigmas(self) -> Array:
        """The sigma of every level (n,)."""
        sigmas: Array = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)
        return sigmas

    @cached_property
    def log_sigmas(self) -> Array:
        """The logarithms of `sigmas`."""
        logarithms: Array = np.log(self.sigmas)
        return logarithms

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The smallest and the largest sigma."""
        return float(self.sigmas[0]), float(self.sigmas[-1])

    def timestep_of(self, sigma: float) -> float:
        """The timestep at which the model expects noise of this sigma; outside the range, the nearest level's."""
        if self.quantize:
            return float(self.timesteps[np.abs(self.log_sigmas - math.log(sigma)).argmin()])
        return float(np.interp(math.log(sigma), self.log_sigmas, self.timesteps))

    def sigma_of(self, timestep: float) -> float:
        """The sigma of a timestep, which may be a fraction."""
        return math.exp(np.interp(timestep, self.timesteps, self.log_sigmas))

    def alpha_cumprod_of(self, timestep: float) -> float:
        """ᾱ of a timestep; a fraction is cut off."""
        return float(self.alphas_cumprod[int(timestep)])


def model_schedule(alphas_cumprod: Array, options: Options) -> NoiseSchedule:
    """The schedule of a model with these ᾱ (1000,), as the options bend it (half precision, zero terminal SNR)."""
    alphas = np.asarray(alphas_cumprod, dtype=np.float64)
    if options.use_downcasted_alpha_bar:
        alphas = alphas.astype(np.float16).astype(np.float64)
    if options.sd_noise_schedule == "Zero Terminal SNR":
        alphas = zero_terminal_snr(alphas)
    return NoiseSchedule(np.arange(len(alphas), dtype=np.float64), alphas, quantize=options.enable_quantization)


def zero_terminal_snr(alphas_cumprod: Array) -> Array:
    """Stretch ᾱ so that the last level is all noise (Lin et al. 2023), short of 0 so that its sigma stays finite."""
    roots = np.sqrt(alphas_cumprod)
    rescaled: Array = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    rescaled[-1] = 4.8973451890853435e-08  # the value A1111 uses: sigma about 4519
    return rescaled


def lcm_schedule(schedule: NoiseSchedule, levels: int = 50) -> NoiseSchedule:
    """The `levels` evenly spaced timesteps that latent consistency models are distilled on (Luo et al. 2023)."""
    skip = len(schedule.timesteps) // levels
    return NoiseSchedule(schedule.timesteps[skip - 1 :: skip], schedule.alphas_cumprod[skip - 1 :: skip], quantize=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaRange:
    """What a rule needs besides the number of steps: the range it spans, its model and its shape parameters."""

    schedule: NoiseSchedule
    low: float
    high: float
    rho: float = 0.0  # 0: the rule's own
    beta: tuple[float, float] = (0.6, 0.6)
    sdxl: bool = False


def uniform(n: int, span: SigmaRange) -> Array:
    """Evenly spaced timesteps over the model's whole range, both ends included."""
    return _at_timesteps(np.linspace(span.schedule.timesteps[-1], span.schedule.timesteps[0], n), span)


def normal(n: int, span: SigmaRange) -> Array:
    """Evenly spaced timesteps between the ends of the range."""
    first, last = span.schedule.timestep_of(span.high), span.schedule.timestep_of(span.low)
    return _at_timesteps(np.linspace(first, last, n), span)


def sgm_uniform(n: int, span: SigmaRange) -> Array:
    """As `normal` with one more point, the last one left out (Stability's generative-models)."""
    first, last = span.schedule.timestep_of(span.high), span.schedule.timestep_of(span.low)
    return _at_timesteps(np.linspace(first, last, n + 1)[:-1], span)


def simple(n: int, span: SigmaRange) -> Array:
    """Every (1000/n)-th of the model's own levels, from the top."""
    levels = span.schedule.sigmas
    return _ended([levels[-(1 + int(i * len(levels) / n))] for i in range(n)])


def ddim(n: int, span: SigmaRange) -> Array:
    """The levels that DDIM visits: 1, 1+k, 1+2k, …, from the top; may be more than `n`."""
    levels = span.schedule.sigmas
    return _ended(levels[1 :: max(len(levels) // max(n, 1), 1)][::-1])


def karras(n: int, span: SigmaRange) -> Array:
    """Evenly spaced in sigma^(1/rho) (Karras et al. 2022, equation 5)."""
    rho = span.rho or 7.0
    first, last = np.float64(span.high) ** (1 / rho), np.float64(span.low) ** (1 / rho)
    return _ended(np.linspace(first, last, n) ** rho)


def exponential(n: int, span: SigmaRange) -> Array:
    """Evenly spaced in log sigma."""
    return _ended(np.exp(np.linspace(math.log(span.high), math.log(span.low), n)))


def polyexponential(n: int, span: SigmaRange) -> Array:
    """A power (`rho`) of the way in log sigma."""
    way = np.linspace(1, 0, n) ** (span.rho or 1.0)
    return _ended(np.exp(math.log(span.low) + way * math.log(span.high / span.low)))


def kl_optimal(n: int, span: SigmaRange) -> Array:
    """Evenly spaced in arctan sigma (Sabour et al. 2024, "Align Your Steps", theorem 3.1); does not end in 0."""
    angles: Array = np.tan(np.linspace(math.atan(span.high), math.atan(span.low), n + 1))
    return angles


# Sabour et al. 2024: the published ten-step schedules.
ALIGNED_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGNED_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def align_your_steps(n: int, span: SigmaRange) -> Array:
    """The schedules of "Align Your Steps", interpolated in log sigma to `n` points."""
    table = ALIGNED_SDXL if span.sdxl else ALIGNED_SD1
    # Read backwards, so that a single step takes the smallest sigma as A1111 does.
    way = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(table)), np.log(table[::-1]))
    return _ended(np.exp(way)[::-1])


def beta(n: int, span: SigmaRange) -> Array:
    """Quantiles of a beta distribution over the range ("Beta Sampling is All You Need", 2024)."""
    quantiles = betaincinv(*span.beta, 1 - np.linspace(0, 1, n))
    return _ended(span.low + quantiles * (span.high - span.low))


RULES: Mapping[str, Callable[[int, SigmaRange], Array]] = MappingProxyType(
    {
        "automatic": uniform,
        "uniform": uniform,
        "karras": karras,
        "exponential": exponential,
        "polyexponential": polyexponential,
        "sgm_uniform": sgm_uniform,
        "kl_optimal": kl_optimal,
        "align_your_steps": align_your_steps,
        "simple": simple,
        "normal": normal,
        "ddim": ddim,
        "beta": beta,
    }
)


def ddim_timesteps(n: int) -> tuple[int, ...]:
    """The rising timesteps of the DDIM family: 1, 1+k, 1+2k, … with k = 1000 // n. Errors: BadRequest."""
    if not 1 <= n <= LEVELS:
        raise BadRequest("too many steps for this sampler", field="steps", value=n, allowed=f"1 to {LEVELS}")
    return tuple(min(t + 1, LEVELS - 1) for t in range(0, LEVELS, LEVELS // n))


def img2img_steps(steps: int, strength: float, *, exact: bool) -> tuple[int, int]:
    """How long a schedule to make and how many of its steps, less one, to run: (total, t_enc).

    Plain img2img runs its part of `steps`; with `exact` all `steps` run, as the tail of a longer schedule. Errors:
    BadRequest (a strength so small that the schedule would have more than `LONGEST` steps).
    """
    strength = min(strength, 0.999)
    if exact:
        if 0 < strength * LONGEST < steps:
            least = f"0, or at least {steps / LONGEST:g} with {steps} steps"
            raise BadRequest("too small", field="denoising_strength", value=strength, allowed=least)
        return (int(steps / strength) if strength > 0 else 0), steps - 1
    return steps, int(strength * steps)


def _at_timesteps(timesteps: Array, span: SigmaRange) -> Array:
    return _ended([span.schedule.sigma_of(timestep) for timestep in timesteps])


def _ended(sigmas: Array | list[float]) -> Array:
    return np.append(np.asarray(sigmas, dtype=np.float64), 0.0)
