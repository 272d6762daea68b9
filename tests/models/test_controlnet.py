"""ControlNets of both spellings against diffusers' own model, and in the UNet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file

from easel.errors import RefusedFile
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.controlnet import ControlNet, add, load_controlnet, scale
from easel.models.placement import Placement
from easel.models.store import ModelStore


@pytest.fixture(scope="module")
def file(tiny_store: ModelStore) -> Path:
    return tiny_store.find("controlnet", "control_v11p_sd15_canny").path


@pytest.fixture(scope="module")
def oracle(file: Path) -> ControlNetModel:
    model = ControlNetModel(
        block_out_channels=(32, 64, 128, 128), cross_attention_dim=64, attention_head_dim=8, layers_per_block=2
    )
    state = load_file(file)
    model.load_state_dict(single_file_utils.convert_controlnet_checkpoint(state, dict(model.config)))
    return model.eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 64, generator=generator)
    return x, torch.tensor([10.0, 900.0]), context, torch.rand(2, 3, 64, 64, generator=generator)


def check(net: ControlNet, oracle: ControlNetModel) -> None:
    x, t, context, hint = inputs()
    with torch.inference_mode():
        down, middle = oracle(x, t, context, hint, return_dict=False)
    found = net.residuals(x, t, context, net.encode_hint(hint))
    assert len(found.down) == len(down) == 12
    for one, other in zip((*found.down, found.middle), (*down, middle), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_an_ldm_file_computes_what_diffusers_does(file: Path, oracle: ControlNetModel) -> None:
    check(load_controlnet(file, Placement()), oracle)


def test_a_file_with_diffusers_names_and_no_configuration_loads(oracle: ControlNetModel, tmp_path: Path) -> None:
    save_file(oracle.state_dict(), tmp_path / "net.safetensors")
    check(load_controlnet(tmp_path / "net.safetensors", Placement()), oracle)


def test_a_diffusers_folder_loads_with_its_configuration(oracle: ControlNetModel, tmp_path: Path) -> None:
    """The starter's needs it: its sizes alone would not tell how it is put together."""
    oracle.save_pretrained(tmp_path / "models/ControlNet/style/my-net")
    store = ModelStore(tmp_path)
    found, _ = store.files("controlnet")  # the other is the starter's
    assert (found.name, found.refused_reason) == ("style/my-net", None)
    check(load_controlnet(found.path, Placement()), oracle)
    assert store.old_hash(found) == ""


def test_residuals_steer_the_denoiser_by_their_weights(tiny: LoadedCheckpoint, file: Path) -> None:
    net = load_controlnet(file, Placement())
    x, t, context, hint = inputs()
    full = net.residuals(x, t, context, net.encode_hint(hint))
    plain = tiny.predict(x, t, context)
    steered = tiny.predict(x, t, context, residuals=full)
    assert not torch.allclose(steered, plain)
    assert torch.equal(tiny.predict(x, t, context, residuals=scale(full, [0.0] * 13)), plain)
    halves = scale(full, [0.5] * 13)
    torch.testing.assert_close(tiny.predict(x, t, context, residuals=add(halves, halves)), steered)


def test_other_files_are_no_controlnets(tiny_store: ModelStore) -> None:
    with pytest.raises(RefusedFile, match=r"tiny\.safetensors: not a ControlNet"):
        load_controlnet(tiny_store.checkpoint("tiny").path, Placement())
