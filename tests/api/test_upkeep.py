"""Memory, models in and out of it, what clients probe for, and what this service does not do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Serve, Service, png

SMALL = {"prompt": "a dog", "steps": 4, "width": 64, "height": 64, "seed": 7, "subseed": 1}


def test_models_go_and_come_back(service: Service) -> None:
    before = service.post("txt2img", SMALL)["images"]
    for body in ("", '""', "{}"):
        answer = service.client.post(
            "/sdapi/v1/unload-checkpoint", content=body, headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()) == (200, {})
    assert len(service.engine.called("unload")) == 3
    assert service.post("txt2img", SMALL)["images"] == before
    assert service.post("reload-checkpoint", None) == {}
    assert service.engine.called("load")[-1].arguments["model"].checkpoint.startswith("tiny.safetensors")


def test_memory(service: Service, recorded: Callable[[str], Any]) -> None:
    golden, answer = recorded("api/get_memory")["body"], service.get("memory")
    assert answer["cuda"] == golden["cuda"] and list(answer["ram"]) == list(golden["ram"])
    assert answer["ram"]["used"] + answer["ram"]["free"] == answer["ram"]["total"]


@pytest.mark.parametrize("route", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"])
def test_training_is_not_done_here(service: Service, route: str) -> None:
    answer = service.client.post(f"/sdapi/v1/{route}", json={"name": "x"})
    assert answer.status_code == 501 and answer.json()["detail"].startswith("this service does not train")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"image": png(), "model": "zzz"}, 404, "Model not found"),
        ({}, 422, "image: Invalid encoded image"),
        ({"image": png(), "model": "clip"}, 501, "interrogate: the models of 'clip'"),
    ],
)
def test_interrogate(service: Service, body: dict[str, Any], status: int, said: str) -> None:
    answer = service.client.post("/sdapi/v1/interrogate", json=body)
    assert answer.status_code == status and answer.json()["detail"].startswith(said)
    assert service.client.get("/sdapi/v1/interrogate").status_code == 405  # how a client finds out that it is there


def test_the_server_is_stopped_only_where_that_is_allowed(
    service: Service, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what in ("stop", "kill", "restart"):
        assert service.client.post(f"/sdapi/v1/server-{what}").status_code == 404
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    allowed = serve("--api-server-stop").client
    assert allowed.post("/sdapi/v1/server-stop").text == "Stopping."
    assert allowed.post("/sdapi/v1/server-kill").status_code == 200
    assert allowed.post("/sdapi/v1/server-restart").status_code == 501
    assert sent == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize(
    ("path", "name"), [("/login_check", "raw_login_check"), ("/token", "raw_token"), ("/user", "raw_user"),
                       ("/startup-events", "raw_startup_events")]
)  # fmt: skip
def test_probes_as_recorded(service: Service, path: str, name: str, recorded: Callable[[str], Any]) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.json()) == (200, recorded(f"page/{name}")["body"])


def test_other_probes(service: Service) -> None:
    config = service.client.get("/config").json()
    assert (config["components"], config["mode"]) == ([], "blocks")
    assert {"name": "sd_vae", "label": "sd_vae"} in service.client.get("/internal/quicksettings-hint").json()
    sysinfo = service.client.get("/internal/sysinfo").text
    assert json.loads(sysinfo)["Version"] and str(service.data) not in sysinfo
    assert isinstance(service.client.get("/app_id").json()["app_id"], int)
    assert service.client.get("/sd_extra_networks/metadata?page=lora&item=none").json() == {}
    assert service.client.get("/sd_extra_networks/metadata?page=secrets&item=x").status_code == 422
