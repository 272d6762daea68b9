"""The same request to the same checkpoint gives the picture that AUTOMATIC1111 1.10.1 gave (recorded, float32, CPU)."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "images"
NAMES = sorted(p.name.removesuffix(".request.json") for p in GOLDENS.glob("*.request.json"))
MOST = {  # grey levels
    "t16_dpm_adaptive_0": 4,  # its step sizes follow the float noise
    "i14_color_correction_0": 5,  # histogram matching turns one level of the picture before into up to five
    "z03_prompt_matrix_0": 40,  # three letters of its labels: another FreeType
}


def request(name: str) -> tuple[str, dict[str, Any]]:
    recorded = json.loads((GOLDENS / f"{name}.request.json").read_text())

    def filled(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return base64.b64encode((GOLDENS / value[1:]).read_bytes()).decode()
        if isinstance(value, list):
            return [filled(v) for v in value]
        return value

    return recorded["endpoint"], {key: filled(value) for key, value in recorded["json"].items()}


def expected(name: str) -> list[np.ndarray]:
    paths = sorted(GOLDENS.glob(f"{name}_[0-9].png"))
    return [np.asarray(Image.open(path).convert("RGB"), dtype=np.int16) for path in paths]


Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """What was answered already: pictures and `info` come from one request."""
    return {}


def answer(client: TestClient, answers: Answers, name: str) -> dict[str, Any]:
    if name not in answers:
        endpoint, body = request(name)
        response = client.post(endpoint, json=body)
        assert response.status_code == 200, response.text
        answers[name] = response.json()
    return answers[name]


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_a1111s(tiny_client: TestClient, answers: Answers, name: str) -> None:
    images = answer(tiny_client, answers, name)["images"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in images]
    wanted = expected(name)
    assert len(pictures) == len(wanted)
    for k, (picture, want) in enumerate(zip(pictures, wanted, strict=True)):
        got = np.asarray(picture.convert("RGB"), dtype=np.int16)
        assert got.shape == want.shape
        difference = np.abs(got - want)
        print(f"| {name} | {difference.max()} | {difference.mean():.4f} |")  # the table: pytest -rP
        assert difference.max() <= MOST.get(f"{name}_{k}", 2)
        assert difference.mean() <= 0.05


@pytest.mark.parametrize("name", NAMES)
def test_info_is_a1111s(tiny_client: TestClient, answers: Answers, name: str) -> None:
    info = json.loads(answer(tiny_client, answers, name)["info"])
    want = json.loads((GOLDENS / f"{name}.info.json").read_text())
    assert [key for key in info if key != "easel"] == list(want)
    # drawn at random, the time of day
    free = {"job_timestamp", "infotexts"}
    if "subseed" not in request(name)[1]:
        free |= {"subseed", "all_subseeds"}
    info, want = _with_our_embedding(info), _with_our_embedding(want)
    assert {k: info[k] for k in want if k not in free} == {k: v for k, v in want.items() if k not in free}
    assert info["infotexts"] == want["infotexts"]


def _with_our_embedding(info: dict[str, Any]) -> dict[str, Any]:
    """A1111 was recorded with the same vectors in a .pt file, so only that file's hash differs."""
    text = re.sub(r"tinyemb: [0-9a-f]{12}", "tinyemb: (of the file)", json.dumps(info))
    return dict(json.loads(text))
