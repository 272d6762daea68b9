"""What clients of A1111's page look at to see whether a server is there; answered with and without a page."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import psutil
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from easel.api.auth import refuse_unless_operator, user_of
from easel.errors import BadRequest
from easel.options import rules

if TYPE_CHECKING:
    from easel.app import Easel


def routes(app: Easel) -> APIRouter:
    """`/config`, `/login_check`, `/token`, `/user`, `/app_id`, `/internal/…`, `/sd_extra_networks/…`."""
    router = APIRouter(tags=["probes"])

    @router.get("/config")
    async def config() -> dict[str, Any]:
        """A page without components."""
        return {"version": app.version, "mode": "blocks", "title": "Easel", "components": [], "dependencies": []}

    @router.get("/robots.txt", response_class=PlainTextResponse)
    async def robots() -> str:
        """Nothing here is for search engines."""
        return "User-agent: *\nDisallow: /\n"

    @router.get("/login_check")
    async def login_check() -> None:
        """Who got here needs no login."""

    @router.get("/token")
    async def token(request: Request) -> dict[str, Any]:
        """Gradio's session; there is none."""
        return {"token": None, "user": user_of(request).name or None}

    @router.get("/user")
    async def user(request: Request) -> str | None:
        """The name of who calls."""
        return user_of(request).name or None

    @router.get("/app_id")
    async def app_id() -> dict[str, Any]:
        """Changes with every start."""
        return {"app_id": os.getpid()}

    @router.get("/startup-events")
    async def startup_events() -> bool:
        """There is nothing left to start."""
        return False

    @router.get("/internal/quicksettings-hint")
    async def quicksettings_hint() -> list[dict[str, str]]:
        """The options by name."""
        return [{"name": name, "label": name} for name in rules()]

    @router.get("/internal/profile-startup")
    async def profile_startup() -> dict[str, Any]:
        """How long the start took is measured by `easel bench`."""
        return {}

    @router.get("/internal/sysinfo", dependencies=[Depends(refuse_unless_operator)])
    @router.get("/internal/sysinfo-download", dependencies=[Depends(refuse_unless_operator)])
    async def sysinfo() -> dict[str, Any]:
        """Version and machine; nothing that tells users, paths or secrets."""
        return _sysinfo(app)

    @router.get("/sd_extra_networks/metadata")
    async def metadata(page: str = "", item: str = "") -> dict[str, Any]:
        """What a LoRA file says of itself, as A1111's page asks for it."""
        return _metadata(app, page, item)

    return router


def _sysinfo(app: Easel) -> dict[str, Any]:
    memory = psutil.virtual_memory()
    return {
        "Platform": platform.platform(),
        "Python": sys.version.split()[0],
        "Version": app.version,
        "CPU": {"model": platform.processor(), "count logical": psutil.cpu_count()},
        "RAM": {"total": memory.total, "available": memory.available},
        "Extensions": [
            {"name": one.name, "version": one.version, "state": one.state.value} for one in app.extensions.list()
        ],
    }


def _metadata(app: Easel, page: str, item: str) -> dict[str, Any]:
    if page.lower() not in ("lora", "checkpoints", "textual inversion", "hypernetworks"):
        raise BadRequest("unknown page", field="page", value=page, allowed="lora, checkpoints, textual inversion")
    if page.lower() != "lora":
        return {}
    found = next((file for file in app.store.files("lora") if file.name.rpartition("/")[2] == item), None)
    return {"metadata": dict(found.metadata)} if found is not None and found.metadata else {}
