"""Extensions written by a test: a folder with a manifest and code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fastapi.testclient import TestClient

from easel import GenerationRequest, Job
from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.extensions.registry import Registry
from easel.settings import read_settings
from easel.worker.workplace import assemble, model_store

Write = Callable[..., Path]
Start = Callable[..., TestClient]


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
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    """A service with the extensions in `root` and Easel's own; everything in this process, a fake engine."""
    clients: list[TestClient] = []

    def start(*flags: str) -> TestClient:
        words = ["--data-dir", str(tmp_path / "data"), "--in-process", "--root-extensions", str(root), *flags]
        engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))
        app = Easel(read_settings(words, {}), build=lambda given: assemble(given, model_store(given), engine))
        api = create_api(app)
        api.state.easel = app
        clients.append(TestClient(api, raise_server_exceptions=False).__enter__())
        return clients[-1]

    yield start
    for client in clients:
        client.__exit__(None, None, None)


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
