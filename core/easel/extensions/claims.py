"""Names that only one extension can have: routes and tabs. Scripts, upscalers and tasks are checked by `Hooks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from easel.errors import ExtensionError
from easel.extensions.hooks import Owned


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
