"""A service with its page, and an engine that needs no models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.settings import read_settings
from easel.ui import page_of
from easel.ui.mount import PageMount
from easel.worker.workplace import assemble, model_store


@dataclass(frozen=True, repr=False)
class Paged:
    """A running service with its page. `root()` is where the newest build lives."""

    client: TestClient
    app: Easel
    mount: PageMount

    def root(self, **headers: str) -> str:
        answer = self.client.get("/", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text.partition('"root":"')[2].partition('"')[0].removeprefix("http://testserver")


Serve = Callable[..., Paged]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve("--token", "x")`: a service that runs to the end of the module."""
    with ExitStack() as stack:
        yield lambda *flags: _start(stack, tmp_path_factory.mktemp("page"), *flags)


@pytest.fixture(scope="module")
def paged(serve: Serve) -> Paged:
    """One without any flags."""
    return serve()


def _start(stack: ExitStack, data: Path, *flags: str) -> Paged:
    settings = read_settings(["--data-dir", str(data), "--in-process", *flags], {})
    known = replace(FACTS, title="starter", name="starter")  # what the store has
    app = Easel(settings, build=lambda made: assemble(made, model_store(made), FakeEngine(models=(known,))))
    mount = page_of(app)
    api = create_api(app, mount.router())
    return Paged(stack.enter_context(TestClient(api, raise_server_exceptions=False)), app, mount)
