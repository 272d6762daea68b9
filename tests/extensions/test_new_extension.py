"""From nothing to a working extension in a running service, and away again, without a restart."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.settings import read_settings
from easel.testing.skeleton import new_extension
from easel.worker.workplace import assemble, model_store

BODY = {"prompt": "a cat", "seed": 1, "subseed": 1, "steps": 1, "width": 64, "height": 64}


def pixels(client: TestClient, **more: Any) -> bytes:
    answer = client.post("/sdapi/v1/txt2img", json=BODY | more)
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(base64.b64decode(answer.json()["images"][0]))).tobytes()


def state(client: TestClient, route: str) -> str:
    answer = client.post(f"/easel/v1/extensions/{route}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return str(next(one for one in found if one["name"] == "soft-focus") if isinstance(found, list) else found["state"])


def test_a_fresh_extension_changes_pictures_while_it_is_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = read_settings(["--data-dir", str(data), "--in-process", "--nowebui"], {})
    engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))
    app = Easel(settings, build=lambda settings: assemble(settings, model_store(settings), engine))
    with TestClient(create_api(app)) as client:
        plain = pixels(client)
        assert "soft focus" not in client.get("/sdapi/v1/scripts").json()["txt2img"]

        new_extension("soft-focus", data / "extensions")
        state(client, "rescan")
        assert state(client, "soft-focus/enable") == "enabled"
        (described,) = (
            one
            for one in client.get("/sdapi/v1/script-info").json()
            if one["name"] == "soft focus" and not one["is_img2img"]
        )
        assert described["args"] == [
            {"label": "Strength", "value": 0.3, "minimum": 0.0, "maximum": 1.0, "step": None, "choices": None},
            {"label": "Color", "value": "orange", "minimum": None, "maximum": None, "step": None,
             "choices": ["orange", "teal", "violet"]},
        ]  # fmt: skip
        assert described["extension"] == "soft-focus"
        assert list(described["schema"]["properties"]) == ["strength", "color"]
        tinted = pixels(client)
        assert sum(abs(a - b) for a, b in zip(tinted, plain, strict=True)) / len(plain) > 10  # anybody sees that
        assert pixels(client, alwayson_scripts={"Soft Focus": {"args": [0]}}) == plain

        assert state(client, "soft-focus/disable") == "disabled"
        assert pixels(client) == plain
        assert client.post(
            "/sdapi/v1/txt2img", json=BODY | {"alwayson_scripts": {"Soft Focus": {"args": [0]}}}
        ).status_code == 422  # fmt: skip
