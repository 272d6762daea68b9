"""Checkpoints to measure with: random float16 weights in the shapes of real ones, as diffusers folders.

What a forward pass costs does not depend on what the weights say. Both Easel and diffusers read such folders, so the
two run on the same files. They are written to a temporary folder and are gone when the benchmark ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TOKENIZER = Path(__file__).parent.parent / "starter" / "tokenizer"
STARTER = "starter"  # the name of the embedded checkpoint, which is there when no other is

_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "requires_safety_checker": False,
    **{name: [None, None] for name in ("safety_checker", "feature_extractor", "image_encoder")},
}
_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a Stable Diffusion 1 checkpoint; the rest is as published."""

    name: str
    unet: Mapping[str, Any]
    vae: tuple[int, ...]  # channels of the autoencoder's levels
    text: Mapping[str, Any]


SD15 = Shape(
    name="sd15",
    unet={"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768},
    vae=(128, 256, 512, 512),
    text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
)
TINY = Shape(  # 17 million parameters: handing out the work costs as much as the work
    name="tiny",
    unet={"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 64},
    vae=(32, 64, 128, 128),
    text={"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4},
)


@contextmanager
def data_folder(shape: Shape | None = None) -> Iterator[Path]:
    """A temporary data folder, with a random checkpoint of that shape or with none (then there is the starter)."""
    with TemporaryDirectory(prefix="easel-bench-") as name:
        if shape is not None:
            write_checkpoint(shape, checkpoint_in(Path(name), shape))
        yield Path(name)


def checkpoint_in(data: Path, shape: Shape) -> Path:
    """Where a data folder has the checkpoint of that shape."""
    return data / "models" / "Stable-diffusion" / shape.name


def write_checkpoint(shape: Shape, folder: Path) -> None:
    """Write a diffusers folder with random weights, always the same for the same shape."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, (module, config, file) in _modules(shape).items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        _save(
            {key: _random(key, tensor, generator) for key, tensor in module.state_dict().items()}, folder / name / file
        )
    shutil.copytree(TOKENIZER, folder / "tokenizer")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(_SCHEDULER))
    (folder / "model_index.json").write_text(json.dumps(_INDEX))


def unet_flops(shape: Shape, *, side: int, rows: int = 2, tokens: int = 77) -> float:
    """Floating-point operations of one forward pass of the denoiser for `rows` pictures of `side` x `side` pixels."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    unet = _modules(shape)["unet"][0]
    counter = FlopCounterMode(display=False)
    with counter, torch.device("meta"):
        context = torch.empty(rows, tokens, shape.unet["cross_attention_dim"])
        unet(torch.empty(rows, 4, side // 8, side // 8), torch.empty(rows), context)
    return float(counter.get_total_flops())


def _modules(shape: Shape) -> dict[str, tuple[nn.Module, dict[str, Any], str]]:
    """Component → (module without weights, its configuration, the name of its file)."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(**shape.text, hidden_act="quick_gelu")
    levels = len(shape.vae)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**shape.unet, attention_head_dim=8)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=shape.vae,
            layers_per_block=2,
            latent_channels=4,
        )
        clip = CLIPTextModel(text)
    weights = "diffusion_pytorch_model.safetensors"
    return {
        "unet": (unet, dict(unet.config), weights),
        "vae": (vae, dict(vae.config), weights),
        "text_encoder": (clip, text.to_dict(), "model.safetensors"),
    }


def _random(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Weights that keep the size of what passes through: no number overflows or becomes so small that it is slow."""
    import torch

    if not like.is_floating_point():
        return torch.arange(like.numel()).reshape(like.shape)  # position ids
    noise = torch.randn(like.shape, generator=generator)
    if like.dim() > 1:
        noise /= prod(like.shape[1:]) ** 0.5
    else:  # norms and biases, near what they begin training with
        noise = 0.05 * noise + float(name.endswith("weight"))
    return noise.to(torch.float16)


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, file, metadata={"format": "pt"})
