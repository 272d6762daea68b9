"""Jobs that share the engine's forward passes, against the same jobs one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from easel.bench.checkpoints import TINY, Shape, data_folder
from easel.bench.figures import Figure, Report, Target
from easel.bench.service import Studio
from easel.bench.timing import Effort, Side, alternate
from easel.values.request import GenerationRequest

COUNTS = (1, 2, 4, 8)
# No two jobs are alike: equal ones would be easy to join.
SUBJECTS = ("cat", "red fox", "lighthouse at dusk", "green apple", "bowl of soup", "steam engine", "owl", "harbour")
SAMPLERS = ("Euler", "DPM++ 2M", "Euler a", "DDIM", "Heun", "UniPC", "LMS", "DPM++ 2M SDE")
STEPS = (8, 12, 9, 10, 7, 11, 10, 8)


def measure(effort: Effort) -> Report:
    """The starter at its native size, where computing dominates, and a tiny checkpoint, where dispatch does."""
    figures = [*_compare("tiny", TINY, 64, Target("at least", 1.5), effort)]
    if not effort.quick:
        figures = [*_compare("starter", None, 512, Target("at least", 1.0), effort), *figures]
    return Report(
        name="together",
        title="jobs at once against the same jobs one after another",
        figures=tuple(figures),
        remark=f"Median of {effort.rounds} alternating rounds; jobs differ in prompt, sampler, steps and seed.",
    )


def mixed_requests(count: int, side: int) -> list[GenerationRequest]:
    """`count` requests, all different, one picture of `side` x `side` pixels each."""
    chosen = zip(SUBJECTS, SAMPLERS, STEPS, strict=True)
    return [
        GenerationRequest(
            prompt=f"a {subject}", seed=100 + number, sampler=sampler, steps=steps, width=side, height=side
        )
        for number, (subject, sampler, steps) in zip(range(count), chosen, strict=False)
    ]


def _compare(name: str, shape: Shape | None, side: int, target: Target, effort: Effort) -> Iterator[Figure]:
    counts: Sequence[int] = COUNTS[:2] if effort.quick else COUNTS
    with data_folder(shape) as data, Studio(data) as studio:
        studio.one_after_another(mixed_requests(max(counts), side))  # texts are encoded, models warm
        for count in counts:
            requests = mixed_requests(count, side)
            rows: list[float] = []

            def all_at_once(requests: Sequence[GenerationRequest] = requests, rows: list[float] = rows) -> None:
                before = studio.counters
                studio.together(requests)
                after = studio.counters
                rows.append((after.rows - before.rows) / (after.ticks - before.ticks))

            sides: dict[str, Side] = {
                "together": all_at_once,
                "one by one": partial(studio.one_after_another, requests),
            }
            rounds = alternate(sides, effort.rounds, warm_up=False)
            yield Figure(
                what=f"{count} {name} job{'s' * (count > 1)}, {side}x{side}",
                value=rounds.median("together"),
                against="one after another",
                opponent=rounds.median("one by one"),
                ratio=rounds.ratio("one by one", "together"),
                target=target if count == COUNTS[-1] else None,
                note=f"{sum(rows) / len(rows):.1f} rows a forward pass",
                samples=rounds.seconds,
            )
