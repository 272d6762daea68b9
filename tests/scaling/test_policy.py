"""How many workers there should be, and which of them takes a job: functions of figures."""

from __future__ import annotations

from typing import Any

import pytest

from easel.jobs.places import Place, choose
from easel.worker.scaling import Scale, wanted

SCALE = Scale(least=0, most=5, backlog=10, idle=300)


@pytest.mark.parametrize(("workers", "backlog", "number"), [
    (0, 0, 0), (0, 1, 1), (0, 10, 1), (0, 11, 2), (0, 1000, 5),  # from nothing: one job is enough
    (2, 46, 5), (5, 20, 2), (2, 20, 2), (1, 0, 0),  # EAS' example: 23 each against 10, then 4 each
    (2, 22, 2), (2, 18, 2), (2, 23, 3), (3, 17, 2),  # within 10 % nothing changes
])  # fmt: skip
def test_eas_rule(workers: int, backlog: int, number: int) -> None:
    assert wanted(SCALE, workers, backlog) == number


def test_bounds_hold() -> None:
    fixed = Scale(least=3, most=3, backlog=4, idle=300)
    assert {wanted(fixed, workers, backlog) for workers in range(5) for backlog in range(0, 100, 7)} == {3}
    assert fixed.to(5) == Scale(5, 5, 4, 300)
    assert Scale(2, 4, 4, 300).to(1) == Scale(1, 1, 4, 300)
    assert SCALE.to(2) == Scale(0, 2, 10, 300)


def places(*found: tuple[int, str]) -> list[Place]:
    worker: Any = object()
    return [Place(worker, jobs, (warm,) if warm else ()) for jobs, warm in found]


@pytest.mark.parametrize(("found", "chosen"), [
    ([(0, ""), (0, "a")], 1), ([(1, "a"), (0, "")], 0), ([(2, "a"), (0, "")], 1), ([(1, "a"), (1, "a")], 0),
    ([(0, "b"), (3, "a"), (1, "a")], 2), ([(4, "a"), (3, "")], 1), ([(4, ""), (4, "a")], None), ([], None),
])  # fmt: skip
def test_the_least_busy_worker_and_loading_counts_as_one_job(found: list[tuple[int, str]], chosen: int | None) -> None:
    there = places(*found)
    assert choose(there, "a", most=4) is (there[chosen] if chosen is not None else None)


def test_without_a_checkpoint_every_worker_is_as_good() -> None:
    there = places((1, "a"), (0, ""))
    assert choose(there, "", most=4) is there[1]


def test_only_so_many_checkpoints_are_taken_to_be_warm() -> None:
    (place,) = places((0, ""))
    for name in ("a", "b", "", "a", "c"):
        place.warmed(name, 2)
    assert place.warm == ("c", "a")
