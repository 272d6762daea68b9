"""What a running application answers to: read from its router, from extensions' routes, and from the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from easel.api.extension_routes import ExtensionRoutes
from easel.extensions.registry import Registry
from easel.ui.mount import PageMount


@dataclass(frozen=True, slots=True)
class Route:
    """One thing to call. `method` is an HTTP method, WEBSOCKET or PAGE (the page, which has routes of its own)."""

    method: str
    path: str  # with {parameters}
    operation: Mapping[str, Any] = field(default_factory=dict, compare=False)  # as OpenAPI describes it

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(api: FastAPI, extensions: Registry) -> tuple[Route, ...]:
    """Every route, in the order in which they are asked; two of one name count once."""
    described = api.openapi()["paths"]
    found = dict.fromkeys(_names(api.routes, extensions))
    found |= dict.fromkeys((method.upper(), path) for path, of in described.items() for method in of)
    return tuple(
        Route(method, path, described.get(path, {}).get(method.lower(), {}))
        for method, path in found
        if method not in ("HEAD", "OPTIONS")
    )


def page_of(api: FastAPI) -> PageMount | None:
    """The page among the routes."""
    return next((route for route in api.routes if isinstance(route, PageMount)), None)


def _names(routes: Iterable[Any], extensions: Registry, prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, ExtensionRoutes):
            theirs = [one for _, one in route.routes(extensions.hooks)]
            yield from _names(theirs, extensions, prefix)
        elif isinstance(route, PageMount):
            yield "PAGE", f"{prefix}/"
        elif (inner := getattr(route, "original_router", None)) is not None:
            yield from _names(inner.routes, extensions, prefix + route.include_context.prefix)
        elif methods := getattr(route, "methods", None):
            yield from ((method, prefix + _template(route.path)) for method in sorted(methods))
        elif getattr(route, "routes", None):  # a mount with routes in it
            yield from _names(route.routes, extensions, prefix + route.path)
        elif hasattr(route, "app") and type(route).__name__ == "Mount":
            yield "GET", f"{prefix}{route.path}/{{path}}"
        else:
            yield "WEBSOCKET", prefix + _template(getattr(route, "path", ""))


def _template(path: str) -> str:
    """`{path:path}` is `{path}`, as OpenAPI has it."""
    return path.replace(":path}", "}").replace(":int}", "}")
