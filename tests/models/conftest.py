"""Models that the tests of this folder load once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from easel.models.checkpoint import LoadedCheckpoint
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import ModelStore


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on shared cores are many times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_store(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The store of the tiny data folder."""
    return ModelStore(tiny_data, hash_file=tmp_path_factory.mktemp("state") / "hashes.json")


@pytest.fixture
def tiny(tiny_store: ModelStore) -> LoadedCheckpoint:
    """The tiny SD1 checkpoint in float32, fresh for each test."""
    return load_checkpoint(tiny_store.checkpoint("tiny"), Placement())
