"""What became of a job, for people to read: who changed what, and what became of every part of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easel.ui.markup import Html, joined, table, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from easel.values.result import ReportLine, Result, TraceLine

_MOST = 300  # lines of one job


def trace_table(trace: Sequence[TraceLine], text: Callable[[str], str]) -> Html:
    """Every implementation of a hook that the job went through, in the order of what happened."""
    if not trace:
        return tag("p", text("No extension had a part in it."), class_="easel-quiet")
    heads = [text(head) for head in ("Step", "Extension", "Outcome", "What it changed", "Seconds")]
    rows = [
        (
            tag("code", f"{one.part} {one.hook}".strip()),
            one.extension or text("Easel itself"),
            tag("span", text(one.outcome), class_=f"easel-badge {_COLOURS.get(one.outcome, '')}"),
            one.change,
            f"{one.seconds:.3f}",
        )
        for one in trace[:_MOST]
    ]
    return table(heads, rows)


def report_table(report: Sequence[ReportLine], text: Callable[[str], str]) -> Html:
    """What became of every part of the request."""
    if not report:
        return tag("p", text("The request had no parts of its own."), class_="easel-quiet")
    heads = [text(head) for head in ("Part of the request", "Outcome", "Why", "Extension")]
    rows = [
        (
            tag("code", one.item),
            tag("span", text(one.outcome), class_=f"easel-badge {_COLOURS.get(one.outcome, '')}"),
            one.reason,
            one.extension,
        )
        for one in report[:_MOST]
    ]
    return table(heads, rows)


def explained(result: Result, told: Sequence[ReportLine], text: Callable[[str], str]) -> Html:
    """Both, and the job's warnings. `told`: what was known of the request before it became a job."""
    warnings = [tag("li", one) for one in result.warnings]
    return joined(
        [
            joined([tag("h4", text("Warnings")), tag("ul", *warnings)]) if warnings else "",
            tag("h4", text("Who changed what")),
            trace_table(result.trace, text),
            tag("h4", text("What became of the request")),
            report_table((*told, *result.report), text),
        ]
    )


_COLOURS = {"changed": "good", "applied": "good", "left out": "bad", "rejected": "bad", "ignored": "fair"}
