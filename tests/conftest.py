"""Fixtures that several parts of the tests need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
