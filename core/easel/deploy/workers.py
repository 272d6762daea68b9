"""How many workers a `service.json` asks for: `metadata.instance` and `autoscaler`, as flags of `easel serve`."""

from __future__ import annotations

from collections.abc import Iterator

from easel.deploy.script import Flag
from easel.deploy.service_file import Note, ServiceFile
from easel.settings import Settings

_BACKLOG = ("queue[avgbacklog]", "avgbacklog")


def worker_flags(file: ServiceFile, settings: Settings) -> Iterator[Flag]:
    """The flags that are not in the script already."""
    scaler, instances = file.autoscaler, file.metadata.instance
    values: dict[str, float | None] = {"workers": instances}
    if scaler:
        most = scaler.max or max(scaler.min or 0, instances or 1)
        down = scaler.behavior and scaler.behavior.scaleDown
        values = {
            "workers": most,
            "min_workers": min(instances or 1, most) if scaler.min is None else scaler.min,
            "idle_timeout": down.stabilizationWindowSeconds if down else None,
        }
    for name, value in (values | {"worker_backlog": _backlog(file)}).items():
        if value is not None and name not in settings.given:
            yield Flag("--" + name.replace("_", "-"), (f"{value:g}",))


def worker_problems(file: ServiceFile, settings: Settings) -> Iterator[Note]:
    """What contradicts itself or the script."""
    scaler, instances = file.autoscaler, file.metadata.instance
    if scaler and scaler.min is not None and scaler.max is not None and scaler.min > scaler.max:
        yield Note("autoscaler.min", f"is above autoscaler.max, {scaler.max}", scaler.min)
    path, most = ("autoscaler.max", scaler.max) if scaler else ("metadata.instance", instances)
    if most is not None and "workers" in settings.given and settings.workers != most:
        yield Note(path, f"contradicts --workers {settings.workers} in containers[0].script", most)
    if settings.in_process and (most or 1) > 1:
        yield Note(path, "contradicts --in-process in containers[0].script: there is no worker process", most)
    for name, threshold in (scaler.strategies or {} if scaler else {}).items():
        if threshold <= 0:
            yield Note(f"autoscaler.strategies.{name}", "must be above 0", threshold)


def worker_remarks(file: ServiceFile) -> Iterator[Note]:
    """What is worth knowing."""
    scaler, instances = file.autoscaler, file.metadata.instance
    most = (scaler.max or 1) if scaler else (instances or 1)
    if most > 1:
        text = f"up to {most} workers run on this machine, and each has models of its own in memory"
        yield Note("autoscaler.max" if scaler else "metadata.instance", text)
    if not scaler:
        return
    if instances and not (scaler.min or 0) <= instances <= (scaler.max or instances):
        yield Note("metadata.instance", "has no effect: autoscaler has the last word", instances)
    for path, name, _ in _strategies(file):
        if name not in _BACKLOG:
            yield Note(path, f"has no effect: workers follow {_BACKLOG[0]}, unfinished jobs for each of them", name)


def _strategies(file: ServiceFile) -> Iterator[tuple[str, str, float]]:
    """Place, metric and threshold of each."""
    scaler = file.autoscaler
    for number, one in enumerate((scaler and scaler.scaleStrategies) or []):
        if one:
            yield f"autoscaler.scaleStrategies[{number}].metricName", one.metricName, one.threshold
    for name, threshold in ((scaler and scaler.strategies) or {}).items():
        yield f"autoscaler.strategies.{name}", name, threshold


def _backlog(file: ServiceFile) -> float | None:
    """The threshold of the backlog; the smallest, where there are several: EAS takes the greatest number of workers."""
    return min((threshold for _, name, threshold in _strategies(file) if name in _BACKLOG), default=None)
