"""Models in and out of memory, the device's memory, and what this service does not do: answered, never faked."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse

from easel.api.auth import refuse_unless_operator
from easel.api.pictures import read_picture
from easel.api.sdapi_models import InterrogateBody
from easel.errors import EaselError, NotAvailable, NotFound

if TYPE_CHECKING:
    from easel.app import Easel

_PATIENCE = 5.0  # seconds that the figures of a busy worker are waited for


def routes(app: Easel) -> APIRouter:
    """`unload-checkpoint`, `reload-checkpoint`, `memory`, `server-*`, `interrogate`, `create/*`, `train/*`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["server"])
    operators = [Depends(refuse_unless_operator)]  # what concerns the machine, or everybody

    @router.post("/unload-checkpoint", dependencies=operators)
    async def unload_checkpoint() -> dict[str, Any]:
        """Drop all loaded models, in every worker; the next request loads what it needs."""
        await app.run_everywhere("unload")
        return {}

    @router.post("/reload-checkpoint")
    async def reload_checkpoint() -> dict[str, Any]:
        """Load the checkpoint of the options."""
        checkpoint = await asyncio.to_thread(app.chosen_checkpoint)
        await app.run_task("", "load", {"checkpoint": checkpoint.title})
        return {}

    @router.get("/memory", dependencies=operators)
    async def memory() -> dict[str, Any]:
        """Bytes of main memory, this process and its workers together, and of the GPU."""
        return {"ram": await asyncio.to_thread(_ram), "cuda": await _device_memory(app)}

    _absent(app, router)
    if app.settings.api_server_stop:
        stopping = APIRouter(dependencies=operators)
        _stopping(stopping)
        router.include_router(stopping)
    return router


def _stopping(router: APIRouter) -> None:
    @router.post("/server-stop", response_class=PlainTextResponse)
    async def server_stop() -> str:
        """End what runs and stop."""
        os.kill(os.getpid(), signal.SIGTERM)
        return "Stopping."

    @router.post("/server-kill")
    async def server_kill() -> None:
        """Stop at once; what runs is lost."""
        os.kill(os.getpid(), signal.SIGKILL)

    @router.post("/server-restart")
    async def server_restart() -> None:
        """Nothing here starts a stopped server again."""
        raise NotAvailable("nothing here can restart the server: use server-stop and start it again")


def _absent(app: Easel, router: APIRouter) -> None:
    @router.post("/interrogate")
    async def interrogate(body: InterrogateBody) -> None:
        """A1111 describes a picture with models that it downloads; this service has none of them."""
        if body.model not in ("clip", "deepdanbooru"):
            raise NotFound("Model not found")
        await asyncio.to_thread(read_picture, app, body.image, field="image")
        raise NotAvailable(f"interrogate: the models of {body.model!r} are not part of this service")

    @router.post("/create/embedding")
    @router.post("/create/hypernetwork")
    @router.post("/train/embedding")
    @router.post("/train/hypernetwork")
    async def train() -> None:
        """This service makes pictures; it trains nothing."""
        raise NotAvailable("this service does not train: put finished files into embeddings/ or models/hypernetworks/")


def _ram() -> dict[str, float]:
    own = psutil.Process()
    used = own.memory_info().rss
    for child in own.children(recursive=True):
        try:
            used += child.memory_info().rss
        except psutil.Error:
            continue  # it ended meanwhile
    total = psutil.virtual_memory().total
    return {"free": total - used, "used": used, "total": total}


async def _device_memory(app: Easel) -> dict[str, Any]:
    try:
        results = await asyncio.wait_for(app.run_everywhere("memory"), _PATIENCE)
    except TimeoutError:
        return {"error": "the worker is busy"}
    except EaselError as error:
        return {"error": error.message}
    return dict(results[0].info) if results else {"error": "no worker runs"}
