"""Write the trained ControlNet: a folder for diffusers, and of it one file with LDM's names.

The file carries diffusers' configuration in its metadata (``config``), because tensor shapes do not tell everything
about the starter's networks (groups of the norms, heads). ``ControlNetModel.from_pretrained`` loads the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from control import build_controlnet
from diffusers import ControlNetModel
from evaluate import Checkpoint
from latents import WORK
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from easel.models.families.unet import shape_from_config

HINT = "controlnet_cond_embedding"


def ldm_modules(config: dict[str, object]) -> dict[str, str]:
    """Diffusers module name -> LDM module name, for all modules with weights of a ControlNet."""
    shape = shape_from_config(config, "ControlNet")
    table = {new: old for old, new in shape.names().items()}
    blocks = 2 * (len(config["conditioning_embedding_out_channels"]) - 1)
    table |= {f"{HINT}.conv_in": "input_hint_block.0", f"{HINT}.conv_out": f"input_hint_block.{2 * blocks + 2}"}
    table |= {f"{HINT}.blocks.{i}": f"input_hint_block.{2 * i + 2}" for i in range(blocks)}
    skips = sum(2 if level < len(shape.channels) - 1 else 1 for level in range(len(shape.channels))) + 1
    table |= {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(skips)}
    return table | {"controlnet_mid_block": "middle_block_out.0", "add_embedding": "add_embedding"}


def renamed(name: str, table: dict[str, str]) -> str:
    """A tensor's name with its longest leading module that ``table`` knows replaced; KeyError if it knows none."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        if head := table.get(".".join(parts[:cut])):
            return ".".join((head, *parts[cut:]))
    raise KeyError(name)


def write_ldm(net: ControlNetModel, file: Path) -> None:
    """The single file, half precision."""
    config = json.loads(net.to_json_string())
    table = ldm_modules(config)
    tensors = {
        f"control_model.{renamed(name, table)}": tensor.half().contiguous() for name, tensor in net.state_dict().items()
    }
    save_file(tensors, file, {"config": json.dumps(config), "format": "pt"})


def read_ldm(file: Path) -> ControlNetModel:
    """Such a file as diffusers' model."""
    with safe_open(file, framework="pt") as opened:
        config = json.loads(opened.metadata()["config"])
        tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    net = ControlNetModel.from_config(config)
    table = ldm_modules(config)
    net.load_state_dict({name: tensors[f"control_model.{renamed(name, table)}"] for name in net.state_dict()})
    return net


def main() -> None:
    """Make the folder of the training's state, or one form of the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="diffusers folder: written, or with --to-file read")
    parser.add_argument("--checkpoint", type=Path, help="folder of the checkpoint it was trained for")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--to-file", type=Path, help="write this file with LDM's names of the folder")
    parser.add_argument("--from-file", type=Path, help="write the folder of such a file")
    arguments = parser.parse_args()
    if arguments.to_file:
        write_ldm(ControlNetModel.from_pretrained(arguments.folder), arguments.to_file)
        return
    if arguments.from_file:
        net = read_ldm(arguments.from_file)
    else:
        net = build_controlnet(Checkpoint(arguments.checkpoint).unet)
        net.load_state_dict(torch.load(arguments.work / "controlnet.pt", weights_only=True)["net"])
    net.to(torch.float16).save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
