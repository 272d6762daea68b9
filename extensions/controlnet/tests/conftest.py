"""A data folder with ControlNets that the fake engine never opens, and small pictures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CANNY = "control_v11p_sd15_canny"


def write_net(folder: Path, name: str) -> None:
    """A safetensors file of one small tensor."""
    data = np.zeros(4, np.float32).tobytes()
    header = json.dumps({"zero": {"dtype": "F32", "shape": [4], "data_offsets": [0, len(data)]}}).encode()
    (folder / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)


def encoded(pixels: Any) -> str:
    """A PNG as base64."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def drawing() -> Any:
    """(80, 120, 3): a white disc and a grey bar on black."""
    y, x = np.mgrid[:80, :120]
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[(x - 40) ** 2 + (y - 40) ** 2 < 600] = 255
    pixels[20:60, 90:105] = (90, 120, 150)
    return pixels


@pytest.fixture
def nets(easel_app: Any) -> Path:
    """The folder with a canny and a depth ControlNet, and one that is a pickle."""
    folder: Path = easel_app.settings.data_dir / "models" / "ControlNet"
    for name in (CANNY, "control_v11f1p_sd15_depth"):
        write_net(folder, name)
    (folder / "old_hed.pth").write_bytes(b"PK\x03\x04")
    easel_app.refresh_models()
    return folder


@pytest.fixture
def steered(easel_app: Any, easel_generate: Any, nets: Path) -> Callable[..., tuple[Any, Any]]:
    """`steered(unit, …, **fields)`: the result and the conditioning of each pass."""

    def run(*units: Any, **fields: Any) -> tuple[Any, list[Any]]:
        before = len(easel_app.engine.called("denoise"))
        result = easel_generate("a fox", scripts={"controlnet": list(units)}, **fields)
        calls = easel_app.engine.called("denoise")[before:]
        return result, [call.arguments["plan"].conditioning for call in calls]

    return run
