"""PAI-EAS' additions: plain keys beside the scripts in `alwayson_scripts`, and the answer they switch on.

A body that names one of `KEYS` is answered with PAI's `parameters` (paths of the saved pictures instead of the echo of
the request) whether it succeeds or not; all other bodies get A1111's plain answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easel.errors import BadRequest, EaselError, TooLarge
from easel.settings import Settings
from easel.values.request import GenerationRequest
from easel.values.result import Result

KEYS = ("sd_model_checkpoint", "sd_vae", "save_dir", "id_task", "uid", "image_link")
_ENVELOPE, _NAME = 600, 130  # bytes of an answer without paths; of one picture's seed and path below its folder
_LONGEST = {"id_task": 256, "uid": 256, "save_dir": 1024}  # characters


@dataclass(frozen=True, slots=True)
class Additions:
    """The keys a body named; `asked` is when it came (perf_counter), for `total_time`."""

    values: Mapping[str, str]
    asked: float

    def __bool__(self) -> bool:
        return bool(self.values)

    def get(self, key: str) -> str:
        """The value of one of `KEYS`; "" when it was not sent."""
        return self.values.get(key, "")


def additions_in(scripts: object) -> Additions:
    """The additions in an `alwayson_scripts`, whatever it is; values are not checked yet."""
    named = scripts if isinstance(scripts, Mapping) else {}
    return Additions({key: named[key] for key in KEYS if named.get(key) is not None}, time.perf_counter())


def split_scripts(scripts: Mapping[str, Any]) -> tuple[dict[str, Any], Additions]:
    """The real scripts, and the additions among them. Errors: BadRequest for a value that is no text."""
    additions = additions_in(scripts)
    for key, value in additions.values.items():
        field, longest = f"alwayson_scripts.{key}", _LONGEST.get(key, 8192)
        if not isinstance(value, str):
            raise BadRequest("wrong type", field=field, value=value, allowed="a text")
        if len(value) > longest or "\0" in value:
            raise BadRequest("no usable text", field=field, value=value, allowed=f"up to {longest} characters")
    return {name: value for name, value in scripts.items() if name not in KEYS}, additions


def answered(
    settings: Settings, additions: Additions, task: str, result: Result, warnings: list[str]
) -> dict[str, Any]:
    """PAI's `parameters` of a job that ended well; paths are absolute, below the data folder."""

    def paths(*kinds: str) -> str:
        found = (str(settings.data_name / one.path) for one in result.images if one.kind in kinds and one.path)
        return ",".join(found)

    masks = paths("control")
    return {
        "id_task": additions.get("id_task") or task,
        "status": 0,
        "image_url": paths("grid", "result"),
        "seed": ",".join(str(one.seed) for one in result.images if one.kind == "result"),
        "error_msg": "",
        "total_time": round(time.perf_counter() - additions.asked, 3),
        **({"image_mask_url": masks} if masks else {}),
        "warnings": warnings,
    }


def check_envelope(settings: Settings, request: GenerationRequest, limit: int) -> None:
    """Refuse a task whose answer could not fit the queue: before anything is computed. Errors: TooLarge."""
    pictures = request.batch_size * request.n_iter
    folder = len(f"{settings.data_name}/{request.output.save_dir or 'outputs'}".encode())
    if _ENVELOPE + pictures * (folder + _NAME) > limit:
        raise TooLarge(
            f"the paths of so many pictures do not fit a result of {limit} bytes (--queue-max-payload)",
            field="n_iter x batch_size",
            value=pictures,
        )


def failed(additions: Additions, error: EaselError) -> dict[str, Any]:
    """What is added to the answer about an error: the same envelope, with a `status` of the published table."""
    parameters = {
        "id_task": str(additions.get("id_task")),
        "status": error.code,
        "image_url": "",
        "seed": "",
        "error_msg": error.message,
        "total_time": round(time.perf_counter() - additions.asked, 3),
    }
    return {"images": [], "parameters": parameters, "info": ""}
