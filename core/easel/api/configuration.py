"""The server's own state: options and launch flags."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends

from easel.api.auth import refuse_unless_operator
from easel.api.sdapi_models import Dict
from easel.errors import Forbidden
from easel.values.user import acting_user

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
        """Set options for everybody (of users, for oneself); all of them, or none when one is not possible."""
        await asyncio.to_thread(change_options, app, body)

    @router.get("/cmd-flags", dependencies=[Depends(refuse_unless_operator)])
    async def cmd_flags() -> dict[str, Any]:
        """The launch flags by A1111's names."""
        return app.settings.cmd_flags()

    return router


_EVERYBODY = ("disable_all_extensions", "disabled_extensions")


def _without(app: Easel) -> Iterable[str]:
    """The extensions that are off by somebody's choice: an operator's, or a user's own."""
    own = app.accounts is not None and not acting_user().admin
    return sorted(app.left_out()) if own else app.extensions.switched_off()


def current_options(app: Easel) -> dict[str, Any]:
    """All options as clients see them."""
    checkpoint = app.chosen_checkpoint()
    return app.options.values() | {
        "sd_model_checkpoint": checkpoint.title,
        "sd_checkpoint_hash": checkpoint.sha256 or "",
        "disabled_extensions": list(_without(app)),
        "disable_all_extensions": app.limit,
    }


def change_options(app: Easel, body: dict[str, Any]) -> None:
    """Set options for everybody; all of them, or none. Errors: UnknownName, BadRequest, Forbidden.

    Of users each has options of their own; what concerns extensions an operator sets for everybody, and of the others
    each says what they do without.
    """
    member = app.accounts is not None and not acting_user().admin
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
    refused = app.settings.freeze_settings or frozen
    if member:
        _change_own(app, changes, refused)
        return
    shared = changes if app.accounts is None else {name: changes[name] for name in _EVERYBODY if name in changes}
    app.service_options.update(shared, frozen=refused)
    app.options.update({name: value for name, value in changes.items() if name not in shared}, frozen=refused)
    if "disable_all_extensions" in changes:
        app.extensions.restrict(app.limit)
    if "disabled_extensions" in changes:
        app.extensions.disable_these(disabled)


def _change_own(app: Easel, changes: dict[str, Any], frozen: bool | frozenset[str]) -> None:
    """A user's own options, and the extensions they do without."""
    if "disable_all_extensions" in changes:
        raise Forbidden("disable_all_extensions: this option can only be changed by the operator of this server")
    left_out = changes.get("disabled_extensions")
    if left_out is not None and (frozen is True or (frozen and "disabled_extensions" in frozen)):
        raise Forbidden("disabled_extensions: this option can only be changed by the operator of this server")
    app.options.update({name: value for name, value in changes.items() if name not in _EVERYBODY}, frozen=frozen)
    if left_out is not None:
        app.leave_out(frozenset(left_out))
