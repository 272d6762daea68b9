"""The extras routes and the upscaler in hires fix, through a whole service."""

from __future__ import annotations

import base64
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel.testing import EaselUnderTest

NET = "R-ESRGAN AnimeVideo 4x"
TO_SIZE = {"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 60}
SHIPPED = Path(__file__).parents[1] / "weights" / f"{NET}.safetensors"


def png(width: int = 50, height: int = 37, infotext: str = "") -> str:
    file, info = BytesIO(), PngInfo()
    if infotext:
        info.add_text("parameters", infotext)
    Image.linear_gradient("L").convert("RGB").resize((width, height)).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> Any:
    return Image.open(BytesIO(base64.b64decode(text)))


def ask(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/sdapi/v1/extra-single-image", json={"image": png()} | body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("body", "size", "told"),
    [
        ({}, (50, 37), ""),
        ({"upscaler_1": "Lanczos"}, (96, 72), "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos"),
        (
            {"upscaler_1": NET, "upscaling_resize": "4"},
            (200, 144),
            f"Postprocess upscale by: 4.0, Postprocess upscaler: {NET}",
        ),
        (
            TO_SIZE | {"upscaler_1": "Nearest"},
            (100, 60),
            "Postprocess upscale to: 100x60, Postprocess crop to: 100x60, Postprocess upscaler: Nearest",
        ),
        (
            TO_SIZE | {"upscaler_1": "Nearest", "upscaling_crop": False},
            (96, 72),
            "Postprocess upscale to: 100x60, Postprocess upscaler: Nearest",
        ),
        (
            {"upscaler_1": "Nearest", "upscaler_2": NET, "extras_upscaler_2_visibility": 0.5},
            (96, 72),
            f"Postprocess upscale by: 2.0, Postprocess upscaler: Nearest, Postprocess upscaler 2: {NET}",
        ),
    ],
)  # fmt: skip
def test_one_picture(easel_client: TestClient, body: dict[str, Any], size: tuple[int, int], told: str) -> None:
    answer = ask(easel_client, **body)
    assert answer["html_info"] == f"<p>{told}</p>"
    picture = opened(answer["image"])
    assert (picture.size, picture.text["postprocessing"]) == (size, told)


def test_generation_data_stays(easel_client: TestClient) -> None:
    answer = ask(easel_client, image=png(infotext="a cat\nSteps: 20"), upscaler_1="Lanczos")
    assert opened(answer["image"]).text["parameters"] == "a cat\nSteps: 20"


def test_several_pictures(easel_client: TestClient) -> None:
    several = [{"data": png(16, 16), "name": "a.png"}, {"data": png(32, 16), "name": "b.png"}]
    body = {"imageList": several, "upscaler_1": "Lanczos"}
    answer = easel_client.post("/sdapi/v1/extra-batch-images", json=body).json()
    assert [opened(one).size for one in answer["images"]] == [(32, 32), (64, 32)]


def test_faces_are_not_restored_in_silence(easel_client: TestClient) -> None:
    answer = ask(easel_client, gfpgan_visibility=1)
    assert answer["html_info"].startswith("<p></p><p>gfpgan_visibility has no effect: GFPGAN needs GFPGAN")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"upscaler_1": "nope"}, "upscaler_1: unknown name"),
        ({"image": ""}, "image: Invalid encoded image"),
        ({"image": "bm90IGEgcGljdHVyZQ=="}, "image"),
        ({"resize_mode": 5}, "resize_mode"),
        ({"gfpgan_visibility": 2}, "gfpgan_visibility"),
        (TO_SIZE | {"upscaler_1": "Lanczos", "upscaling_resize_w": 100_000}, "the picture would get too large"),
    ],
)  # fmt: skip
def test_bad_input(easel_client: TestClient, body: dict[str, Any], said: str) -> None:
    answer = easel_client.post("/sdapi/v1/extra-single-image", json={"image": png()} | body)
    assert answer.status_code == 422 and said in answer.text


def test_a_batch_needs_pictures(easel_client: TestClient) -> None:
    answer = easel_client.post("/sdapi/v1/extra-batch-images", json={})
    assert answer.status_code == 422 and "imageList" in answer.text


def test_hires_fix(easel_client: TestClient) -> None:
    body = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64, "enable_hr": True, "hr_scale": 2}
    answer = easel_client.post("/sdapi/v1/txt2img", json=body | {"hr_upscaler": NET})
    assert answer.status_code == 200 and opened(answer.json()["images"][0]).size == (128, 128)


def test_a_file_that_is_put_there_is_found(easel_client: TestClient, easel_app: EaselUnderTest) -> None:
    def names() -> list[str]:
        return [one["name"] for one in easel_client.get("/sdapi/v1/upscalers").json()]

    assert names() == ["None", "Lanczos", "Nearest", NET]
    shutil.copy(SHIPPED, easel_app.settings.data_dir / "models" / "ESRGAN" / "mine.safetensors")
    (easel_app.settings.data_dir / "models" / "ESRGAN" / "broken.safetensors").write_bytes(
        b"\x08\0\0\0\0\0\0\0{}      "
    )
    assert easel_client.post("/sdapi/v1/refresh-checkpoints").status_code == 200
    assert "mine" in names()
    assert opened(ask(easel_client, upscaler_1="mine")["image"]).size == (96, 72)
    listed = easel_client.get("/sdapi/v1/realesrgan-models").json()
    assert {"name": "mine", "path": "models/ESRGAN/mine.safetensors", "scale": 4} in listed
    answer = easel_client.post("/sdapi/v1/extra-single-image", json={"image": png(), "upscaler_1": "broken"})
    assert answer.status_code == 422 and "holds no network that is known here" in answer.text
