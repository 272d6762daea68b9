"""The HTTP application of a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from easel.api import (
    configuration,
    errors,
    explain,
    extensions,
    files,
    generate,
    jobs,
    ledger,
    lists,
    login,
    metrics,
    probes,
    progress,
    streams,
    upkeep,
    watch,
    workers,
)
from easel.api.auth import Credentials, Gatekeeper, is_loopback
from easel.api.describe import ANSWERS
from easel.api.extension_routes import Api
from easel.api.members import Members
from easel.api.middleware import BodyGuard, CallFrame, HostGuard, Origins, RateLimit
from easel.api.replay import Replay
from easel.api.sessions import Sessions
from easel.errors import NotAvailable, NotFound

if TYPE_CHECKING:
    from easel.app import Easel


def create_api(app: Easel, page: APIRouter | None = None) -> FastAPI:
    """The application for an ASGI server; its lifespan starts and stops `app`, and with it the `page`."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(app.start)
        await asyncio.to_thread(app.extensions.mount, own_routes)
        if app.queue is not None:
            replay = Replay(app, api)
            await app.queue.start(replay.perform, replay.failure)
        try:
            async with page.lifespan_context(api) if page else nullcontext():
                yield
        finally:
            if app.queue is not None:
                await app.queue.stop()
            await asyncio.to_thread(app.stop)

    settings = app.settings
    api = Api(title="Easel", version=app.version, lifespan=lifespan, responses=ANSWERS)
    errors.install(api)
    api.include_router(progress.routes(app))
    api.include_router(probes.routes(app))
    calls = metrics.Calls()
    api.include_router(metrics.routes(app, calls, app.queue))
    api.include_router(workers.routes(app))
    for module in (generate, explain, lists, configuration, extensions, upkeep) if settings.api else ():
        api.include_router(module.routes(app))
    for module in (jobs, files, ledger) if settings.api or page else ():  # the page shows pictures by them
        api.include_router(module.routes(app))
    if not settings.api:
        api.include_router(_switched_off())
    if app.queue is not None:
        api.include_router(streams.routes(app.queue))
        api.include_router(watch.routes(app.queue))
    else:
        api.include_router(_no_queue(settings.edition))
    credentials = Credentials.of(settings) if app.accounts is None else Members.of(app.accounts)
    sessions = None if credentials.open else Sessions.of(settings.state_dir, *credentials.epoch)
    api.include_router(login.routes(credentials, sessions))
    own_routes = api.own_routes()
    api.serve_extensions(app.extensions)
    if page:
        api.router.routes[:0] = page.routes  # as they are, first: it answers few paths, and is asked for many files
    else:
        api.include_router(_no_page())
    _guard(app, api, credentials, sessions, calls)
    return api


def _guard(
    app: Easel, api: FastAPI, credentials: Credentials | Members, sessions: Sessions | None, calls: metrics.Calls
) -> None:
    """Middleware; the last added is the outermost."""
    settings = app.settings
    listed = tuple(one.strip() for one in (settings.cors_allow_origins or "").split(",") if one.strip())
    origins = Origins(listed, settings.cors_allow_origins_regex)
    prefix = "/" + settings.subpath.strip("/") if settings.subpath else ""
    api.add_middleware(BodyGuard, limit=settings.max_body_mb << 20, origins=origins)
    if settings.rate_limit:
        api.add_middleware(RateLimit, per_minute=settings.rate_limit)
    api.add_middleware(
        Gatekeeper,
        credentials=credentials,
        sessions=sessions,
        authenticate=lambda request: app.extensions.hooks.authenticate(request),
    )
    api.add_middleware(
        GZipMiddleware,
        minimum_size=1000,
        compresslevel=1,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream"),  # downloads: ranges
    )
    api.add_middleware(
        CORSMiddleware,
        allow_origins=origins.listed,
        allow_origin_regex=origins.pattern,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
    )
    if credentials.open and is_loopback(settings.host):
        api.add_middleware(HostGuard, origins=origins)
    alias = "" if app.queue is not None else f"/api/predict/{settings.service_name}"
    api.add_middleware(CallFrame, log_calls=settings.api_log, prefix=prefix, alias=alias, note=calls.note)


def _switched_off() -> APIRouter:
    router = APIRouter()

    @router.api_route("/sdapi/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def switched_off(path: str) -> None:
        """Say why there is nothing."""
        raise NotFound("the API of this server is switched off (--no-api)")

    return router


def _no_queue(edition: str) -> APIRouter:
    router = APIRouter()

    @router.api_route("/sink", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def no_queue() -> None:
        """Say which edition has one; `/api/predict/NAME` is the root here."""
        raise NotAvailable(f"the {edition} edition answers at once and has no queue; the api edition has one")

    return router


def _no_page() -> APIRouter:
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    async def no_page() -> None:
        """Say why there is nothing."""
        raise NotFound("this server has no web page (--nowebui); its API is described at /docs")

    return router
