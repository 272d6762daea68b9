"""Who failed how often, with the evidence, and when that is too often."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from easel.extensions.watch import Fault

_WINDOW = 3600.0  # seconds in which lost workers are counted
_HOOKS = 20  # hooks whose last fault is kept, of one extension


@dataclass(slots=True, eq=False)
class Quarantine:
    """The faults of every extension. `failures`: of one hook in a row, `losses`: of workers within an hour, that put
    an extension in quarantine; 0: never."""

    failures: int = 5
    losses: int = 3
    _faults: dict[str, dict[str, Fault]] = field(default_factory=dict)
    _lost: dict[str, list[float]] = field(default_factory=dict)

    def add(self, fault: Fault) -> bool:
        """Keep a fault; is it one too many?"""
        limit = self.failures
        if fault.kind == "worker":
            limit = self.losses
            recent = [when for when in self._lost.get(fault.extension, ()) if fault.when - when < _WINDOW]
            self._lost[fault.extension] = [*recent, fault.when]
            fault = replace(fault, count=len(recent) + 1)
        kept = self._faults.setdefault(fault.extension, {})
        kept.pop(fault.hook, None)
        kept[fault.hook] = fault
        while len(kept) > _HOOKS:
            kept.pop(next(iter(kept)))
        return bool(limit) and fault.count >= limit

    def of(self, extension: str, remembered: Mapping[str, Any] | None = None) -> tuple[Fault, ...]:
        """The last fault of each hook, the newest first; `remembered` from before the restart."""
        kept = self._faults.get(extension)
        if kept:
            return tuple(sorted(kept.values(), key=lambda fault: -fault.when))
        return tuple(Fault(**one) for one in (remembered or {}).get("faults", ()))

    def evidence(self, extension: str) -> dict[str, Any]:
        """What is remembered of an extension that is put in quarantine now."""
        faults = self.of(extension)
        return {"reason": _in_words(faults[0]), "when": time.time(), "faults": [asdict(fault) for fault in faults]}

    def forget(self, extension: str) -> None:
        """It is released."""
        self._faults.pop(extension, None)
        self._lost.pop(extension, None)


def _in_words(fault: Fault) -> str:
    if fault.kind == "worker":
        lost = "1 worker was" if fault.count == 1 else f"{fault.count} workers were"
        return f"{lost} lost within an hour in its {fault.hook}; the last time: {fault.message}"
    return f"its {fault.hook} failed {fault.count} times in a row; the last time: {fault.message}"
