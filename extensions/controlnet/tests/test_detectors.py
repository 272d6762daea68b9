"""Detectors of controlnet-aux: a stand-in for the package, whose own loaders and networks were tried by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import CANNY, encoded

HED = '''
import numpy as np, torch

class HEDdetector:
    """Adds what its weights say."""
    def __init__(self, weights): self.weights = weights
    @classmethod
    def from_pretrained(cls, folder): return cls(torch.load(f"{folder}/ControlNetHED.pth"))
    def to(self, device): return self
    def __call__(self, picture, detect_resolution, image_resolution, output_type, safe=False):
        value = int(self.weights["add"]) + 100 * safe
        return np.full((image_resolution, image_resolution, 3), value, np.uint8)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that must not be imported as a whole: with torchvision missing, the real one cannot be either."""
    for name, text in {"__init__": "raise ImportError('as a whole')", "hed/__init__": HED}.items():
        file = tmp_path / "site" / "controlnet_aux" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == "controlnet_aux"]:
        del sys.modules[module]


def test_a_detector_with_weights(
    package: None, easel_app: Any, easel_client: Any, easel_generate: Any, nets: Path, drawing: Any
) -> None:
    import torch
    from safetensors.torch import save_file

    def modules() -> set[str]:
        return set(easel_client.get("/controlnet/module_list").json()["module_list"])

    without = modules()
    weights = easel_app.settings.data_dir / "models" / "Annotators" / "ControlNetHED.safetensors"
    save_file({"add": torch.tensor(7)}, weights)
    assert modules() - without == {"hed", "hed_safe", "scribble_hed"}
    unit = {"module": "softedge_hed", "model": CANNY, "image": encoded(drawing), "processor_res": 64}
    for name, level in (("softedge_hed", 7), ("softedge_hedsafe", 107)):
        easel_generate(scripts={"controlnet": [{**unit, "module": name}]})
        hint = easel_app.engine.called("denoise")[-1].arguments["plan"].conditioning.controls[0].hint
        assert np.allclose(hint * 255, level)
    assert easel_app.engine.called("compute")
