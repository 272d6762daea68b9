"""Samplers and noise schedules by name: A1111's lists in A1111's order, and how a request's names find them.

Only tables and names, no torch: the gateway lists them. The mathematics is in `easel.engine.samplers` and
`easel.engine.schedules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

from easel.errors import UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """What a sampler is called and what it asks of the engine.

    `space`: "sigma" samplers work on x = x0 + sigma·noise and are answered with the denoised x0; "timestep" samplers on
    x = sqrt(ᾱ)·x0 + sqrt(1-ᾱ)·noise and are answered with the noise. `takes`: which of `s_churn`, `s_tmin`, `s_tmax`,
    `s_noise` it listens to. `guidance_factor` scales the CFG scale.
    """

    name: str
    aliases: tuple[str, ...]
    space: Literal["sigma", "timestep"] = "sigma"
    default_scheduler: str | None = None  # name of the schedule that "Automatic" means; None: uniform timesteps
    second_order: bool = False  # counts two denoiser calls a step
    uses_ensd: bool = False
    uses_eta: bool = False
    discard_next_to_last_sigma: bool = False
    brownian: bool = False  # takes its noise from one Brownian path per picture
    solver_type: Literal["midpoint", "heun"] = "midpoint"
    takes: frozenset[str] = frozenset()
    guidance_factor: float = 1.0
    own_range: bool = False  # picks its own steps between the largest and the smallest sigma

    @property
    def options(self) -> dict[str, str]:
        """As A1111's `/sdapi/v1/samplers` shows them: only what is set, every value a string."""
        options = {"scheduler": self.default_scheduler} if self.default_scheduler else {}
        flags = ("uses_ensd", "discard_next_to_last_sigma", "second_order")
        options |= {flag: "True" for flag in flags if getattr(self, flag)}
        if self.brownian:
            options["brownian_noise"] = "True"
        if self.solver_type != "midpoint":
            options["solver_type"] = self.solver_type
        return options

    def denoiser_calls(self, steps: int) -> int:
        """The number of denoiser calls that prompt schedules and "skip early CFG" count on for `steps` steps."""
        return steps * 2 if self.second_order else steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """One rule that turns a number of steps into noise levels."""

    name: str
    label: str
    aliases: tuple[str, ...] | None = None
    default_rho: float = -1.0  # -1: it has none
    need_inner_model: bool = False  # computed from the model's own 1000 levels rather than from their range


_ALL_S = frozenset({"s_churn", "s_tmin", "s_tmax", "s_noise"})
_S_NOISE = frozenset({"s_noise"})


def _by_name(*samplers: Sampler) -> Mapping[str, Sampler]:
    return MappingProxyType({sampler.name: sampler for sampler in samplers})


