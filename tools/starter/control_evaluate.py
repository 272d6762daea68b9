"""How well edges steer pictures: F1 of the pictures' own edges with the map's, within eight pixels, by weight.

The maps are of small subjects away from the middle, which words cannot ask for; the prompt names the subject.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from captions import with_article
from control import edges
from diffusers import ControlNetModel
from evaluate import Checkpoint
from latents import WORK
from pictures import load_subjects, paint
from sampling import sample
from sheet import decode, draw_sheet
from subjects import COLOURS, core, subjects

NEAR = 8


def agreement(found: np.ndarray, wanted: np.ndarray) -> float:
    """F1 of two edge maps [H, W]: shares of the one's pixels that lie within NEAR pixels of the other's."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1, 2 * NEAR + 1))
    hit = [(one[cv2.dilate(other, kernel) > 0] > 0).sum() / max(1, (one > 0).sum())
           for one, other in ((found, wanted), (wanted, found))]  # fmt: skip
    return float(2 * hit[0] * hit[1] / max(1e-9, hit[0] + hit[1]))


def main() -> None:
    """Draw, measure, print a JSON report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("control", type=Path, help="folder of the ControlNet")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--cfg", type=float, default=2.5)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint, net = (
        Checkpoint(arguments.checkpoint),
        ControlNetModel.from_pretrained(arguments.control, torch_dtype=torch.float32).eval(),
    )
    net.to(memory_format=torch.channels_last)
    chosen = sorted(core())[:: -(-64 // arguments.count)]
    labels = [subjects()[number][0] for number in chosen]
    names = [subjects()[number][1] for number in chosen]
    pictures = load_subjects(arguments.work, labels)
    places = [(30, 260), (250, 20), (20, 30), (270, 270)]
    maps = [edges(paint(pictures[label], COLOURS["white"], 512, 232, *places[i % 4])) for i, label in enumerate(labels)]
    wanted, empty = checkpoint.embed([with_article(name) for name in names]), checkpoint.embed([""])
    report, rows = {}, [(maps, "map")]
    for weight in (0.0, 0.5, 1.0):
        drawn = []
        for i, map_ in enumerate(maps):
            hint = torch.from_numpy(map_).float()[None, None].expand(2, 3, -1, -1) / 255

            def denoise(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor, hint=hint, weight=weight) -> torch.Tensor:
                down, middle = net(x, t, c, hint, conditioning_scale=weight, return_dict=False)
                return checkpoint.unet(
                    x, t, c, down_block_additional_residuals=down, mid_block_additional_residual=middle
                ).sample

            latents = sample(denoise, wanted[i : i + 1], empty, [4000 + i], 20, arguments.cfg)
            drawn += decode(checkpoint.autoencoder, latents)
        scores = [agreement(edges(np.asarray(one)), map_) for one, map_ in zip(drawn, maps, strict=True)]
        report[str(weight)] = {"mean_f1": round(float(np.mean(scores)), 3), "least": round(min(scores), 3)}
        rows.append((drawn, str(weight)))
    print(json.dumps({"maps": len(maps), "edge_agreement_by_weight": report}, indent=1))
    if arguments.sheet:
        from PIL import Image

        tiles, texts = [], []
        for i in range(min(8, len(maps))):
            for row, title in rows:
                one = row[i]
                tiles.append(Image.fromarray(one).convert("RGB") if isinstance(one, np.ndarray) else one)
                texts.append(f"{names[i]} {title}")
        draw_sheet(tiles, texts, arguments.sheet, columns=8)


if __name__ == "__main__":
    main()
