"""The workers of this gateway, and how many there may be: `/easel/v1/workers`, for operators."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from easel.api.auth import refuse_unless_operator
from easel.errors import NotAvailable

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.worker.pool import Workforce

MOST = 1024


class WorkersBody(BaseModel):
    """How many there may be."""

    model_config = ConfigDict(extra="forbid")

    workers: int = Field(ge=1, le=MOST, description="the greatest number; a service with a fixed number gets this one")


def routes(app: Easel) -> APIRouter:
    """`GET` and `POST /easel/v1/workers`."""
    router = APIRouter(prefix="/easel/v1", tags=["workers"])

    @router.get("/workers")
    async def workers(request: Request) -> dict[str, Any]:
        """Every worker: starting, busy or idle, its jobs, the checkpoints it has in memory; and the bounds."""
        refuse_unless_operator(request)
        return _described(_pool(app))

    @router.post("/workers")
    async def resize(body: WorkersBody, request: Request) -> dict[str, Any]:
        """Another greatest number, until the next restart; workers beyond it finish what they have."""
        refuse_unless_operator(request)
        pool = _pool(app)
        await asyncio.to_thread(pool.resize, body.workers)  # a cluster takes a while
        return _described(pool)

    return router


def _pool(app: Easel) -> Workforce:
    if app.pool is None:
        raise NotAvailable("this service computes in its own process (--in-process): there are no workers")
    return app.pool


def _described(pool: Workforce) -> dict[str, Any]:
    scale = pool.scale
    return {
        "workers": [asdict(one) for one in pool.members()],
        "min": scale.least,
        "max": scale.most,
        "backlog": scale.backlog,
        "idle_timeout": scale.idle,
    }
