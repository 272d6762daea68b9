"""Does the LoRA make pictures flat: how far they are from the flat and from the solid picture of their subject.

Mean squared difference at 32x32 pixels, both painted on the picture's own background.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from captions import with_article
from evaluate import Checkpoint, border_colour
from flat import load_flat
from latents import WORK
from pictures import load_subjects
from PIL import Image
from safetensors.torch import load_file
from sheet import draw_sheet
from subjects import core, subjects
from torch import nn


def merge(unet: nn.Module, file: Path, strength: float) -> None:
    """Add a kohya file's changes to the weights in place."""
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    for name, layer in unet.named_modules():
        key = f"lora_unet_{name.replace('.', '_')}"
        if f"{key}.alpha" not in tensors:
            continue
        down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
        change = (up.flatten(1) @ down.flatten(1)).view(layer.weight.shape) * tensors[f"{key}.alpha"] / len(down)
        with torch.no_grad():
            layer.weight += strength * change


def distance(picture: Image.Image, reference: Image.Image) -> float:
    """Of a picture from a subject's RGBA picture in the middle of its page."""
    page = Image.new("RGB", (512, 512), tuple(int(one) for one in border_colour(picture)))
    shape = reference.resize((432, 432), Image.Resampling.LANCZOS)
    page.paste(shape, (40, 40), shape)
    small = [np.asarray(one.resize((32, 32), Image.Resampling.BOX), np.float32) / 255 for one in (picture, page)]
    return float(((small[0] - small[1]) ** 2).mean())


def main() -> None:
    """Draw without and with, measure, print a JSON report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("lora", type=Path)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--cfg", type=float, default=2.5)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = Checkpoint(arguments.checkpoint)
    chosen = [subjects()[number] for number in sorted(core())[:: -(-64 // arguments.count)]]
    labels = [label for label, _ in chosen]
    texts = [f"{with_article(word)} on a blue background" for _, word in chosen]
    styles = {"solid": load_subjects(arguments.work, labels), "flat": load_flat(arguments.work, labels)}
    report, rows = {}, {}
    for strength in (0.0, 1.0):
        if strength:
            merge(checkpoint.unet, arguments.lora, strength)
        rows[strength] = checkpoint.draw(texts, list(range(len(texts))), 20, arguments.cfg)
        found = {
            style: [distance(one, pictures[label]) for one, label in zip(rows[strength], labels, strict=True)]
            for style, pictures in styles.items()
        }
        nearer = sum(flat < solid for flat, solid in zip(found["flat"], found["solid"], strict=True))
        report[f"weight {strength:g}"] = {
            "distance_to_flat": round(float(np.mean(found["flat"])), 4),
            "distance_to_solid": round(float(np.mean(found["solid"])), 4),
            "nearer_to_flat": f"{nearer} of {len(texts)}",
        }
    print(json.dumps(report, indent=1))
    if arguments.sheet:
        tiles = [rows[strength][i] for i in range(len(texts)) for strength in rows]
        draw_sheet(tiles, [f"{word} {strength:g}" for _, word in chosen for strength in rows], arguments.sheet, 8)


if __name__ == "__main__":
    main()
