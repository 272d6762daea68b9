"""`easel simulate`: what a fleet would make of a load, in words. The flags of `easel serve` say what fleet."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from easel.deploy.plan import read_plan
from easel.deploy.script import words
from easel.deploy.service_file import read_file
from easel.deploy.simulation import DAY, Fleet, Report, day, simulate
from easel.errors import BadRequest, EaselError
from easel.settings import Settings, read_settings
from easel.worker.scaling import Scale

_EVENING = (3, 2, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 8, 9, 10, 10, 9, 7, 5)  # by hour of the day
_SHARES = (0.5, 0.95, 0.99)
_PATIENCE = 30.0  # seconds
Measured = Mapping[str, Sequence[float]]  # seconds of jobs, by checkpoint


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status. Errors: BadRequest, SettingsError, EaselError (the service does not answer)."""
    options, flags = _parser().parse_known_args(arguments)
    settings = _settings(options.service, flags)
    measured, load = _measured(options.measured, options.token)
    fleet = Fleet(
        scale=Scale.of(settings),
        at_once=options.at_once,
        start=options.start,
        load=load if options.load is None else options.load,
        warm=settings.warm_checkpoints,
    )
    curve = _curve(options.curve)
    mix = [(name, weight, measured[name]) for name, weight in _mix(options.mix, measured).items()]
    begun = time.perf_counter()
    report = simulate(day(options.jobs, curve, mix, options.seed, options.days), fleet)
    told = _told(report, fleet, settings.worker_gpus or 1.0, options.price) | {
        "simulated_in": round(time.perf_counter() - begun, 1)
    }
    print(json.dumps(told, indent=1) if options.json else _in_words(told, fleet))
    return 0


def _parser() -> argparse.ArgumentParser:
    text = "Simulate days of a service: waiting times, cold starts, utilisation and cost."
    more = "flags of `easel serve` say what fleet: --workers, --min-workers, --worker-backlog, --idle-timeout …"
    parser = argparse.ArgumentParser(prog="easel simulate", description=text, epilog=more, allow_abbrev=False)
    parser.add_argument("--service", type=Path, metavar="FILE", help="a service.json; flags win over it")
    parser.add_argument("--jobs", type=_positive, required=True, metavar="N", help="jobs a day")
    text = "seconds of jobs: a JSON file, {checkpoint: [seconds, …]} or [seconds, …], or the URL of a running service"
    parser.add_argument("--measured", required=True, metavar="FILE|URL", help=text)
    parser.add_argument("--token", metavar="TOKEN", help="for the service of --measured")
    text = "weights of equal parts of the day, with commas, or flat [an evening's peak, by hour]"
    parser.add_argument("--curve", metavar="W,W,…", help=text)
    parser.add_argument("--mix", metavar="NAME=W,…", help="weights of the checkpoints [as often as they were measured]")
    parser.add_argument("--days", type=_positive, default=1.0, metavar="N", help="[1]")
    text = "jobs at once in a worker, each taking its measured seconds: measure them so [1]"
    parser.add_argument("--at-once", type=int, default=1, choices=range(1, 65), metavar="N", help=text)
    parser.add_argument(
        "--start", type=_seconds, default=30.0, metavar="S", help="seconds that a worker's start takes [30]"
    )
    text = "seconds that loading a checkpoint takes [as measured, else 5]"
    parser.add_argument("--load", type=_seconds, metavar="S", help=text)
    parser.add_argument("--price", type=_seconds, default=0.0, metavar="X", help="of a GPU for an hour [0]")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="[1]")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < 1e9:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _seconds(text: str) -> float:
    if not 0 <= (value := float(text)) < 1e9:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _settings(file: Path | None, flags: Sequence[str]) -> Settings:
    if file is None:
        return read_settings(flags, {})
    reading = read_plan(read_file(file))
    if reading.plan is None:
        raise BadRequest(str(reading.problems[0]), field=str(file), value=None)
    return read_settings([*words(reading.plan.flags), *flags], {})


def _curve(text: str | None) -> Sequence[float]:
    if text in (None, "flat"):
        return _EVENING if text is None else (1.0,)
    try:
        weights = [float(one) for one in str(text).split(",")]
    except ValueError:
        weights = []
    if not weights or min(weights) < 0 or not sum(weights) > 0:
        raise BadRequest(
            "must be weights, none below 0 and one above", field="--curve", value=text, allowed="flat, 1,2,1"
        )
    return weights


