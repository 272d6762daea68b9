"""What extensions there are and what became of them; for operators: switching, settings, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection

from easel.api.auth import refuse_unless_operator
from easel.api.sdapi_models import Dict
from easel.errors import NotFound, UnknownName

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.extensions.configuration import ExtensionSettings
    from easel.extensions.status import ExtensionStatus

Row = dict[str, Any]
T = TypeVar("T")


def routes(app: Easel) -> APIRouter:
    """`/sdapi/v1/extensions` for everybody, `/easel/v1/extensions…` for operators."""

    def may_switch(connection: HTTPConnection) -> None:
        if app.accounts is None:  # of users, each switches for themselves
            refuse_unless_operator(connection)

    router = APIRouter(tags=["extensions"])
    own = APIRouter(prefix="/easel/v1/extensions", dependencies=[Depends(refuse_unless_operator)])
    switching = APIRouter(prefix="/easel/v1/extensions", dependencies=[Depends(may_switch)])

    @router.get("/sdapi/v1/extensions")
    async def extensions() -> list[Row]:
        """Every extension that was found: A1111's keys, then its state and the reason for it."""
        return [described(app, one) for one in app.extensions.list()]

    @own.post("/rescan")
    async def rescan() -> list[Row]:
        """Look at the folders again, without a restart: new and removed ones, changed manifests, who failed before."""
        found = await asyncio.to_thread(app.extensions.rescan)
        return [described(app, one) for one in found]

    @own.get("/{name}")
    async def extension(name: str) -> Row:
        """One extension, with the evidence: its failures while it served, by hook, the newest first."""
        row = described(app, _known(app.extensions.status, name))
        return row | {"faults": [asdict(fault) for fault in app.extensions.faults(name)]}

    @switching.post("/{name}/enable")
    async def enable(name: str) -> Row:
        """Switch on, without a restart; the answer's `state` says what came of it. Of users, each for themselves."""
        return described(app, await asyncio.to_thread(_known, partial(app.switch_extension, on=True), name))

    @switching.post("/{name}/disable")
    async def disable(name: str) -> Row:
        """Switch off, without a restart; running jobs keep it to their end. Of users, each for themselves."""
        return described(app, await asyncio.to_thread(_known, partial(app.switch_extension, on=False), name))

    @own.post("/{name}/release")
    async def release(name: str) -> Row:
        """Let an extension out of quarantine, with a clean slate."""
        return described(app, await asyncio.to_thread(_known, app.extensions.release, name))

    @own.get("/{name}/settings")
    async def settings(name: str) -> Row:
        """What an extension that is on can be set to (`schema`), is (`values`), and the environment fixes (`fixed`)."""
        return _settings(_known(app.extensions.settings, name))

    @own.put("/{name}/settings")
    async def configure(name: str, body: Dict) -> Row:
        """Store settings, all others by default, and begin anew with them, here and in the worker."""
        _known(app.extensions.status, name)
        return described(app, await asyncio.to_thread(app.extensions.configure, name, body))

    router.include_router(own)
    router.include_router(switching)
    return router


def _settings(found: ExtensionSettings) -> Row:
    return {"schema": found.schema, "values": found.values, "fixed": found.fixed}


def _known(call: Callable[[str], T], name: str) -> T:
    try:
        return call(name)
    except UnknownName as error:  # in a path, not in a body
        raise NotFound(error.message) from error


def described(app: Easel, one: ExtensionStatus) -> Row:
    """An extension as lists have it, for everybody to see: A1111's keys, then ours."""
    return {
        "name": one.name,
        "remote": "",  # nothing here comes from a repository by itself
        "branch": "",
        "commit_hash": "",
        "version": one.version,
        "commit_date": "",
        "enabled": one.state.value == "enabled",
        "title": one.title,
        "summary": one.summary,
        "state": one.state.value,
        "reason": one.reason.replace(str(app.service.data_dir), "<data folder>"),
        "required": one.required,
        "origin": "built-in" if one.own else app.settings.shown(one.folder),
        "requires": list(one.requires),
        "permissions": asdict(one.permissions),
        "scripts": list(one.scripts),
    }
