"""The ControlNet's two forms, a diffusers folder and one file with LDM's names, are the same network."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from easel.models.controlnet import load_controlnet
from easel.models.placement import Placement

FOLDER = Path(str(files("easel"))) / "starter" / "controlnet"
SCRIPT = Path(__file__).parents[2] / "tools" / "starter" / "control_export.py"


@pytest.mark.long
def test_the_file_with_ldm_names_is_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "starter_canny.safetensors"
    subprocess.run([sys.executable, SCRIPT, FOLDER, "--to-file", file], check=True, capture_output=True)
    one, other = (load_controlnet(path, Placement()) for path in (FOLDER, file))
    x, context = torch.randn(1, 16, 16, 16), torch.randn(1, 77, 192)
    hint = (torch.rand(1, 3, 512, 512) > 0.95).float()
    with torch.inference_mode():
        found = [net.residuals(x, torch.tensor([500]), context, net.encode_hint(hint)) for net in (one, other)]
    assert torch.equal(found[0].middle, found[1].middle)
    assert all(map(torch.equal, found[0].down, found[1].down))
    assert found[0].middle.abs().max() > 0
