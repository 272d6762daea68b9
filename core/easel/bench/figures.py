"""What a benchmark found: figures, each beside its opponent and its target, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Unit = Literal["s", "/s", "%", "MB", "rows", "x"]
LIMITS = {"at most": "≤", "at least": "≥", "below": "<"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach. `here` is why it does not bind on this machine, "" where it does."""

    kind: Literal["at most", "at least", "below"]
    limit: float
    here: str = ""

    def met(self, measured: float) -> bool:
        """Whether `measured` reaches it."""
        match self.kind:
            case "at most":
                return measured <= self.limit
            case "at least":
                return measured >= self.limit
            case "below":
                return measured < self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of a table. `ratio` is what the benchmark compares; the target judges it, or else `value`."""

    what: str
    value: float  # the median
    unit: Unit = "s"
    against: str = ""  # the opponent's name …
    opponent: float | None = None  # … and its median, in the same unit
    ratio: float | None = None
    target: Target | None = None
    note: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)  # every single measurement, by side

    @property
    def verdict(self) -> str:
        """Whether the target was "met" or "missed"; "" where there is nothing to judge."""
        if self.target is None or self.target.here:
            return ""
        return "met" if self.target.met(self.value if self.ratio is None else self.ratio) else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark's figures. `remark` says how they were taken."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        rows = [asdict(figure) | {"verdict": figure.verdict} for figure in self.figures]
        return {"name": self.name, "title": self.title, "remark": self.remark, "figures": rows}


def show(report: Report, console: Console) -> None:
    """Print a report as a table."""
    table = Table(title=f"{report.name}: {report.title}", title_justify="left", caption_justify="left")
    table.caption = report.remark or None
    for heading in ("what", "Easel", "against", "measured", "ratio", "target", "note"):
        table.add_column(heading, justify="right" if heading in ("Easel", "measured", "ratio") else "left")
    for figure in report.figures:
        table.add_row(
            figure.what,
            _number(figure.value, figure.unit),
            figure.against,
            "" if figure.opponent is None else _number(figure.opponent, figure.unit),
            "" if figure.ratio is None else f"{figure.ratio:.2f}x",
            _target(figure),
            figure.note,
        )
    console.print(table)


def _number(value: float, unit: Unit) -> str:
    digits = 0 if unit in ("MB", "/s") else 1 if unit == "%" else 2
    return f"{value:.{digits}f} {unit}"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    text = f"{LIMITS[figure.target.kind]} {figure.target.limit:g}"
    if figure.target.here:
        return f"{text} ({figure.target.here})"
    color = "green" if figure.verdict == "met" else "red"
    return f"{text} [{color}]{figure.verdict}[/{color}]"
