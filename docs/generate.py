"""Writes the generated pages of this folder: `python docs/generate.py`. A test compares them with the code."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from easel import errors, hookspecs
from easel.api.server import create_api
from easel.app import Easel
from easel.errors import EaselError
from easel.settings import Settings, read_settings
from easel.worker.workplace import Workplace

DOCS = Path(__file__).parent
CHECKOUT = DOCS.parent
MEANINGS: Mapping[str, str] = {
    "collect": "every implementation is asked, and all answers are used; an answer may be one thing, several, or None",
    "first": "asked one after the other until one does not answer None; `@hookimpl(wrapper=True)` may stand around it",
    "check": "every implementation is asked; answers do not count, an exception is the answer",
    "chain": "each implementation gets what the one before returned; None leaves it unchanged",
    "notify": "every implementation is told; answers do not count",
}


def hooks_page() -> str:
    """`hooks.md`: every hook of `easel.hookspecs`."""
    styles = "".join(f"| {style} | {meaning} |\n" for style, meaning in MEANINGS.items())
    users = _users()
    sections = "".join(_section(hook, users.get(hook, [])) for hook in hookspecs.STYLES)
    return (
        "# Hooks\n\n"
        "<!-- written by docs/generate.py from core/easel/hookspecs.py -->\n\n"
        f"What the core calls in extensions; hook API {hookspecs.HOOK_API}. A method of the hook's name, marked with\n"
        "`@easel.hookimpl`, takes part; it names the arguments it wants and no others.\n"
        "[Writing extensions](writing-extensions.md) shows how.\n\n"
        "| style | how the implementations are called |\n|---|---|\n"
        f"{styles}\n"
        "Order: `@hookimpl(tryfirst=True)`, then by extension name, then `@hookimpl(trylast=True)`; within each\n"
        "of the three the core's own come last. `shutdown` runs backwards.\n\n"
        "What an implementation raises becomes an `ExtensionError` that names extension and hook. What then happens\n"
        "stands with each hook. Easel's own errors (`JobRefused`, `JobCancelled`, `BadRequest`, …) are decisions, not\n"
        "failures: they pass unchanged. Of a chain hook that is skipped, the value from before counts, and the job is\n"
        "told; a job that is `strict`, or that named a script of the extension, fails instead.\n"
        f"{sections}"
    )


def api_page() -> str:
    """`api.md`: every route, the fields of a picture's request, every status code."""
    with TemporaryDirectory() as data:
        app = Easel(read_settings(["--data-dir", data, "--in-process"], {}), build=_no_worker)
        api = create_api(app)
        app.store.make_tree()
        app.extensions.load()
        described = api.openapi()
    return (DOCS / "api.head.md").read_text() + "".join(
        [
            "\n## Routes\n",
            *_routes(described),
            "\n## Fields of txt2img and img2img\n",
            *_fields(described, "Txt2ImgBody", "Img2ImgBody"),
            "\n## Status codes\n\n`parameters.status` in PAI's answer and `error.status` of a job; 0 is success.\n\n",
            "| code | HTTP | error |\n|---|---|---|\n",
            *(f"| {one.code} | {one.status} | {_first_sentence(one)} |\n" for one in _errors()),
        ]
    )


def _no_worker(settings: Settings) -> Workplace:
    raise NotImplementedError


def _routes(described: Mapping[str, Any]) -> Iterator[str]:
    tags: dict[str, list[str]] = {}
    for path, verbs in described["paths"].items():
        for verb, route in verbs.items():
            meaning = " ".join(route.get("description", "").split())
            tags.setdefault(route["tags"][0], []).append(f"| {verb.upper()} `{path}` | {meaning} |\n")
    for tag, rows in tags.items():
        yield from (f"\n### {tag.capitalize()}\n\n| route | |\n|---|---|\n", *rows)


def _fields(described: Mapping[str, Any], *bodies: str) -> Iterator[str]:
    yield "\nNumbers may be texts, null is as good as not sent, unknown fields are named in the answer.\n\n"
    yield "| field | default | meaning |\n|---|---|---|\n"
    schemas = [described["components"]["schemas"][body]["properties"] for body in bodies]
    for name in {**schemas[0], **schemas[1]}:
        only = " *(txt2img)*" if name not in schemas[1] else " *(img2img)*" if name not in schemas[0] else ""
        facts = (schemas[0] | schemas[1] if only else schemas[0])[name]
        default = json.dumps(facts["default"]) if "default" in facts else ""
        yield f"| `{name}`{only} | {default} | {facts.get('description', '')} |\n"


def _errors() -> list[type[EaselError]]:
    kinds = (one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, EaselError))
    return sorted(kinds, key=lambda kind: kind.code)


def _first_sentence(kind: type[EaselError]) -> str:
    return f"{kind.__name__}: {' '.join((kind.__doc__ or '').split())}"


PAGES: Mapping[str, Callable[[], str]] = {"hooks.md": hooks_page, "api.md": api_page}


def _section(hook: str, users: list[str]) -> str:
    function = getattr(hookspecs, hook)
    described = inspect.cleandoc(function.__doc__ or "").replace("\n", " ")
    arguments = str(inspect.signature(function)).replace("'", "")
    used = f"\nImplemented by: {', '.join(users)}.\n" if users else ""
    return f"\n## {hook}\n\n```python\ndef {hook}{arguments}\n```\n\n*{hookspecs.STYLES[hook]}.* {described}\n{used}"


def _users() -> dict[str, list[str]]:
    """Who implements each hook here: the core's plugins by class, extensions by folder."""
    users: dict[str, list[str]] = {}
    for file in sorted([*CHECKOUT.glob("core/easel/**/*.py"), *CHECKOUT.glob("extensions/*/*.py")]):
        for owner, hook in _implementations(ast.parse(file.read_text())):
            name = f"`{file.parent.name}`" if file.is_relative_to(CHECKOUT / "extensions") else f"the core's `{owner}`"
            users.setdefault(hook, []).append(name)
    return users


def _implementations(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for owner in ast.walk(tree):
        for method in owner.body if isinstance(owner, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef) and any("hookimpl" in ast.unparse(d) for d in method.decorator_list):
                yield owner.name if isinstance(owner, ast.ClassDef) else "", method.name


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
