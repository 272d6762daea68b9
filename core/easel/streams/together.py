"""Waiting together: while one thread waits for the disk, others get in line; the next one does it for all of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
_MOST = 256  # wishes that are fulfilled at once


@dataclass(slots=True, eq=False)
class _InLine(Generic[Wish]):
    wish: Wish
    turn: threading.Lock = field(default_factory=threading.Lock)  # free: there is an answer, or the lead is passed on
    done: bool = False
    answer: object = None


class Together(Generic[Wish]):
    """Calls of many threads become few calls of `fulfil`."""

    def __init__(self, fulfil: Callable[[Sequence[Wish]], Sequence[object]], *, at_once: int = 1) -> None:
        """`fulfil` answers each wish; an exception among the answers is raised to who wished, one raised to all.

        `at_once`: so many calls of it may run side by side.
        """
        self._fulfil, self._free = fulfil, at_once
        self._line: deque[_InLine[Wish]] = deque()  # empty while anything is free
        self._guard = threading.Lock()

    def __call__(self, wish: Wish) -> object:
        """The answer to a wish; which thread fulfils it is left open."""
        mine = _InLine(wish)
        mine.turn.acquire()
        with self._guard:
            wait = self._free == 0
            if wait:
                self._line.append(mine)
            else:
                self._free -= 1
        if wait:
            mine.turn.acquire()
        if not mine.done:
            self._lead(mine)
        if isinstance(mine.answer, BaseException):
            raise mine.answer
        return mine.answer

    def _lead(self, mine: _InLine[Wish]) -> None:
        """Fulfil this thread's wish and all that are in line, and pass the lead on."""
        with self._guard:
            batch = [mine, *(self._line.popleft() for _ in range(min(len(self._line), _MOST)))]
        answers: Sequence[object] = ()
        try:
            answers = self._fulfil([one.wish for one in batch])
        except BaseException as error:  # noqa: BLE001 -- everybody's, this thread's too
            answers = [error] * len(batch)
        for one, answer in zip(batch, answers, strict=True):
            one.done, one.answer = True, answer
        with self._guard:
            following = [self._line.popleft()] if self._line else []
            self._free += not following
        for one in (*batch[1:], *following):
            one.turn.release()
