"""An extension that costs workers: named to who waits, set aside after the second time, released by one call."""

from __future__ import annotations

from pathlib import Path

import httpx2 as httpx
import pytest

from .conftest import TINY, Running, running, tiny_folder

MANIFEST = """
name = "killer"
title = "Killer"
version = "1.0"
summary = "ends or holds up whoever calls it"
entry = "Killer"
easel = ">=1,<2"
"""
CODE = """
import os
from easel import Extension, hookimpl

class Killer(Extension):
    @hookimpl
    def process_images(self, images, job):
        if "exit" in job.request.prompt:
            os._exit(3)
        while "loop" in job.request.prompt:
            pass
"""


def told(one: Running) -> dict[str, object]:
    found: dict[str, object] = one.get("/easel/v1/extensions/killer").json()
    return found


@pytest.mark.parametrize(
    ("prompt", "error"),
    [("exit", "WorkerLost"), pytest.param("loop", "DeadlinePassed", marks=pytest.mark.long)],
)
def test_the_culprit_is_named_and_set_aside(prompt: str, error: str, tmp_path: Path, tiny_data: Path) -> None:
    data = tiny_folder(tmp_path / "data", tiny_data)
    folder = data / "extensions" / "killer"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(MANIFEST)
    (folder / "__init__.py").write_text(CODE)
    flags = ("--no-half", "--quarantine-losses", "2", "--api-auth", "ann:secret", "--job-deadline", "30")
    with running(data, *flags) as one:
        for _ in range(2):
            assert told(one)["state"] == "enabled"
            answer = one.post(TINY | {"prompt": prompt})
            assert answer.json()["error"] == error
            assert "it was inside the extension 'killer' (process_images)" in answer.json()["detail"]
        assert told(one)["state"] == "quarantined" and "2 workers were lost" in str(told(one)["reason"])
        assert one.post(TINY | {"prompt": prompt}).status_code == 200  # without it
        release = one.server.url("/easel/v1/extensions/killer/release")
        assert httpx.post(release, auth=("ann", "secret")).json()["state"] == "enabled"
