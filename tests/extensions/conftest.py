"""Extensions written by a test: a folder with a manifest and code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from easel import GenerationRequest, Job
from easel.extensions.registry import Registry

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root of extensions."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def write(root: Path) -> Write:
    """Make an extension: `write("name", "hook methods", enabled=False, requires=["x"])`; `files` are put beside."""

    def write(name: str, body: str = "", *, files: dict[str, str] | None = None, head: str = "", **keys: Any) -> Path:
        folder = keys.pop("root", root) / name.replace("-", "_")
        folder.mkdir(parents=True)
        manifest = {"name": name, "title": name.title(), "version": "1.0", "summary": "a test", "entry": "Entry"}
        manifest |= {"easel": ">=1,<2"} | keys
        (folder / "extension.toml").write_text("".join(f"{key} = {_toml(value)}\n" for key, value in manifest.items()))
        class_body = dedent(body).strip() or "pass"
        code = "from easel import *\nfrom dataclasses import replace\n" + dedent(head)
        code += "\n\nclass Entry(Extension):\n" + "".join(f"    {line}\n" for line in class_body.splitlines())
        (folder / "__init__.py").write_text(code)
        for file, text in (files or {}).items():
            (folder / file).write_text(dedent(text))
        return folder

    return write


@pytest.fixture
def registry(root: Path, tmp_path: Path) -> Registry:
    """A registry over `root`, not loaded."""
    return Registry([root], tmp_path / "state")


@pytest.fixture
def job() -> Job:
    """A plain job."""
    return Job(id="1", request=GenerationRequest())


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    """What a test imported as `easel_extensions.*` is gone after it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("easel_extensions."):
            del sys.modules[name]


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