SAMPLERS: Mapping[str, Sampler] = _by_name(
    Sampler(name="DPM++ 2M", aliases=("k_dpmpp_2m",), default_scheduler="karras"),
    Sampler(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        default_scheduler="karras",
        second_order=True,
        brownian=True,
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        default_scheduler="exponential",
        brownian=True,
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        default_scheduler="exponential",
        brownian=True,
        solver_type="heun",
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(
        name="DPM++ 2S a",
        aliases=("k_dpmpp_2s_a",),
        default_scheduler="karras",
        uses_ensd=True,
        second_order=True,
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(
        name="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde",),
        default_scheduler="exponential",
        discard_next_to_last_sigma=True,
        brownian=True,
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(name="Euler a", aliases=("k_euler_a", "k_euler_ancestral"), uses_ensd=True, uses_eta=True),
    Sampler(name="Euler", aliases=("k_euler",), takes=_ALL_S),
    Sampler(name="LMS", aliases=("k_lms",)),
    Sampler(name="Heun", aliases=("k_heun",), second_order=True, takes=_ALL_S),
    Sampler(
        name="DPM2",
        aliases=("k_dpm_2",),
        default_scheduler="karras",
        discard_next_to_last_sigma=True,
        second_order=True,
        takes=_ALL_S,
    ),
    Sampler(
        name="DPM2 a",
        aliases=("k_dpm_2_a",),
        default_scheduler="karras",
        discard_next_to_last_sigma=True,
        uses_ensd=True,
        second_order=True,
        uses_eta=True,
        takes=_S_NOISE,
    ),
    Sampler(name="DPM fast", aliases=("k_dpm_fast",), uses_ensd=True, uses_eta=True, takes=_S_NOISE, own_range=True),
    Sampler(name="DPM adaptive", aliases=("k_dpm_ad",), uses_ensd=True, uses_eta=True, own_range=True),
    Sampler(name="Restart", aliases=("restart",), default_scheduler="karras", second_order=True),
    Sampler(name="DDIM", aliases=("ddim",), space="timestep", uses_eta=True),
    Sampler(name="DDIM CFG++", aliases=("ddim_cfgpp",), space="timestep", uses_eta=True, guidance_factor=1 / 12.5),
    Sampler(name="PLMS", aliases=("plms",), space="timestep"),
    Sampler(name="UniPC", aliases=("unipc",), space="timestep"),
    Sampler(name="LCM", aliases=("k_lcm",)),
)

AUTOMATIC = Scheduler(name="automatic", label="Automatic")

SCHEDULERS: tuple[Scheduler, ...] = (
    AUTOMATIC,
    Scheduler(name="uniform", label="Uniform", need_inner_model=True),
    Scheduler(name="karras", label="Karras", default_rho=7.0),
    Scheduler(name="exponential", label="Exponential"),
    Scheduler(name="polyexponential", label="Polyexponential", default_rho=1.0),
    Scheduler(name="sgm_uniform", label="SGM Uniform", need_inner_model=True, aliases=("SGMUniform",)),
    Scheduler(name="kl_optimal", label="KL Optimal"),
    Scheduler(name="align_your_steps", label="Align Your Steps"),
    Scheduler(name="simple", label="Simple", need_inner_model=True),
    Scheduler(name="normal", label="Normal", need_inner_model=True),
    Scheduler(name="ddim", label="DDIM", need_inner_model=True),
    Scheduler(name="beta", label="Beta", need_inner_model=True),
)


def find_sampler(name: str | None, scheduler: str | None = None, *, field: str = "sampler_name") -> tuple[Sampler, str]:
    """The sampler of a request and its schedule's label ("Automatic" when it is the sampler's own default).

    `name` is a sampler's name or alias in any case, perhaps with a schedule at its end ("DPM++ 2M Karras"), which then
    wins over `scheduler`; None is the first sampler. A1111 differs in three ways: it answers an alias, another case or
    an unknown name with the first sampler, an unknown schedule with Automatic, and reads "SGM Uniform" as "Uniform".
    Errors: UnknownName, with the nearest names.
    """
    if name is None:
        return next(iter(SAMPLERS.values())), _label(next(iter(SAMPLERS.values())), find_scheduler(scheduler))
    sampler, found = _sampler_called(name), None
    if sampler is None:
        head, found = _cut_scheduler(name)
        sampler = _sampler_called(head)
    if sampler is None:
        raise UnknownName.among(field, name, SAMPLERS)
    return sampler, _label(sampler, found or find_scheduler(scheduler))


def find_scheduler(name: str | None, *, field: str = "scheduler") -> Scheduler:
    """The schedule of that name, label or alias in any case; None or "" is Automatic. Errors: UnknownName."""
    if not name:
        return AUTOMATIC
    scheduler = _called(name, ((one, _names(one)) for one in SCHEDULERS))
    if scheduler is None:
        raise UnknownName.among(field, name, [one.label for one in SCHEDULERS])
    return scheduler


def scheduler_that_runs(sampler: Sampler, label: str) -> Scheduler:
    """The schedule behind `label` for `sampler`: Automatic becomes the sampler's own (or stays, meaning uniform)."""
    asked = find_scheduler(label)
    return find_scheduler(sampler.default_scheduler) if asked is AUTOMATIC else asked


def _label(sampler: Sampler, scheduler: Scheduler) -> str:
    return AUTOMATIC.label if scheduler.name == sampler.default_scheduler else scheduler.label


def _cut_scheduler(name: str) -> tuple[str, Scheduler | None]:
    """`name` without the schedule at its end, and that schedule; the longest name wins ("SGM Uniform")."""
    endings = sorted(((text, one) for one in SCHEDULERS for text in _names(one)), key=lambda pair: -len(pair[0]))
    for text, scheduler in endings:
        if name.casefold().endswith(" " + text.casefold()):
            return name[: -len(text) - 1].rstrip(), scheduler
    return name, None


T = TypeVar("T")


def _called(name: str, entries: Iterable[tuple[T, Iterable[str]]]) -> T | None:
    wanted = name.strip().casefold()
    return next((entry for entry, names in entries if any(wanted == text.casefold() for text in names)), None)


def _sampler_called(name: str) -> Sampler | None:
    return _called(name, ((sampler, (sampler.name, *sampler.aliases)) for sampler in SAMPLERS.values()))


def _names(scheduler: Scheduler) -> tuple[str, ...]:
    return (scheduler.label, scheduler.name, *(scheduler.aliases or ()))


def sampler_names() -> tuple[str, ...]:
    """The samplers in A1111's order: some requests count them."""
    return tuple(SAMPLERS)
