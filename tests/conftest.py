"""Fixtures that several parts of the tests need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from easel.api.server import create_api
from easel.app import Easel
from easel.settings import read_settings

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of recorded results."""
    return GOLDENS


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the random-weight checkpoints the goldens were recorded with. Read only, please."""
    folder = tmp_path_factory.mktemp("tiny-data")
    made = subprocess.run(
        [sys.executable, GOLDENS / "make_tiny_models.py", folder], check=True, capture_output=True, text=True
    )
    assert "DIFFERS" not in made.stdout, made.stdout
    assert made.stdout.count("as recorded") == len(json.loads((GOLDENS / "tiny_models.sha256.json").read_text()))
    return folder


@pytest.fixture(scope="session")
def tiny_client(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on the recorded checkpoints: float32, in this process, every route of the API."""
    data = tmp_path_factory.mktemp("tiny-service")
    for name in ("models", "embeddings", "styles.csv"):
        (data / name).symlink_to(tiny_data / name)
    with service(data, "--no-half") as client:
        yield client


@contextmanager
def service(data: Path, *flags: str) -> Iterator[TestClient]:
    """The HTTP API of a whole service with the real engine in this process."""
    import torch

    torch.set_num_threads(1)
    settings = read_settings(["--data-dir", str(data), "--in-process", "--nowebui", *flags], {})
    with TestClient(create_api(Easel(settings)), raise_server_exceptions=False) as client:
        yield client
