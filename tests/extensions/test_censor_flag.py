"""`--enable-nsfw-censor`: with it every picture has a score, without it none, and the pictures are the same."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pillow

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.errors import Forbidden
from easel.settings import read_settings
from easel.worker.workplace import assemble, model_store


def service(data: Path, *flags: str) -> Easel:
    settings = read_settings(["--data-dir", str(data), "--in-process", "--nowebui", *flags], {})
    engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))
    return Easel(settings, build=lambda given: assemble(given, model_store(given), engine))


def picture(client: TestClient) -> tuple[list[bytes], dict[str, Any]]:
    body = {"prompt": "a cat", "seed": 1, "subseed": 1, "steps": 2, "width": 64, "height": 64}
    made = client.post("/sdapi/v1/txt2img", json=body)
    assert made.status_code == 200, made.text
    pictures = [Pillow.open(BytesIO(base64.b64decode(one))).tobytes() for one in made.json()["images"]]
    return pictures, json.loads(made.json()["info"])["easel"]


def test_the_flag_switches_the_censor_on_for_good(tmp_path: Path) -> None:
    app = service(tmp_path / "on", "--enable-nsfw-censor")
    with TestClient(create_api(app)) as client:
        censored, about = picture(client)
        with pytest.raises(Forbidden):
            app.switch_extension("nsfw-censor", False)
    with TestClient(create_api(service(tmp_path / "off"))) as client:
        plain, nothing = picture(client)
    assert censored == plain
    assert 0 < about["scores"][0]["nsfw"] < 0.5
    assert nothing["scores"] == [{}]
