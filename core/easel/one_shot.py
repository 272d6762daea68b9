"""One request from the command line, run in this process by the same application object as the service."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from easel.api.explain import explained, explanation
from easel.api.requests import read_request
from easel.api.sdapi_models import Body, Img2ImgBody, Txt2ImgBody
from easel.app import Easel
from easel.errors import EaselError
from easel.settings import Settings
from easel.values.job import Job
from easel.values.result import Result

_POLL = 0.1  # seconds


def make_pictures(settings: Settings, body: Body, output: Path) -> list[Path]:
    """Make the pictures a body asks for and write them; several become `NAME-1.png`, `NAME-2.png` …

    Errors: EaselError.
    """
    assert isinstance(body, Txt2ImgBody | Img2ImgBody)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app = Easel(settings)
    app.start()
    try:
        asked = read_request(app, body)
        job = app.jobs.submit(asked.request)
        result = watched(app, job)
    finally:
        app.stop()
    for text in (*(f"{line.item}: {line.reason}" for line in asked.report), *result.warnings):
        logging.getLogger("easel").warning(text)
    return _written(result, output)


def explain(settings: Settings, body: Body) -> dict[str, Any]:
    """What a body would do, as `POST /easel/v1/explain` answers. Errors: EaselError."""
    assert isinstance(body, Txt2ImgBody | Img2ImgBody)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app = Easel(settings)
    app.start()
    try:
        asked = explained(read_request(app, body))
        return explanation(app, asked, app.jobs.wait_blocking(app.jobs.submit(asked.request)))
    finally:
        app.stop()


def in_words(explanation: dict[str, Any]) -> Iterator[str]:
    """The lines that a person reads."""
    yield f"{explanation['kind']}: {explanation['images']} picture(s), seed {explanation['seed']}"
    for one in explanation["loads"]:
        size = "" if one["bytes"] is None else f"  {one['bytes'] / 1e6:,.1f} MB"
        yield f"loads     {one['kind']} {one['name']}{size}"
    for one in explanation["passes"]:
        size = f"{one['width']}x{one['height']}, {one['pictures']} at once"
        times = f", {one['times']} times" if one["times"] > 1 else ""
        yield f"denoises  {one['stage']}: {one['steps']} steps of {one['sampler']} ({one['scheduler']}), {size}{times}"
    if (expected := explanation["estimate"]) is not None:
        yield f"takes     about {expected['seconds']:g} s, as this model's last {expected['measured_jobs']} jobs did"
    for line in explanation["trace"]:
        part = f"part {line['part']}: " if line["part"] else ""
        change = f": {line['change']}" if line["change"] else ""
        time = f"  [{line['seconds']:.3f} s]" if line["outcome"] != "would run" else ""
        yield f"{line['hook']:<16}  {part}{line['extension']} {line['outcome']}{change}{time}"
    yield from (f"warning   {text}" for text in explanation["warnings"])


def watched(app: Easel, job: Job) -> Result:
    """The job's result, with a progress bar until it is there."""
    from rich.progress import Progress

    outcome: list[Result | EaselError] = []

    def wait() -> None:
        try:
            outcome.append(app.jobs.wait_blocking(job))
        except EaselError as error:
            outcome.append(error)

    waiting = Thread(target=wait, daemon=True)
    waiting.start()
    with Progress(transient=True) as bar:
        task = bar.add_task("loading", total=1.0)
        while waiting.is_alive():
            told = job.progress
            steps = f" {told.step}/{told.steps}" if told.steps else ""
            bar.update(task, completed=told.fraction, description=f"{told.stage or 'waiting'}{steps}")
            time.sleep(_POLL)
    if isinstance(outcome[0], EaselError):
        raise outcome[0]
    return outcome[0]


def _written(result: Result, output: Path) -> list[Path]:
    names = [output]
    if len(result.images) > 1:
        names = [output.with_stem(f"{output.stem}-{number + 1}") for number in range(len(result.images))]
    for name, image in zip(names, result.images, strict=True):
        try:
            name.write_bytes(image.data)
        except OSError as error:
            raise EaselError(f"{name} cannot be written: {error.strerror}") from error
    return names
