"""`easel submit` and `easel watch` against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from easel.client import Client

from ..conftest import QueueServer

SMALL = ["--prompt", "a cat", "--steps", "1", "--width", "64", "--height", "64"]


@pytest.fixture(autouse=True)
def _empty_sink(queue_server: QueueServer) -> None:
    with Client(queue_server.url, queue_server.token, queue_server.service) as client:
        for result in client.results():
            client.take(result)


def easel(server: QueueServer, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"EASEL_URL": server.url, "EASEL_TOKEN": token or server.token, "EASEL_SERVICE": server.service}
    command = [sys.executable, "-m", "easel", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=120, check=False
    )


def test_submit_and_wait(queue_server: QueueServer, tmp_path: Path) -> None:
    done = easel(queue_server, "submit", "txt2img", *SMALL, "--count", "2", "--wait")
    assert done.returncode == 0, done.stderr
    paths = done.stdout.split()
    assert len(paths) >= 2 and all(path.startswith(str(queue_server.data)) for path in paths)
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"prompt": "a dog", "steps": 1, "width": 64, "height": 128}))
    picture = tmp_path / "dog.png"
    done = easel(queue_server, "submit", "txt2img", f"@{body}", "--wait", "-o", str(picture), "--task-id", "dog")
    assert (done.returncode, done.stdout.strip()) == (0, str(picture))
    with Image.open(picture) as opened:
        assert opened.size == (64, 128)


def test_submit_and_watch(queue_server: QueueServer) -> None:
    done = easel(queue_server, "submit", "txt2img", *SMALL, "--task-id", "good")
    assert done.returncode == 0 and done.stdout.startswith("task ")
    easel(queue_server, "submit", "txt2img", '{"steps": -1}', "--task-id", "bad")
    for take in ([], ["--take"]):  # without it the results stay
        done = easel(queue_server, "watch", "--number", "2", *take)
        assert done.returncode == 0, done.stderr
        good, bad = done.stdout.splitlines()
        assert good.startswith(f"good  done  {queue_server.data}") and bad.startswith("bad  failed  422: steps")
    assert easel(queue_server, "watch", "--idle", "1").stdout == ""


@pytest.mark.parametrize(("words", "token", "says"), [
    (["submit", "txt2img", '{"steps": -1}', "--wait"], "", "easel: 422: steps"),
    (["submit", "txt2img", *SMALL], "wrong", "easel: 401: "),
    (["watch"], "wrong", "easel: 401: "),
    (["submit", "txt2img", *SMALL, "--service", "other"], "", "easel: 404: "),
])  # fmt: skip
def test_what_goes_wrong(queue_server: QueueServer, words: list[str], token: str, says: str) -> None:
    done = easel(queue_server, *words, token=token)
    assert done.returncode == 1 and done.stderr.startswith(says), done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
