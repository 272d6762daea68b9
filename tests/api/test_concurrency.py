"""Many callers at once: every answer is right and belongs to its asker, whatever the others do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests

from .conftest import Service, start
from .test_clients import listening
from .test_progress import until


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[tuple[Service, str]]:
    data = tmp_path_factory.mktemp("concurrency")
    (data / "models").mkdir()
    (data / "models" / "Lora").symlink_to(tiny_data / "models" / "Lora")
    with ExitStack() as stack:
        service = start(stack, data, tiny_data, models=("tiny", "tiny2"), step_seconds=0.002)
        yield service, stack.enter_context(listening(service))


def wish(draw: Random, number: int) -> dict[str, Any]:
    """One caller's request: model, LoRA, size, options and batch differ from caller to caller."""
    lora = draw.choice(["", "<lora:tinylora:1>", "<lora:tinylora:0.5>"])
    return {
        "prompt": f"caller {number} {lora}",
        "seed": number,
        "subseed": 1,
        "steps": draw.randrange(2, 9),
        "width": draw.choice([64, 96, 128]),
        "height": draw.choice([64, 128]),
        "batch_size": draw.choice([1, 1, 2]),
        "override_settings": {
            "sd_model_checkpoint": draw.choice(["tiny", "tiny2"]),
            "CLIP_stop_at_last_layers": draw.choice([1, 2]),
        },
    }


def ask(url: str, body: dict[str, Any], session: requests.Session | None = None) -> Any:
    answer = (session or requests).post(f"{url}/sdapi/v1/txt2img", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("clients", [64])
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_every_answer_belongs_to_its_asker(live: tuple[Service, str], clients: int, rounds: int) -> None:
    service, url = live
    draw = Random(1)
    options = service.get("options")
    for _ in range(rounds):
        wishes = [wish(draw, draw.randrange(10_000)) for _ in range(clients)]
        alone = [ask(url, body)["images"] for body in wishes]
        begin = threading.Barrier(clients)

        def call(body: dict[str, Any], begin: threading.Barrier = begin) -> Any:
            with requests.Session() as session:
                begin.wait()
                return ask(url, body, session)

        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(call, wishes))
        for body, images, answer in zip(wishes, alone, answers, strict=True):
            info = json.loads(answer["info"])
            assert answer["images"] == images
            assert (info["prompt"], info["seed"]) == (body["prompt"], body["seed"])
            assert info["sd_model_name"] == body["override_settings"]["sd_model_checkpoint"]
    assert service.get("options") == options  # nothing of a request outlives it


def hang_up(url: str, body: dict[str, Any]) -> None:
    """Send a request and close the connection without waiting."""
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port))) as link:
        link.sendall(
            b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )


def test_cancelled_and_abandoned_calls_disturb_nobody(live: tuple[Service, str]) -> None:
    service, url = live
    draw = Random(2)
    long = {"prompt": "long", "steps": 900, "width": 64, "height": 64}
    for _ in range(8):
        hang_up(url, long)
    cancelled = [
        requests.post(f"{url}/sdapi/v1/txt2img", json=long, headers={"Prefer": "respond-async"}, timeout=60).json()[
            "id"
        ]
        for _ in range(8)
    ]
    wishes = [wish(draw, number) for number in range(16)]
    with ThreadPoolExecutor(24) as pool:
        answers = pool.map(lambda body: ask(url, body), wishes)
        for identity in cancelled:
            assert requests.post(f"{url}/easel/v1/jobs/{identity}/cancel", timeout=60).status_code == 200
        for body, answer in zip(wishes, answers, strict=True):
            assert json.loads(answer["info"])["prompt"] == body["prompt"]
    until(lambda: not service.app.jobs.running() and not service.app.jobs.waiting())
    states = {service.client.get(f"/easel/v1/jobs/{identity}").json()["state"] for identity in cancelled}
    assert states == {"cancelled"}
    ended = [one for one in service.client.get("/easel/v1/jobs").json() if one["steps"] == 900]
    assert ended and {one["state"] for one in ended} == {"cancelled"}


def test_an_abandoned_job_is_kept_where_the_operator_wants_that(tmp_path: Path, tiny_data: Path) -> None:
    with ExitStack() as stack:
        service = start(stack, tmp_path / "data", tiny_data, "--keep-abandoned", step_seconds=0.01)
        url = stack.enter_context(listening(service))
        hang_up(url, {"prompt": "kept", "steps": 30, "width": 64, "height": 64, "force_task_id": "kept"})
        until(lambda: service.app.jobs.find("kept"))
        found = until(lambda: (one := service.client.get("/easel/v1/jobs/kept").json())["state"] == "done" and one)
        assert service.client.get("/" + found["images"][0]["url"]).status_code == 200
