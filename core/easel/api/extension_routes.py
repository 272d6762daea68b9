"""What extensions serve: one route among the service's own that stands for all of theirs.

They are always those of the set in force. Switching swaps the set, so routes, mounts and WebSockets come and go with
it; a call keeps the set it began with.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException, WebSocketException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from easel.api.describe import ANSWERS
from easel.errors import EaselError
from easel.extensions.claims import route_names
from easel.extensions.guard import failure
from easel.extensions.hooks import Hooks
from easel.extensions.registry import Registry

# What is raised to be answered, and no fault.
_ANSWERS = (
    EaselError,
    HTTPException,
    WebSocketException,
    RequestValidationError,
    WebSocketRequestValidationError,
    WebSocketDisconnect,
)

_SETS = 64  # whose routes are kept ready


class ExtensionRoutes(BaseRoute):
    """The routes of the extensions that are on."""

    def __init__(self, extensions: Registry) -> None:
        self._extensions = extensions
        self._made: dict[int, tuple[Hooks, tuple[tuple[str, BaseRoute], ...]]] = {}  # by identity of the set

    def routes(self, hooks: Hooks) -> tuple[tuple[str, BaseRoute], ...]:
        """Extensions' names and routers of a set, ready to be asked; made once for each set."""
        made = self._made.get(id(hooks))
        if made is None:
            if len(self._made) >= _SETS:
                self._made.clear()
            made = (hooks, tuple((owned.extension, _ready(owned.value)) for owned in hooks.routers))
            self._made[id(hooks)] = made
        return made[1]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Is it for one of them? `handle` looks again, as the set may be another by then."""
        match, _, _ = self._find(self._extensions.hooks, scope)
        return match, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the extension answer. Errors: ExtensionError for what it raises, with its name."""
        with self._extensions.keep() as hooks:
            match, extension, route = self._find(hooks, scope)
            if match is Match.NONE or route is None:
                raise HTTPException(404)
            try:
                await route.handle(scope, receive, send)
            except _ANSWERS:
                raise
            except Exception as error:
                raise failure(extension, f"{scope.get('method', 'WEBSOCKET')} {scope['path']}", error) from error

    def _find(self, hooks: Hooks, scope: Scope) -> tuple[Match, str, BaseRoute | None]:
        partial: tuple[Match, str, BaseRoute | None] = (Match.NONE, "", None)
        for extension, route in self.routes(hooks):
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return match, extension, route
            if match is Match.PARTIAL and partial[0] is Match.NONE:
                partial = (match, extension, route)
        return partial


class Api(FastAPI):
    """FastAPI, whose description tells the extensions' routes too; `theirs` is set once all routes are there."""

    theirs: ExtensionRoutes
    extensions: Registry

    def serve_extensions(self, extensions: Registry) -> None:
        """Serve what extensions serve, after the routes that are there already."""
        self.extensions, self.theirs = extensions, ExtensionRoutes(extensions)
        self.router.routes.append(self.theirs)

    def own_routes(self) -> list[str]:
        """The names that no extension can have."""
        return [name for name in route_names(self.router.routes) if not name.endswith(" ")]

    def openapi(self) -> dict[str, Any]:
        """The description of what is served now."""
        theirs = [route for _, route in self.theirs.routes(self.extensions.hooks)]
        routes = [*self.routes, *theirs]
        return get_openapi(title=self.title, version=self.version, routes=routes)


def _ready(router: APIRouter) -> BaseRoute:
    around = APIRouter(responses=ANSWERS)
    around.include_router(router)
    return around.routes[0]
