"""The draft and the result of a job, and the report of what became of every part of its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from easel.values.image import Image, SavedImage
from easel.values.receipt import Receipt

# Parts of a job's seconds that the gateway adds: what it waited in line, and what it was in workers that died.
QUEUE, LOST = "queue", "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """What became of one key, tag, unit or argument of a request."""

    item: str  # e.g. "<lora:cat:1>", "override_settings.foo"
    outcome: Literal["applied", "ignored", "rejected"]
    reason: str = ""
    extension: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLine:
    """What one extension's implementation of a hook did with a job."""

    hook: str
    extension: str
    outcome: Literal["changed", "unchanged", "left out", "would run"]  # left out: it failed; would run: explained only
    change: str = ""  # in words
    seconds: float = 0.0
    part: str = ""  # of a job whose script runs several requests: "2", a part of that "2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What `generate` returns: pictures not yet reviewed or saved, and A1111's `info` object about them."""

    images: tuple[Image, ...]
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job ends with: pictures in response order (grid first when there is one) and A1111's `info` object."""

    images: tuple[SavedImage, ...]
    info: Mapping[str, Any]
    report: tuple[ReportLine, ...] = ()
    trace: tuple[TraceLine, ...] = ()  # in the order of what happened
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # queue, lost, and the parts of `Job.charge`
    work: float = 0.0  # megapixel-steps that were denoised
    interrupted: bool = False
    receipt: Receipt | None = None