def _mix(text: str | None, measured: Measured) -> dict[str, float]:
    if text is None:
        return {name: float(len(seconds)) for name, seconds in measured.items()}
    mix = {}
    for part in text.split(","):
        name, _, weight = part.rpartition("=")
        if name not in measured:
            raise BadRequest("is not among the measured", field="--mix", value=name, allowed=", ".join(measured))
        try:
            mix[name] = float(weight)
        except ValueError as error:
            raise BadRequest("must be NAME=WEIGHT", field="--mix", value=part) from error
    if min(mix.values()) < 0 or not sum(mix.values()) > 0:
        raise BadRequest("weights must be 0 or more, and one above 0", field="--mix", value=text)
    return mix


def _measured(source: str, token: str | None) -> tuple[Measured, float]:
    """Seconds by checkpoint, and those that loading one takes."""
    load = 5.0
    if source.startswith(("http://", "https://")):
        found: object
        found, loads = _from_service(source.rstrip("/"), token)
        load = sum(loads) / len(loads) if loads else load
    else:
        found = read_file(Path(source))
        found = {"": found} if isinstance(found, list) else found
    if not isinstance(found, dict) or not found or not all(_are_seconds(one) for one in found.values()):
        raise BadRequest(
            "must hold seconds above 0", field="--measured", value=source, allowed="{name: [1.5, …]}, [1.5, …]"
        )
    return found, load


def _are_seconds(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, int | float) and one > 0 for one in value)


def _from_service(url: str, token: str | None) -> tuple[dict[str, list[float]], list[float]]:
    """What the finished jobs that a service remembers took, by checkpoint; and every load among that."""
    found: dict[str, list[float]] = {}
    loads = []
    for one in _get(f"{url}/easel/v1/jobs", token):
        if one["state"] != "done":
            continue
        told = _get(f"{url}/easel/v1/jobs/{one['id']}", token)
        seconds = dict(told.get("seconds", {}))
        if load := seconds.pop("load", 0.0):
            loads.append(load)
        if sum(seconds.values()) > 0 and "sd_model_name" in told.get("info", {}):
            found.setdefault(told["info"]["sd_model_name"], []).append(sum(seconds.values()))
    if not found:
        raise BadRequest("the service remembers no finished pictures: ask it for some", field="--measured", value=url)
    return found, loads


def _get(url: str, token: str | None) -> Any:
    call = urllib.request.Request(url, headers={"Authorization": token} if token else {})
    try:
        with urllib.request.urlopen(call, timeout=_PATIENCE) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise EaselError(f"{url} does not answer: {error}") from error


def _told(report: Report, fleet: Fleet, gpus: float, price: float) -> dict[str, float]:
    p50, p95, p99 = report.quantiles(*_SHARES)
    hours = report.alive / 3600 * gpus
    told = {
        "jobs": len(report.waits),
        "jobs_per_second": report.throughput,
        "wait_mean": report.mean_wait,
        "wait_p50": p50,
        "wait_p95": p95,
        "wait_p99": p99,
        "wait_max": max(report.waits, default=0.0),
        "workers_most": report.most,
        "workers_mean": report.alive / report.end if report.end else 0.0,
        "worker_starts": report.starts,
        "jobs_in_cold_starts": report.cold,
        "checkpoint_loads": report.loads,
        "utilisation": report.busy / report.alive / fleet.at_once if report.alive else 0.0,
        "days": report.end / DAY,
        "gpu_hours": hours,
        "cost": hours * price,
        "cost_per_1000_jobs": hours * price / len(report.waits) * 1000 if report.waits else 0.0,
    }
    return {name: round(value, 4) for name, value in told.items()}


def _in_words(told: Mapping[str, float], fleet: Fleet) -> str:
    scale, said = fleet.scale, dict(told)
    lines = (
        (
            "fleet",
            f"{scale.least} to {scale.most} workers, one for {scale.backlog:g} unfinished jobs, idle {scale.idle:g} s",
        ),
        ("", f"start {fleet.start:g} s, load {fleet.load:.3g} s, {fleet.at_once} jobs at once"),
        ("jobs", "{jobs:,.0f} in {days:.2f} days, {jobs_per_second:.3g} a second"),
        (
            "wait",
            "mean {wait_mean:.1f} s, p50 {wait_p50:.1f}, p95 {wait_p95:.1f}, p99 {wait_p99:.1f}, most {wait_max:.1f}",
        ),
        ("workers", "{workers_mean:.1f} on average, {workers_most} at most, {worker_starts:,} started"),
        ("cold", "{jobs_in_cold_starts:,} jobs met no worker; {checkpoint_loads:,} had their checkpoint loaded"),
        ("use", "{utilisation:.1%} of the workers' time"),
        ("cost", "{gpu_hours:,.1f} GPU hours: {cost:,.2f}, {cost_per_1000_jobs:.3f} for 1,000 jobs"),
        ("simulated", "in {simulated_in} s"),
    )
    return "\n".join(f"{name:<10} {line.format_map(said)}" for name, line in lines)
