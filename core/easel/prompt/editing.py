"""A prompt that changes with the steps, as `grammar` reads it: text, edits `[a:b:n]` and alternations `[a|b]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """How the steps of one pass are counted, and how numbers in a prompt become steps (see `schedule.schedule`)."""

    steps: int
    first_step: int = 0
    first_fraction: float = 0.0
    old: bool = False

    def step(self, number: str) -> int:
        """The last step before an edit at `number` as written; one that lies before the pass is 0."""
        value = float(number)
        if self.old:
            value = value * self.steps if value < 1 else value
        elif "." in number:
            value = (value - self.first_fraction) * self.steps
        else:
            value -= self.first_step
        return int(max(0.0, min(float(self.steps), value)))


@dataclass(frozen=True, slots=True)
class Edit:
    """`[before:after:when]`: `before` up to the step that `when` stands for, then `after`; either may be empty."""

    before: Line
    after: Line
    when: str

    def chosen(self, step: int, clock: Clock) -> Line:
        """The part that is there at `step` (1-based)."""
        return self.before if step <= clock.step(self.when) else self.after

    def changes(self, clock: Clock) -> Iterator[int]:
        """The steps after which something in here becomes something else."""
        yield clock.step(self.when)
        yield from changes(self.before, clock)
        yield from changes(self.after, clock)


@dataclass(frozen=True, slots=True)
class Alternation:
    """`[a|b|c]`: another option at every step."""

    options: tuple[Line, ...]

    def chosen(self, step: int, clock: Clock) -> Line:
        """The option that is there at `step` (1-based)."""
        return self.options[(step - 1) % len(self.options)]

    def changes(self, clock: Clock) -> Iterator[int]:
        """Every step: A1111 schedules each one anew, equal neighbours included."""
        yield from range(1, clock.steps + 1)


Line = tuple[str | Edit | Alternation, ...]
"""A prompt, or a part of one: text and what changes with the steps, in order."""


def text(line: Line, step: int, clock: Clock) -> str:
    """`line` as it reads at `step` (1-based)."""
    return "".join(piece if isinstance(piece, str) else text(piece.chosen(step, clock), step, clock) for piece in line)


def changes(line: Line, clock: Clock) -> Iterator[int]:
    """The steps after which `line` may read otherwise, in any order, 0 for what lies before the pass."""
    for piece in line:
        if not isinstance(piece, str):
            yield from piece.changes(clock)
