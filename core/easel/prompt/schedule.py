"""Which text steers which step: a prompt with editing and alternation, unrolled over the steps of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from easel.prompt.editing import Clock, Line, changes
from easel.prompt.editing import text as text_of
from easel.prompt.syntax import split_and


class Stage(NamedTuple):
    """A text, and the last step (1-based) that it is meant for."""

    end_at_step: int
    text: str


Schedule = tuple[Stage, ...]
"""Stages in the order of their steps; the last one ends with the pass."""


class Condition(NamedTuple):
    """One of the prompts that AND joins."""

    schedule: Schedule
    weight: float


def schedule(text: str, steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False) -> Schedule:
    """Unroll `text` over the `steps` of the first pass or, when `hires_steps` is given, over those of the second.

    The second pass goes on counting: its steps are `steps + 1` …, its fractions 1.0 to 2.0. `use_old_scheduling` is the
    rule before A1111 1.6: a number below 1 is a fraction, and the second pass is unrolled like the first.
    """
    clock = Clock(steps, old=use_old_scheduling)
    if hires_steps is not None and not use_old_scheduling:
        clock = Clock(hires_steps, first_step=steps, first_fraction=1.0)
    line = _parse(text)
    ends = {clock.steps, *changes(line, clock)} - {0}
    return tuple(Stage(end, text_of(line, end, clock)) for end in sorted(ends or {clock.steps}))


def conditions(
    text: str, steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> tuple[Condition, ...]:
    """Split a positive prompt at AND and schedule each part. (In a negative prompt AND is a word.)"""
    return tuple(
        Condition(schedule(part, steps, hires_steps, use_old_scheduling), weight) for part, weight in split_and(text)
    )


def index_at(stages: Sequence[Stage], step: int) -> int:
    """Which stage serves the denoiser call `step` (0-based).

    Calls are counted from 0 and ends from 1, so that a stage serves one call more than its number says, and past the
    last end it is the first stage again. Both are A1111's, and pictures depend on them.
    """
    return next((index for index, stage in enumerate(stages) if step <= stage.end_at_step), 0)


def text_at(stages: Sequence[Stage], step: int) -> str:
    """The text that serves the denoiser call `step` (0-based), see `index_at`."""
    return stages[index_at(stages, step)].text


def _parse(text: str) -> Line:
    if "[" not in text:
        return (text,)
    from easel.prompt.grammar import parse_editing  # late: most prompts do without the grammar library

    return parse_editing(text)
