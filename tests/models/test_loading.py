"""Loading: offline, with what is wrong named; precision, separate VAEs, tiling; and files of full size."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from easel.errors import RefusedFile
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.families.family import PictureSize
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement, choose_placement, cpu_has_bf16
from easel.models.store import CheckpointInfo, ModelStore
from easel.models.weights import load_vae

from . import ldm_files
from .ldm_files import Recipe


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> LoadedCheckpoint:
    return load_checkpoint(ModelStore(tmp_path_factory.mktemp("empty")).starter(), Placement())


LOAD_OFFLINE = """
import socket, sys
from pathlib import Path
def refuse(*args, **kwargs):
    raise AssertionError("the network was used")
socket.getaddrinfo = socket.socket.connect = socket.create_connection = refuse
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import ModelStore
store = ModelStore(Path(sys.argv[1]))
for name in ("tiny", "starter"):
    model = load_checkpoint(store.checkpoint(name), Placement())
    print(name, tuple(model.encode_texts(["a cute cat"]).context.shape))
"""


def test_nothing_is_asked_of_the_network(tiny_data: Path, tmp_path: Path) -> None:
    """In a process without any cache of a hub, and none forbidden by environment variables."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    env |= {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_OFFLINE, tiny_data], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["tiny (1, 77, 64)", "starter (1, 77, 192)"]
    assert list(tmp_path.iterdir()) == []  # no cache of a hub was begun either


def test_the_starter_decodes_what_it_encodes(starter: LoadedCheckpoint) -> None:
    ramp = torch.linspace(-0.8, 0.8, 128)
    picture = torch.stack([ramp.expand(128, 128), ramp[:, None].expand(128, 128), torch.zeros(128, 128)])[None]
    latents = starter.encode_pixels(picture)
    assert latents.shape == (1, 16, 4, 4)
    assert (starter.decode_latents(latents) - picture).abs().mean() < 0.05


def test_latent_statistics_of_a_card_are_used(starter: LoadedCheckpoint) -> None:
    from dataclasses import replace

    format_with = replace(starter.latent, mean=(0.5,) * 16, std=(2.0,) * 16)
    changed = LoadedCheckpoint(
        info=starter.info,
        family=starter.family,
        blueprint=replace(starter.blueprint, latent=format_with),
        prediction=starter.prediction,
        unet=starter.unet,
        vae=starter.vae,
        texts=starter.texts,
        placement=starter.placement,
    )
    z = torch.randn(1, 16, 2, 2)
    torch.testing.assert_close(changed.to_model(z), (z - 0.5) / 2)
    torch.testing.assert_close(changed.from_model(changed.to_model(z)), z)
    torch.testing.assert_close(starter.from_model(starter.to_model(z)), z)


def test_a_separate_vae_replaces_the_own_one_and_goes_again(tiny: LoadedCheckpoint, tiny_store: ModelStore) -> None:
    other = tiny_store.vae("othervae", tiny_store.checkpoint("tiny"))
    assert other is not None
    latents = torch.randn(1, 4, 8, 8)
    own = tiny.decode_latents(latents)
    tiny.set_vae(other.path)
    assert not torch.allclose(tiny.decode_latents(latents), own)
    tiny.set_vae(None)
    assert torch.equal(tiny.decode_latents(latents), own)


def test_a_vae_file_may_carry_the_checkpoints_prefix_or_diffusers_names(
    tiny: LoadedCheckpoint, tiny_store: ModelStore, tmp_path: Path
) -> None:
    own = {name: tensor.contiguous() for name, tensor in tiny.vae.state_dict().items()}
    save_file(own, tmp_path / "diffusers.safetensors")
    for path in (tiny_store.checkpoint("tiny").path, tmp_path / "diffusers.safetensors"):
        loaded = load_vae(path, Placement()).state_dict()
        assert loaded.keys() == own.keys()
        assert all(torch.equal(loaded[name], own[name]) for name in own)


def test_tiling_wraps_around_the_edges(tiny: LoadedCheckpoint) -> None:
    """With circular convolutions a picture shifted around its edges decodes to the shifted picture."""
    latents = torch.randn(1, 4, 8, 8)
    shifted = torch.roll(latents, (2, 3), dims=(2, 3))
    plain = tiny.decode_latents(latents)
    assert not torch.allclose(tiny.decode_latents(shifted), torch.roll(plain, (16, 24), dims=(2, 3)), atol=1e-3)
    tiny.set_tiling(True)
    tiled = tiny.decode_latents(latents)
    torch.testing.assert_close(
        tiny.decode_latents(shifted), torch.roll(tiled, (16, 24), dims=(2, 3)), atol=1e-3, rtol=1e-3
    )
    tiny.set_tiling(False)
    assert torch.equal(tiny.decode_latents(latents), plain)


