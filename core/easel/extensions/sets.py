"""Sets of hooks: the one in force, users' parts of it, and those that jobs still hold.

A set is never changed. Putting another in force swaps one reference; an extension that is in no set any more, because
the last job that held one has ended, is shut down then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from easel.extensions.extension import Extension
from easel.extensions.hooks import Hooks

_PARTS = 64  # distinct selections that are kept ready

Build = Callable[[Sequence[Extension]], Hooks]
Selection = Collection[str] | None  # names a user wants of those that are on; None: all


@dataclass(slots=True, eq=False)
class _Set:
    hooks: Hooks
    extensions: tuple[Extension, ...]
    build: Build  # makes a part of it
    parts: dict[frozenset[str], Hooks] = field(default_factory=dict)
    holders: int = 0


class Sets:
    """All sets of one process. `shut_down` is called once for each extension that was started and left the last set."""

    def __init__(self, shut_down: Callable[[Extension], None]) -> None:
        self._shut_down = shut_down
        self._lock = threading.Lock()  # never held while an extension's code runs
        self._current = _Set(Hooks.build(), (), lambda extensions: Hooks.build((), extensions))
        self._all = [self._current]  # this one and those that are still held
        self._started: list[Extension] = []  # those whose `startup` ran and whose `shutdown` did not

    @property
    def hooks(self) -> Hooks:
        """The set in force."""
        return self._current.hooks

    def put(self, hooks: Hooks, extensions: tuple[Extension, ...], build: Build, *, started: bool) -> None:
        """Put a set in force; `build` makes a user's part of it."""
        new = _Set(hooks, extensions, build)
        with self._lock:
            self._current = new
            self._all = [*(one for one in self._all if one.holders), new]
            if started:
                self._started += [one for one in extensions if one not in self._started]

    def select(self, selection: Selection) -> Hooks:
        """The set in force, or a user's part of it, to look at."""
        return self._part(self._current, selection)

    @contextmanager
    def hold(self, selection: Selection = None) -> Iterator[Hooks]:
        """The same, kept alive meanwhile."""
        with self._lock:
            whole = self._current
            whole.holders += 1
        try:
            yield self._part(whole, selection)
        finally:
            with self._lock:
                whole.holders -= 1
            self.shut_down_unused()

    def shut_down_unused(self) -> None:
        """Shut down who left the last set; called after switching and by whoever gave back the last hold."""
        with self._lock:
            self._all = [one for one in self._all if one.holders or one is self._current]
            used = {id(extension) for one in self._all for extension in one.extensions}
            leaving = [extension for extension in self._started if id(extension) not in used]
            self._started = [extension for extension in self._started if id(extension) in used]
        for extension in leaving:
            self._shut_down(extension)

    def stop(self) -> None:
        """Shut everybody down, the last started first."""
        with self._lock:
            leaving, self._started = self._started, []
        for extension in reversed(leaving):
            self._shut_down(extension)

    def _part(self, whole: _Set, selection: Selection) -> Hooks:
        names = {one.name for one in whole.extensions}
        key = frozenset(names if selection is None else names & set(selection))
        if key == names:
            return whole.hooks
        with self._lock:
            part = whole.parts.get(key)
        if part is None:
            part = whole.build([one for one in whole.extensions if one.name in key])
            part = part.with_pages(
                tuple(one for one in whole.hooks.routers if one.extension in key),
                tuple(one for one in whole.hooks.tabs if one.extension in key),
            )
            with self._lock:
                if len(whole.parts) >= _PARTS:
                    whole.parts.clear()  # whoever works with one keeps it
                part = whole.parts.setdefault(key, part)
        return part
