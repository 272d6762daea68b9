"""The same ControlNet units give the pictures and maps that sd-webui-controlnet gave in AUTOMATIC1111 (recorded)."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "controlnet"
NAMES = sorted(p.name.removesuffix(".request.json") for p in GOLDENS.glob("*.request.json"))
SOON = ("c01_canny", "c07_resize_fill", "c10_two_units", "c12_hires", "c16_inpaint", "c18_reference_only")


def filled(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("@"):
        return base64.b64encode((GOLDENS / value[1:]).read_bytes()).decode()
    if isinstance(value, list):
        return [filled(one) for one in value]
    return {key: filled(one) for key, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    "name", [name if name in SOON else pytest.param(name, marks=pytest.mark.long) for name in NAMES]
)
def test_pictures_maps_and_infotext_are_recorded(tiny_client: TestClient, name: str) -> None:
    recorded = json.loads((GOLDENS / f"{name}.request.json").read_text())
    response = tiny_client.post(recorded["endpoint"], json=filled(recorded["json"]))
    assert response.status_code == 200, response.text
    images = [Image.open(io.BytesIO(base64.b64decode(data))) for data in response.json()["images"]]
    wanted = [Image.open(path) for path in sorted(GOLDENS.glob(f"{name}_[0-9].png"))]
    assert len(images) == len(wanted)
    for image, want in zip(images, wanted, strict=True):
        difference = np.abs(np.asarray(image.convert("RGB"), np.int16) - np.asarray(want.convert("RGB"), np.int16))
        print(f"| {name} | {difference.max()} | {difference.mean():.4f} |")  # the table: pytest -rP
        assert difference.max() <= 2
        assert difference.mean() <= 0.05
    info, want = json.loads(response.json()["info"]), json.loads((GOLDENS / f"{name}.info.json").read_text())
    assert info["infotexts"] == want["infotexts"]
    assert info["extra_generation_params"] == want["extra_generation_params"]
    assert [line["outcome"] for line in info["easel"]["report"] if line["item"] == "controlnet[0]"] == ["applied"]
