"""`/controlnet/…` over HTTP."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import CANNY, encoded, write_net


def get(client: Any, path: str) -> Any:
    response = client.get(f"/controlnet/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def picture(text: str) -> Any:
    return np.asarray(Image.open(BytesIO(base64.b64decode(text))))


def test_lists(easel_client: Any, nets: Path) -> None:
    assert get(easel_client, "version") == {"version": 3}
    assert get(easel_client, "settings") == {"control_net_unit_count": 3}
    (depth, canny, own) = get(easel_client, "model_list")["model_list"]
    assert own == "starter-canny"
    assert depth.startswith("control_v11f1p_sd15_depth [")
    assert canny.startswith(f"{CANNY} [")
    write_net(nets, "late")
    assert len(get(easel_client, "model_list?update=false")["model_list"]) == 3
    assert len(get(easel_client, "model_list")["model_list"]) == 4


def test_modules_that_can_run(easel_client: Any) -> None:
    names, labels = (get(easel_client, f"module_list?alias_names={flag}") for flag in ("false", "true"))
    assert names["module_list"][:3] == ["none", "tile_resample", "reference_only"]
    assert "invert" in names["module_list"]
    assert "invert (from white bg & black line)" in labels["module_list"]
    assert "hed" not in names["module_list"]
    assert names["module_detail"]["reference_only"]["model_free"] is True
    assert names["module_detail"]["canny"] == {
        "model_free": False,
        "sliders": [
            {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8},
            {"name": "Low Threshold", "value": 100, "min": 1, "max": 255, "step": 1},
            {"name": "High Threshold", "value": 200, "min": 1, "max": 255, "step": 1},
        ],
    }
    assert names["module_detail"]["invert"]["sliders"] == []


def test_kinds_of_control(easel_client: Any, nets: Path) -> None:
    kinds = get(easel_client, "control_types")["control_types"]
    assert list(kinds)[:3] == ["All", "Canny", "Depth"]
    assert len(kinds) == 21
    assert kinds["Canny"]["module_list"] == ["none", "canny", "invert (from white bg & black line)"]
    assert kinds["Canny"]["default_option"] == "canny"
    assert kinds["Canny"]["default_model"].startswith(CANNY)
    assert kinds["All"]["model_list"][0] == "None"
    assert (kinds["Shuffle"]["model_list"], kinds["Shuffle"]["default_model"]) == (["None"], "None")


def test_detect(easel_client: Any, drawing: Any) -> None:
    def detect(**body: Any) -> Any:
        return easel_client.post("/controlnet/detect", json=body)

    image = encoded(drawing)
    answer = detect(controlnet_module="canny", controlnet_input_images=[image, f"data:image/png;base64,{image}"])
    assert answer.status_code == 200
    assert answer.json()["info"] == "Success"
    first, second = (picture(text) for text in answer.json()["images"])
    assert first.shape == (512, 768, 3)
    assert np.array_equal(first, second)
    out_of_range = detect(
        controlnet_module="canny", controlnet_images=[image], controlnet_processor_res=-100, controlnet_threshold_a=-5
    )
    assert np.array_equal(picture(out_of_range.json()["images"][0]), first)
    by_label = detect(controlnet_module="invert (from white bg & black line)", controlnet_input_images=[image])
    assert np.array_equal(picture(by_label.json()["images"][0]), 255 - drawing)
    masked = detect(controlnet_module="inpaint_only", controlnet_input_images=[image], controlnet_masks=[image])
    assert picture(masked.json()["images"][0]).shape == (80, 120, 4)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({}, 422, "No image selected"),
        ({"controlnet_module": "canny", "controlnet_input_images": []}, 422, "No image selected"),
        ({"controlnet_module": "INVALID", "controlnet_input_images": ["x"]}, 422, "Module not available"),
        ({"controlnet_module": "clip_vision", "controlnet_input_images": ["x"]}, 422, "Module not supported"),
        (
            {"controlnet_module": "inpaint_only", "controlnet_input_images": ["x"]},
            422,
            "Preprocessor inpaint_only requires `controlnet_masks` param.",
        ),
        ({"controlnet_module": "canny", "controlnet_input_images": ["!!"]}, 422, "Invalid encoded image"),
        ({"controlnet_module": "hed", "controlnet_input_images": ["x"]}, 501, "ControlNetHED.safetensors"),
        ({"controlnet_module": "canny", "controlnet_input_images": ["http://127.0.0.1/"]}, 422, "public internet"),
    ],
)
def test_detect_refuses_in_known_words(easel_client: Any, body: dict[str, Any], status: int, detail: str) -> None:
    answer = easel_client.post("/controlnet/detect", json=body)
    assert answer.status_code == status, answer.text
    assert detail in answer.json()["detail"]
    assert set(answer.json()) == {"error", "detail", "body", "errors"}


def test_removed_routes_stay_removed(easel_client: Any) -> None:
    assert easel_client.post("/controlnet/txt2img", json={}).status_code == 404


def test_over_http_the_maps_follow_the_results(easel_client: Any, nets: Path, drawing: Any) -> None:
    unit = {"module": "canny", "model": CANNY, "image": encoded(drawing), "processor_res": 64}
    body = {
        "prompt": "fox",
        "steps": 2,
        "width": 64,
        "height": 64,
        "alwayson_scripts": {"ControlNet": {"args": [unit]}},
    }
    answer = easel_client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    assert [picture(text).shape for text in answer.json()["images"]] == [(64, 64, 3)] * 2
    body["alwayson_scripts"]["ControlNet"] = unit
    answer = easel_client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 422
    assert "args" in answer.json()["detail"]
    scripts = easel_client.get("/sdapi/v1/scripts").json()
    assert {"controlnet", "controlnet m2m"} <= set(scripts["txt2img"])
