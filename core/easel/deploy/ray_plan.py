"""What `easel deploy --on ray` makes of a plan: the same service, its workers as replicas on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from easel.deploy.plan import Plan, Reading
from easel.deploy.script import Flag, words
from easel.deploy.service_file import Note, read_service
from easel.errors import SettingsError
from easel.settings import read_settings

_PARTS = {"cpu": "worker_cpus", "gpu": "worker_gpus"}  # of `metadata`: what each worker is given


def on_ray(reading: Reading, raw: object, address: str) -> Reading:
    """The reading of the file `raw` for workers on the cluster at `address`, with the problems of that."""
    if reading.plan is None:
        return reading
    problems = tuple(_problems(raw))
    told = {f"metadata.{name}" for name in _PARTS}
    remarks = tuple(one for one in reading.remarks if one.path not in told)
    if problems:
        return Reading(None, problems, remarks)
    plan = reading.plan
    flags = (*plan.flags, *_flags(raw, plan, address))
    try:
        settings = read_settings(words(flags), {})
    except SettingsError as error:
        return Reading(None, (Note("containers[0].script", error.message),), remarks)
    return Reading(replace(plan, flags=flags, settings=replace(settings, token=plan.token)), (), remarks)


def _given(raw: object) -> Iterator[tuple[str, object]]:
    metadata = read_service(raw)[0].metadata
    yield from ((name, getattr(metadata, name)) for name in _PARTS if getattr(metadata, name) is not None)


def _problems(raw: object) -> Iterator[Note]:
    for name, value in _given(raw):
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            yield Note(f"metadata.{name}", "must be a number, which may be a part of one", value, "0.25, 1, 2")


def _flags(raw: object, plan: Plan, address: str) -> Iterator[Flag]:
    yield Flag("--ray", (address,))
    for name, value in _given(raw):
        if _PARTS[name] not in plan.settings.given:
            yield Flag("--" + _PARTS[name].replace("_", "-"), (f"{value:g}",))
