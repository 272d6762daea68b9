"""Names that only one extension can have: routes and tabs. Scripts, upscalers and tasks are checked by `Hooks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from easel.errors import ExtensionError
from easel.extensions.hooks import Hooks, Owned


def pages(
    alone: Hooks, app: Any, taken: Iterable[str], routers: Iterable[Owned], tabs: Iterable[Owned]
) -> tuple[tuple[Owned, ...], tuple[Owned, ...]]:
    """The routers and tabs of a set of one extension, beside those of others; `taken` are the core's routes.

    Errors: ExtensionError for what it raises, and for a name that somebody has already.
    """
    own_routers, own_tabs = alone.register_routes(app), alone.register_tabs(app)
    theirs = {name: one.extension for one in routers for name in routes_of(one)}
    mine = [(one.extension, name) for one in own_routers for name in dict.fromkeys(routes_of(one))]
    refuse_taken("register_routes", mine, dict.fromkeys(taken, "") | theirs)
    theirs = {name: one.extension for one in tabs for name in tabs_of(one)}
    refuse_taken("register_tabs", [(one.extension, name) for one in own_tabs for name in tabs_of(one)], theirs)
    return own_routers, own_tabs


def routes_of(owned: Owned) -> Iterator[str]:
    """`GET /path`, `WEBSOCKET /path` or `MOUNT /path` of every route of a router. Errors: ExtensionError."""
    if not hasattr(owned.value, "routes"):
        raise ExtensionError(owned.extension, "register_routes", f"returned {owned.value!r}; allowed: APIRouter")
    yield from route_names(owned.value.routes)


def route_names(routes: Iterable[object]) -> Iterator[str]:
    """The same for bare routes, included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from route_names(inner.routes)
            continue
        methods = getattr(route, "methods", None)
        kinds = sorted(methods) if methods else ["MOUNT" if hasattr(route, "app") and not methods else "WEBSOCKET"]
        yield from (f"{kind} {getattr(route, 'path', '')}" for kind in kinds)


def tabs_of(owned: Owned) -> Iterator[str]:
    """The tab's title; a tab that is a plain text is its own."""
    yield f"the tab {owned.value if isinstance(owned.value, str) else getattr(owned.value, 'title', owned.value)!r}"


def refuse_taken(hook: str, mine: Iterable[tuple[str, str]], owners: Mapping[str, str]) -> None:
    """`mine` are pairs of owner and name. Errors: ExtensionError naming both owners."""
    seen = dict(owners)
    for extension, name in mine:
        if name in seen:
            raise ExtensionError(extension, hook, f"{name} belongs to {seen[name] or 'the core'!r} already")
        seen[name] = extension
