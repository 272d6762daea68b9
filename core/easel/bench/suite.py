"""The list of benchmarks, and the command that runs them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from easel.bench.figures import Report
from easel.bench.timing import Effort

BENCHMARKS: Mapping[str, str] = MappingProxyType(
    {
        "picture": "a request against plain diffusers; time outside the models; share of the matrix-multiply peak",
        "blade": "the same request with --blade (compiling takes minutes)",
        "together": "1, 2, 4, 8 jobs at once against one after another",
        "latency": "a short job beside a long one against alone",
        "start": "--help, first answer, first picture",
        "memory": "what gateway and worker hold",
        "page": "the page's first load against an empty gradio page, and how soon it answers (playwright, Chromium)",
        "queue": "puts to a stream against the bare database; long queues against short ones",
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `easel bench [NAME…] [--quick] [--rounds N] [--json FILE]`; 1 when a figure missed its target."""
    listing = "\n".join(f"  {name:<10} {text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="easel bench",
        description="Measure this machine; every figure stands beside its opponent, taken in turn with it.",
        epilog=f"benchmarks:\n{listing}\n\nOMP_NUM_THREADS sets the number of threads.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all, if none is named")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, one round: whether it runs at all")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each side is measured [3]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    effort = Effort(quick=options.quick, rounds=1 if options.quick else options.rounds)
    reports = run_benchmarks(options.names or tuple(BENCHMARKS), effort, options.json)
    return int(any(figure.verdict == "missed" for report in reports for figure in report.figures) and not effort.quick)


def run_benchmarks(names: Sequence[str], effort: Effort, json_file: Path | None = None) -> list[Report]:
    """Run benchmarks in the order of the list, print each table as it is ready, write `json_file` after each."""
    from rich.console import Console

    from easel.bench.figures import show
    from easel.bench.machine import describe_machine

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a file or a pipe
    machine = describe_machine()
    console.print(str(machine))
    reports: list[Report] = []
    for name in (one for one in BENCHMARKS if one in names):
        measure: Callable[[Effort], Report] = import_module(f"easel.bench.{name}").measure
        reports.append(measure(effort))
        show(reports[-1], console)
        if json_file is not None:
            found = {"machine": asdict(machine), "reports": [report.as_json() for report in reports]}
            json_file.write_text(json.dumps(found, indent=1))
    return reports
