"""What a request would do: every hook's changes in order and what would be loaded, without making a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Body, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from easel.api.auth import user_of
from easel.api.jobs import TRACED
from easel.api.ledger import estimate
from easel.api.requests import Asked, read_request
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, EaselError

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.result import Result

_BODIES: Mapping[str, type[Txt2ImgBody | Img2ImgBody]] = {"txt2img": Txt2ImgBody, "img2img": Img2ImgBody}
_SCHEMA = {"anyOf": [{"$ref": f"#/components/schemas/{body.__name__}"} for body in _BODIES.values()]}


def routes(app: Easel) -> APIRouter:
    """`POST /easel/v1/explain`."""
    router = APIRouter(prefix="/easel/v1", tags=["pictures"])
    documented = {"requestBody": {"content": {"application/json": {"schema": _SCHEMA}}, "required": True}}

    @router.post("/explain", openapi_extra=documented)
    async def explain(body: dict[str, Any] = Body(), *, request: Request) -> dict[str, Any]:  # noqa: B008 - FastAPI's
        """What a body of txt2img or img2img would do. `kind` says which; without it, `init_images` does."""
        asked = await asyncio.to_thread(read_explained, app, body)
        result = await app.run(asked.request, user=user_of(request).name)
        return await asyncio.to_thread(explanation, app, asked, result)

    return router


def read_explained(app: Easel, body: dict[str, Any]) -> Asked:
    """The request of a body, to be explained only. Errors: those of `read_request`, RequestValidationError."""
    kind = body.get("kind") or ("img2img" if "init_images" in body else "txt2img")
    if kind not in _BODIES:
        raise BadRequest("unknown kind", field="kind", value=kind, allowed=", ".join(_BODIES))
    try:
        read = _BODIES[kind].model_validate({name: value for name, value in body.items() if name != "kind"})
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
    return explained(read_request(app, read))


def explained(asked: Asked) -> Asked:
    """The same, to be explained only."""
    return replace(asked, request=replace(asked.request, explain=True))


def explanation(app: Easel, asked: Asked, result: Result) -> dict[str, Any]:
    """The answer: what would be made, loaded and changed, and what became of every part of the request."""
    request = asked.request
    warnings = [f"{line.item}: {line.reason}" for line in asked.report if line.outcome == "ignored"]
    return {
        "kind": request.kind,
        "seed": request.seed,
        "images": request.image_count,
        "script": request.script.name if request.script else None,
        "loads": [{**one, "bytes": one["bytes"] or _size(app, one)} for one in result.info["loads"]],
        "passes": list(result.info["passes"]),
        "estimate": estimate(app, request.checkpoint, result.info["passes"]),
        "trace": [asdict(line) for line in result.trace[:TRACED]],
        "report": [asdict(line) for line in (*asked.report, *result.report)],
        "warnings": [*warnings, *(text for text in result.warnings if text not in warnings)],
        "defaults": dict(asked.defaults),
        "seconds": {part: round(seconds, 4) for part, seconds in result.seconds.items()},
    }


def _size(app: Easel, model: dict[str, Any]) -> int | None:
    """The bytes on disk of a checkpoint or VAE."""
    try:
        if model["kind"] == "checkpoint":
            path = app.store.checkpoint(model["name"]).path
        else:
            path = app.store.find(model["kind"], model["name"]).path
    except EaselError:
        return None  # gone meanwhile
    return sum(one.stat().st_size for one in ((path,) if path.is_file() else _weights(path)))


def _weights(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.safetensors") if path.is_file()]
