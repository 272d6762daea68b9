"""A hypernetwork from its file to the picture, through the whole service."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file

from ..conftest import service


def write(path: Path, width: int, seed: int) -> None:
    """One linear layer for the keys, one for the values."""
    noise = torch.Generator().manual_seed(seed)
    tensors = {}
    for side in "kv":
        tensors[f"{width}.{side}.linear.0.weight"] = torch.randn(width, width, generator=noise) * 0.3
        tensors[f"{width}.{side}.linear.0.bias"] = torch.zeros(width)
    save_file(tensors, path)


@pytest.fixture(scope="module")
def client(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on the tiny checkpoint; `--hypernetwork-dir` has `ink` and, of another width, `foreign`."""
    data, networks = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("networks")
    (data / "models").symlink_to(tiny_data / "models")
    write(networks / "ink.safetensors", 64, 1)
    write(networks / "foreign.safetensors", 768, 2)
    with service(data, "--no-half", "--no-hashing", "--hypernetwork-dir", str(networks)) as client:
        yield client


Paint = Callable[[str], Any]


@pytest.fixture
def paint(client: TestClient) -> Paint:
    def run(prompt: str) -> Any:
        size = {"width": 64, "height": 64}
        body = {"prompt": prompt, "seed": 1, "steps": 3, **size, "override_settings": {"sd_model_checkpoint": "tiny"}}
        return client.post("/sdapi/v1/txt2img", json=body)

    return run


def pixels(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).tobytes()


def test_the_folder_of_the_flag_is_listed(client: TestClient) -> None:
    assert client.get("/sdapi/v1/hypernetworks").json() == [
        {"name": "foreign", "path": "foreign.safetensors"},
        {"name": "ink", "path": "ink.safetensors"},
    ]


def test_jobs_with_and_without_it_side_by_side(paint: Paint) -> None:
    prompts = ["a fox", "a fox<hypernet:ink:0.5>", "a fox<hypernet:ink:-1>", "a fox<hypernet:ink:0>", "a fox"]
    plain, half, less, none, again = (pixels(paint(prompt)) for prompt in prompts)
    assert len({plain, half, less}) == 3
    assert plain == none == again
    with ThreadPoolExecutor(4) as threads:
        assert [pixels(one) for one in threads.map(paint, prompts[:3])] == [plain, half, less]


def test_one_of_another_width_is_refused_by_name(paint: Paint) -> None:
    answer = paint("a fox<hypernet:foreign:1>")
    assert answer.status_code == 500
    assert "foreign: made for another kind of model; it is for widths 768" in answer.json()["detail"]
    assert pixels(paint("a fox"))
