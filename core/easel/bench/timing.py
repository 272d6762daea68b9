"""Measuring: sides take turns in one run, medians count, and time inside models is told from time around them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Side = Callable[[], object]  # a side may return the seconds (float) that count of its run; else all of it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long a benchmark may take. `quick` is the smallest that shows anything: for tests, not for figures."""

    quick: bool
    rounds: int


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds of every run of every side."""

    seconds: Mapping[str, list[float]]

    def median(self, side: str) -> float:
        """The middle one of a side's runs."""
        return median(self.seconds[side])

    def ratio(self, side: str, to: str) -> float:
        """How many times as long `side` takes as `to`: the median over rounds, whose two runs were neighbours."""
        return median(a / b for a, b in zip(self.seconds[side], self.seconds[to], strict=True))


def alternate(sides: Mapping[str, Side], rounds: int, *, warm_up: bool = True) -> Rounds:
    """Run the sides in turn, A B A B …, so that whatever else the machine does meets all of them alike.

    `warm_up`: each runs once before anything counts.
    """
    if warm_up:
        for run in sides.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begin = perf_counter()
            counted = run()
            seconds[name].append(counted if isinstance(counted, float) else perf_counter() - begin)
    return Rounds(seconds)


@dataclass(slots=True)
class ModelTime:
    """Time spent inside torch modules, by the class of the outermost one: "UNet2DConditionModel", "Decoder" …"""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds inside any module."""
        return sum(self.seconds.values())

    def per_call(self, module: str) -> float:
        """Mean seconds of a call."""
        return self.seconds[module] / self.calls[module]


@contextmanager
def model_time() -> Iterator[ModelTime]:
    """Count the time in modules of all threads while this lasts: a few microseconds more for each module's call."""
    from torch.nn.modules import module as hooks

    spent, here = ModelTime(), threading.local()

    def enter(module: nn.Module, _: Any) -> None:
        if getattr(here, "outermost", None) is None:
            here.outermost, here.begin = module, perf_counter()

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        if here.outermost is module:
            name = type(module).__name__
            spent.seconds[name] = spent.seconds.get(name, 0.0) + perf_counter() - here.begin
            spent.calls[name] = spent.calls.get(name, 0) + 1
            here.outermost = None

    handles = (hooks.register_module_forward_pre_hook(enter), hooks.register_module_forward_hook(leave))
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()
