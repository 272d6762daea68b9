"""The server's own state: options and launch flags."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from easel.api.sdapi_models import Dict

if TYPE_CHECKING:
    from easel.app import Easel


def routes(app: Easel) -> APIRouter:
    """`/sdapi/v1/options`, `cmd-flags`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["server"])

    @router.get("/options")
    async def options() -> dict[str, Any]:
        """All options; `sd_model_checkpoint` is a title of `/sd-models`."""
        return current_options(app)

    @router.post("/options")
    async def set_options(body: Dict) -> None:
        """Set options for everybody; all of them, or none when one is not possible."""
        await asyncio.to_thread(change_options, app, body)

    @router.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        """The launch flags by A1111's names."""
        return app.settings.cmd_flags()

    return router


def current_options(app: Easel) -> dict[str, Any]:
    """All options as clients see them."""
    checkpoint = app.chosen_checkpoint()
    return app.options.values() | {
        "sd_model_checkpoint": checkpoint.title,
        "sd_checkpoint_hash": checkpoint.sha256 or "",
        "disabled_extensions": list(app.extensions.switched_off()),
        "disable_all_extensions": app.limit,
    }


def change_options(app: Easel, body: dict[str, Any]) -> None:
    """Set options for everybody; all of them, or none. Errors: UnknownName, BadRequest, Forbidden."""
    current = current_options(app)
    changes = {name: value for name, value in body.items() if name not in current or value != current[name]}
    if changes.get("sd_model_checkpoint") is not None:
        named = app.options.check("sd_model_checkpoint", changes["sd_model_checkpoint"])
        changes["sd_model_checkpoint"] = app.store.checkpoint(named).filename
    if changes.get("sd_vae") is not None:
        named = app.options.check("sd_vae", changes["sd_vae"])
        vae = app.store.vae(named, app.chosen_checkpoint())
        changes["sd_vae"] = vae.filename if vae and named != "Automatic" else named
    frozen = frozenset(name.strip() for name in (app.settings.freeze_specific_settings or "").split(","))
    disabled = app.options.check(
        "disabled_extensions", changes.get("disabled_extensions", current["disabled_extensions"])
    )
    if "disabled_extensions" in changes:
        app.extensions.may_disable(disabled)
    app.options.update(changes, frozen=app.settings.freeze_settings or frozen)
    if "disable_all_extensions" in changes:
        app.extensions.restrict(app.limit)
    if "disabled_extensions" in changes:
        app.extensions.disable_these(disabled)
