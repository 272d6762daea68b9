"""Threads that wait together: each gets its own answer, few calls serve many, an error reaches who it belongs to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from easel.streams.together import Together


@pytest.mark.parametrize("at_once", [1, 4])
def test_each_gets_its_own_answer(at_once: int) -> None:
    sizes: list[int] = []

    def double(wishes: Sequence[int]) -> list[object]:
        sizes.append(len(wishes))
        return [ValueError(wish) if wish % 7 == 0 else 2 * wish for wish in wishes]

    together = Together(double, at_once=at_once)

    def ask(wish: int) -> object:
        try:
            return together(wish)
        except ValueError as error:
            return error.args[0]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(2000))) == [n if n % 7 == 0 else 2 * n for n in range(2000)]
    assert sum(sizes) == 2000


def test_who_waits_is_served_at_once() -> None:
    begun, go, sizes = threading.Event(), threading.Event(), list[int]()

    def slow(wishes: Sequence[int]) -> Sequence[int]:
        sizes.append(len(wishes))
        begun.set()
        assert go.wait(20)
        if 3 in wishes:
            raise OSError("the disk is gone")
        return wishes

    together = Together(slow)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(together, 1)
        assert begun.wait(20)
        others = [pool.submit(together, wish) for wish in (2, 3, 4)]
        while len(together._line) < 3:
            threading.Event().wait(0.001)
        go.set()
        assert first.result() == 1
        for one in others:
            with pytest.raises(OSError, match="gone"):
                one.result()
    assert sizes == [1, 3]
    with pytest.raises(OSError):
        together(3)
    assert together(5) == 5