def test_bfloat16_is_near_float32(tiny: LoadedCheckpoint, tiny_store: ModelStore) -> None:
    half = load_checkpoint(tiny.info, Placement(torch.device("cpu"), torch.bfloat16, torch.bfloat16))
    assert {tensor.dtype for tensor in half.unet.state_dict().values()} == {torch.bfloat16}
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    context = tiny.encode_texts(["a red fox"]).context
    expected, found = tiny.predict(x, t, context), half.predict(x, t, half.encode_texts(["a red fox"]).context)
    assert found.dtype == torch.float32
    assert (found - expected).norm() / expected.norm() < 0.05


def test_an_overflowing_half_precision_vae_is_switched_to_float32(tiny_store: ModelStore) -> None:
    model = load_checkpoint(tiny_store.checkpoint("tiny"), Placement(torch.device("cpu"), torch.float32, torch.float16))
    model.vae.decoder.conv_in.bias.fill_(60000)
    model.vae.decoder.conv_norm_out.weight.fill_(60000)
    picture = model.decode_latents(torch.randn(1, 4, 8, 8))
    assert torch.isfinite(picture).all()
    assert model.vae.dtype == torch.float32


def test_so_it_is_when_it_overflows_while_it_encodes(tiny_store: ModelStore) -> None:
    model = load_checkpoint(tiny_store.checkpoint("tiny"), Placement(torch.device("cpu"), torch.float32, torch.float16))
    model.vae.encoder.conv_in.bias.fill_(60000)
    model.vae.encoder.conv_norm_out.weight.fill_(60000)
    latents = model.encode_pixels(torch.randn(2, 3, 64, 64))
    assert torch.isfinite(latents).all() and latents.shape == (2, 4, 8, 8)
    assert model.vae.dtype == torch.float32


def test_precision_follows_the_processor_and_the_flags(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    for line, has in (
        ("flags\t\t: fpu avx512f avx512_bf16", True),
        ("Features : fp asimd bf16", True),
        ("flags : avx2", False),
    ):
        info.write_text(f"processor : 0\n{line}\n")
        assert cpu_has_bf16(info) is has
    assert not cpu_has_bf16(tmp_path / "none")
    full = choose_placement("cpu", no_half=True)
    assert (full.dtype, full.vae_dtype) == (torch.float32, torch.float32)
    assert choose_placement("cpu", no_half_vae=True).vae_dtype == torch.float32


def test_no_weights_stay_behind_on_the_meta_device(tiny: LoadedCheckpoint, starter: LoadedCheckpoint) -> None:
    for model in (tiny, starter):
        for module in (model.unet, model.vae, *model.texts.modules):
            assert not [name for name, tensor in module.named_parameters() if tensor.is_meta]
            assert not [name for name, tensor in module.named_buffers() if tensor.is_meta]


def test_a_file_cut_off_after_it_was_listed_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((tiny_data / "models/Stable-diffusion/tiny.safetensors").read_bytes())
    info = CheckpointInfo(kind="checkpoint", name="cut", filename=path.name, path=path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(RefusedFile, match=r"cut\.safetensors: the file is cut off"):
        load_checkpoint(info, Placement())


def test_float8_files_load(tiny_data: Path, tmp_path: Path) -> None:
    state = load_file(tiny_data / "models/Stable-diffusion/tiny.safetensors")
    path = tmp_path / "small.safetensors"
    save_file({name: t.to(torch.float8_e4m3fn) if t.is_floating_point() else t for name, t in state.items()}, path)
    model = load_checkpoint(CheckpointInfo(kind="checkpoint", name="s", filename="s", path=path), Placement())
    assert np.isfinite(model.predict(torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 64)).numpy()).all()


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("recipe", [ldm_files.FULL_SD15, ldm_files.FULL_SDXL], ids=["SD1.5", "SDXL"])
def test_a_full_size_file_runs_offline_within_24_gib(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    path = ldm_files.write(tmp_path / "full.safetensors", recipe.shapes())
    (info,) = ModelStore(_data_with(path, tmp_path)).checkpoints()
    model = load_checkpoint(info, choose_placement("cpu"))
    path.unlink()
    texts = model.encode_texts(["a cute cat", ""])
    vector = model.vector(texts, PictureSize(width=128, height=64))
    latents = torch.randn(1, 4, 8, 16)
    for step in (999.0, 500.0):
        output = model.predict(latents.expand(2, -1, -1, -1), torch.tensor([step, step]), texts.context, vector)
        latents = latents - 0.1 * output[:1]
    assert torch.isfinite(model.decode_latents(latents)).all()
    assert psutil.Process().memory_info().rss < 24 * 2**30


def _data_with(path: Path, folder: Path) -> Path:
    place = folder / "data/models/Stable-diffusion"
    place.mkdir(parents=True)
    (place / path.name).symlink_to(path)
    return folder / "data"
