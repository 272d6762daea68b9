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
import os, time
from easel import Extension, hookimpl

class Killer(Extension):
    @hookimpl
    def process_images(self, images, job):
        if "exit" in job.request.prompt:
            os._exit(3)
        while "loop" in job.request.prompt:
            pass
        hoard = []
        while "hoard" in job.request.prompt:
            hoard.append(b"x" * (64 << 20))
            time.sleep(0.1)
"""


def told(one: Running) -> dict[str, object]:
    found: dict[str, object] = one.get("/easel/v1/extensions/killer").json()
    return found


def killers_folder(tmp_path: Path, tiny_data: Path) -> Path:
    data = tiny_folder(tmp_path / "data", tiny_data)
    folder = data / "extensions" / "killer"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(MANIFEST)
    (folder / "__init__.py").write_text(CODE)
    return data


@pytest.mark.parametrize(
    ("prompt", "error"),
    [("exit", "WorkerLost"), pytest.param("loop", "DeadlinePassed", marks=pytest.mark.long)],
)
def test_the_culprit_is_named_and_set_aside(prompt: str, error: str, tmp_path: Path, tiny_data: Path) -> None:
    data = killers_folder(tmp_path, tiny_data)
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


@pytest.mark.long
def test_who_hoards_memory_costs_a_worker_and_is_named(tmp_path: Path, tiny_data: Path) -> None:
    flags = ("--no-half", "--worker-memory", "2", "--quarantine-losses", "1", "--api-auth", "ann:secret")
    with running(killers_folder(tmp_path, tiny_data), *flags) as one:
        assert one.post(TINY).status_code == 200
        before = one.worker.pid
        answer = one.post(TINY | {"prompt": "hoard"})
        assert (answer.status_code, answer.json()["error"]) == (503, "WorkerLost")
        assert answer.json()["detail"] == (
            "The worker died while it ran the job: it took more than 2 GB of memory, and it was inside the extension "
            "'killer' (process_images)"
        )
        assert told(one)["state"] == "quarantined"
        assert str(told(one)["reason"]).endswith("the last time: it took more than 2 GB of memory")
        assert one.post(TINY | {"prompt": "hoard"}).status_code == 200  # without it
        assert one.worker.pid != before
