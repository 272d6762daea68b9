"""A whole service with an engine without models: every route, real jobs, real extensions, no torch."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.engine import ModelFacts
from easel.engine.fake_engine import FakeEngine
from easel.settings import read_settings
from easel.worker.workplace import assemble, model_store

MODELS = tuple(
    ModelFacts(title=f"{name}.safetensors", name=name, short_hash=short_hash, family="SD1")
    for name, short_hash in (("tiny", "098a18ca9c"), ("tiny2", "0b652d614e"), ("starter", ""))
)


@dataclass(frozen=True, repr=False)
class Service:
    """A running service and what a test wants of it."""

    client: TestClient
    app: Easel
    engine: FakeEngine
    data: Path

    def get(self, route: str, **query: Any) -> Any:
        answer = self.client.get(f"/sdapi/v1/{route}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, route: str, body: Any) -> Any:
        answer = self.client.post(f"/sdapi/v1/{route}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, route: str, body: Any) -> tuple[int, str]:
        """The status and detail of a request that must not be taken; the service lives on."""
        answer = self.client.post(f"/sdapi/v1/{route}", json=body)
        assert 400 <= answer.status_code < 500, answer.text
        assert self.client.get("/internal/ping").json() == {}
        return answer.status_code, str(answer.json()["detail"])

    def info(self, route: str, body: Any) -> dict[str, Any]:
        """The `info` object of a request's answer."""
        info: dict[str, Any] = json.loads(self.post(route, body)["info"])
        return info


Serve = Callable[..., Service]


def start(
    stack: ExitStack,
    data: Path,
    tiny: Path,
    *flags: str,
    models: tuple[str, ...] = ("tiny",),
    step_seconds: float = 0.0,
) -> Service:
    """A service on `data` until the stack is left; `models` are taken from the recorded tiny ones."""
    folder = data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    for name in models:
        file = f"{name}.safetensors"
        if not (folder / file).exists():
            (folder / file).symlink_to(tiny / "models" / "Stable-diffusion" / file)
    settings = read_settings(["--data-dir", str(data), "--in-process", *flags], {})
    engine = FakeEngine(models=MODELS, step_seconds=step_seconds)
    app = Easel(settings, build=lambda settings: assemble(settings, model_store(settings), engine))
    client = stack.enter_context(TestClient(create_api(app), raise_server_exceptions=False))
    return Service(client, app, engine, data)


@pytest.fixture
def serve(tmp_path: Path, tiny_data: Path) -> Iterator[Serve]:
    """Start services of one's own: `serve("--api-log", step_seconds=0.01, models=("tiny", "tiny2"))`."""
    with ExitStack() as stack:
        yield partial(start, stack, tmp_path / "data", tiny_data)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Service]:
    """A service with one checkpoint, `tiny`, shared by the tests of a module: leave its files and options alone."""
    with ExitStack() as stack:
        yield start(stack, tmp_path_factory.mktemp("service"), tiny_data)


@pytest.fixture
def recorded(goldens: Path) -> Callable[[str], Any]:
    """What A1111 answered: `recorded("api/get_samplers")`."""
    return lambda name: json.loads((goldens / "recorded" / f"{name}.json").read_text())


def png(width: int = 64, height: int = 64, color: str = "red", mode: str = "RGB", **texts: str) -> str:
    """A picture with text chunks, as base64."""
    file, info = io.BytesIO(), PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new(mode, (width, height), color).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


def opened(image: str) -> Image.Image:
    """The picture behind base64."""
    return Image.open(io.BytesIO(base64.b64decode(image)))
