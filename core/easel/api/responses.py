"""From a job's result to what A1111 answers: base64 pictures, the echo, and `info` as a JSON text."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

from easel.api.pai import answered
from easel.api.requests import Asked
from easel.api.sdapi_models import GenerationResponse
from easel.settings import Settings
from easel.values.job import Job
from easel.values.result import Result


def generation_response(
    asked: Asked, job: Job, result: Result, settings: Settings, *, pai: bool = False
) -> GenerationResponse:
    """The whole answer. `info` holds A1111's keys in its order and then `easel`: what became of the request.

    `parameters` is A1111's echo of the request, or PAI's summary: with PAI's additions, or where asked for (`pai`).
    """
    sent = result.images if asked.request.output.send else ()
    about = _about(asked, job, result)
    info = {**result.info, "easel": about}
    parameters = dict(asked.parameters)
    if asked.additions or pai:
        parameters = answered(settings, asked.additions, asked.name or job.id, result, about["warnings"])
    return GenerationResponse(
        images=[base64.b64encode(image.data).decode("ascii") for image in sent],
        parameters=parameters,
        info=json.dumps(info, ensure_ascii=False, default=lambda value: None),
    )


def _about(asked: Asked, job: Job, result: Result) -> dict[str, Any]:
    warnings = [f"{line.item}: {line.reason}" for line in asked.report if line.outcome == "ignored"]
    return {
        "job": job.id,
        "report": [asdict(line) for line in (*asked.report, *result.report)],
        "warnings": [*warnings, *(text for text in result.warnings if text not in warnings)],
        "defaults": dict(asked.defaults),  # what the model's card chose for fields that were not named
        "seconds": {part: round(seconds, 3) for part, seconds in result.seconds.items()},
        "interrupted": result.interrupted,
        "flags": [list(image.flags) for image in result.images],
        "scores": [dict(image.scores) for image in result.images],
    }
