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
    turn: threading.Lock = field(default_factory=threading.Lock)  # free: there is an answer, or it is the first in line
    done: bool = False
    answer: object = None


class Together(Generic[Wish]):
    """Calls of many threads become few calls of `fulfil`, one at a time. `lock` is held meanwhile."""

    def __init__(self, fulfil: Callable[[Sequence[Wish]], Sequence[object]]) -> None:
        """`fulfil` answers each wish; an exception among the answers is raised to who wished, one raised to all."""
        self._fulfil = fulfil
        self._line: deque[_InLine[Wish]] = deque()
        self._led = False  # somebody is at it, or has been told to
        self._guard, self.lock = threading.Lock(), threading.Lock()

    def __call__(self, wish: Wish) -> object:
        """The answer to a wish; which thread fulfils it is left open."""
        mine = _InLine(wish)
        mine.turn.acquire()
        with self._guard:
            self._line.append(mine)
            wait, self._led = self._led, True
        if wait:
            mine.turn.acquire()
        if not mine.done:
            self._lead()
        if isinstance(mine.answer, BaseException):
            raise mine.answer
        return mine.answer

    def _lead(self) -> None:
        """Fulfil what is in line, the first of which is this thread's, and pass the lead on."""
        with self._guard:
            batch = [self._line.popleft() for _ in range(min(len(self._line), _MOST))]
        answers: Sequence[object] = ()
        try:
            with self.lock:
                answers = self._fulfil([one.wish for one in batch])
        except BaseException as error:  # noqa: BLE001 -- everybody's, this thread's too
            answers = [error] * len(batch)
        for one, answer in zip(batch, answers, strict=True):
            one.done, one.answer = True, answer
        with self._guard:
            following = self._line[0] if self._line else None
            self._led = following is not None
        for one in (*batch[1:], *((following,) if following else ())):
            one.turn.release()
