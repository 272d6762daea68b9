"""`/sdapi/v1/extra-single-image`, `extra-batch-images`, `face-restorers`, `realesrgan-models`."""

from __future__ import annotations

import asyncio
import base64
import html
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from easel import BadRequest, Result, find_upscaler, open_picture, picture_bytes

from .extras import Wishes, check_size


class SingleBody(Wishes):
    """One picture."""

    image: str = Field("", description="base64, a data URI or a URL")


class NamedPicture(BaseModel):
    """A picture of a batch."""

    data: str
    name: str = ""


class BatchBody(Wishes):
    """Several pictures."""

    imageList: list[NamedPicture]


class SingleAnswer(BaseModel):
    """The picture as base64."""

    html_info: str
    image: str


class BatchAnswer(BaseModel):
    """The pictures as base64, in order."""

    html_info: str
    images: list[str]


def routes(app: Any) -> APIRouter:
    """The routes; the work is done by the extension's task."""
    router = APIRouter(prefix="/sdapi/v1", tags=["extras"])

    @router.post("/extra-single-image")
    async def extra_single_image(body: SingleBody) -> SingleAnswer:
        """Enlarge one picture."""
        result = await _run(app, body, {"image": body.image})
        (image,) = _encoded(result)
        return SingleAnswer(html_info=_html(result), image=image)

    @router.post("/extra-batch-images")
    async def extra_batch_images(body: BatchBody) -> BatchAnswer:
        """Enlarge several pictures."""
        result = await _run(app, body, {f"imageList[{k}].data": one.data for k, one in enumerate(body.imageList)})
        return BatchAnswer(html_info=_html(result), images=_encoded(result))

    @router.get("/face-restorers")
    async def face_restorers() -> list[dict[str, Any]]:
        """Face restorers that can be used: those whose weights are there."""
        return [{"name": one.name, "cmd_dir": None} for one in app.face_restorers if not one.lacks]

    @router.get("/realesrgan-models")
    async def realesrgan_models() -> list[dict[str, Any]]:
        """The upscaling networks of this extension and of the model folders."""
        registered = (one for one in app.upscalers if hasattr(one, "path"))
        return [{"name": one.name, "path": app.settings.shown(one.path), "scale": int(one.scale)} for one in registered]

    return router


async def _run(app: Any, wishes: Wishes, pictures: dict[str, str]) -> Result:
    files = await asyncio.to_thread(_read, app, wishes, pictures)
    arguments = {name: getattr(wishes, name) for name in Wishes.model_fields}
    encoded = [base64.b64encode(data).decode() for data in files]
    result: Result = await app.run_task("upscale", "extras", arguments | {"pictures": encoded})
    return result


def _read(app: Any, wishes: Wishes, pictures: dict[str, str]) -> list[bytes]:
    """The files behind the texts, checked. Errors: BadImage, BadRequest, UnknownName."""
    settings = app.settings
    if len(pictures) > settings.max_batch:
        raise BadRequest(
            "too many pictures", field="imageList", value=len(pictures), allowed=f"up to {settings.max_batch}"
        )
    for field in ("upscaler_1", "upscaler_2"):
        find_upscaler(getattr(wishes, field), app.upscalers, field)
    files = []
    for field, text in pictures.items():
        data = picture_bytes(app.fetcher, text, field=field)
        picture = open_picture(data, field=field, max_pixels=settings.max_input_pixels)
        check_size(wishes, picture, settings.max_input_pixels, "upscaling_resize")
        files.append(data)
    return files


def _encoded(result: Result) -> list[str]:
    return [base64.b64encode(one.data).decode("ascii") for one in result.images]


def _html(result: Result) -> str:
    """A1111's `html_info`: what was done, and what was asked for in vain."""
    done = ", ".join(f"{key}: {value}" for key, value in result.info["done"].items())
    return "".join(f"<p>{html.escape(text)}</p>" for text in (done, *result.info["remarks"]))
