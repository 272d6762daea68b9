"""Count what a checkpoint gets right: 100 prompts, subject by nearest neighbour, background colour, seconds a picture.

Prompts read "a SUBJECT on a COLOUR background" with a colour the subject was never trained on (so no caption of the
evaluation was in the training). A picture's subject is right when, of all subjects painted on the picture's own
background colour and moved by up to 32 pixels, the one nearest to it (mean squared difference at 32x32 pixels) is the
prompted one. Its colour is right when the mean of its outermost 24 pixels is nearest to the prompted colour among all
thirteen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from captions import LENGTH, load_tokenizer, with_article
from diffusers import AutoencoderDC, UNet2DConditionModel
from latents import WORK, pairs
from pictures import load_subjects
from PIL import Image
from sampling import sample
from sheet import decode, draw_sheet
from subjects import COLOURS, core, subjects
from transformers import CLIPTextModel

COUNT = 100


def prompts() -> list[tuple[int, int, str]]:
    """(subject, colour, prompt) of the hundred: the core subjects in turn, each with colours held out for it."""
    trained = set(pairs(len(subjects())))
    chosen = []
    learned = sorted(core())
    for number in range(COUNT):
        subject = learned[number % len(learned)]
        held_out = [colour for colour in range(1, len(COLOURS)) if (subject, colour) not in trained]
        colour = held_out[(number + number // len(learned)) % len(held_out)]
        name = list(COLOURS)[colour]
        chosen.append((subject, colour, f"{with_article(subjects()[subject][1])} on {with_article(name)} background"))
    return chosen


class Checkpoint:
    """The networks of a diffusers folder, in float32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_tokenizer(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
        self.unet.to(memory_format=torch.channels_last)
        self.autoencoder = AutoencoderDC.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
        self.autoencoder.to(memory_format=torch.channels_last)
        self.scale = json.loads((folder / "card.json").read_text())["latent_scaling_factor"]

    def embed(self, texts: list[str]) -> torch.Tensor:
        """Prompt embeddings [N, 77, C]."""
        rows = self.tokenizer(
            texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            return self.text(rows).last_hidden_state

    def draw(self, texts: list[str], seeds: list[int], steps: int, cfg: float, negative: str = "") -> list[Image.Image]:
        """One 512x512 picture for each text and seed."""
        wanted = self.embed(texts)
        plain = self.embed([negative]).expand_as(wanted)
        latents = sample(lambda x, t, c: self.unet(x, t, c).sample, wanted, plain, seeds, steps, cfg)
        return decode(self.autoencoder, latents / self.scale)


def border_colour(picture: Image.Image) -> np.ndarray:
    """Mean colour [3] of the outermost 24 pixels."""
    pixels = np.asarray(picture, np.float32)
    outer = np.ones(pixels.shape[:2], bool)
    outer[24:-24, 24:-24] = False
    return pixels[outer].mean(0)


def references(work: Path) -> np.ndarray:
    """Every subject, 9 positions, as premultiplied RGBA thumbnails [S, 9, 32, 32, 4] in 0..1."""
    names = [label for label, _ in subjects()]
    pictures = load_subjects(work, names)
    result = []
    for name in names:
        page = Image.new("RGBA", (576, 576))
        page.paste(pictures[name].resize((432, 432), Image.Resampling.LANCZOS), (72, 72))
        pixels = np.asarray(page, np.float32) / 255
        pixels[..., :3] *= pixels[..., 3:]
        small = pixels.reshape(36, 16, 36, 16, 4).mean((1, 3))
        result.append([small[y : y + 32, x : x + 32] for y in (0, 2, 4) for x in (0, 2, 4)])
    return np.asarray(result)


def ranking(picture: Image.Image, thumbnails: np.ndarray) -> np.ndarray:
    """Subject numbers, nearest first."""
    colour = border_colour(picture) / 255
    painted = thumbnails[..., :3] + (1 - thumbnails[..., 3:]) * colour
    small = np.asarray(picture, np.float32).reshape(32, 16, 32, 16, 3).mean((1, 3)) / 255
    return np.asarray(((painted - small) ** 2).mean((2, 3, 4)).min(1).argsort())


def main() -> None:
    """Draw, count, print a JSON report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="checkpoint folder")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=COUNT, help="only so many prompts, spread over the hundred")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (.png or .jpg)")
    parser.add_argument("--report", type=Path, help="write the numbers as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    checkpoint = Checkpoint(arguments.folder)
    asked = prompts()[:: -(-COUNT // arguments.count)]
    thumbnails = references(arguments.work)
    palette = np.asarray(list(COLOURS.values()), np.float32)
    pictures, right, near, coloured = [], 0, 0, 0
    misses = []
    start = time.time()
    for first in range(0, len(asked), 10):
        part = asked[first : first + 10]
        drawn = checkpoint.draw(
            [text for *_, text in part], [1000 + first + i for i in range(len(part))], arguments.steps, arguments.cfg
        )
        pictures += drawn
        for (subject, colour, text), picture in zip(part, drawn, strict=True):
            order = ranking(picture, thumbnails)
            right += int(order[0] == subject)
            near += int(subject in order[:5])
            ok = int(((palette - border_colour(picture)) ** 2).sum(1).argmin()) == colour
            coloured += ok
            if order[0] != subject or not ok:
                misses.append(f"{text}: looks like {subjects()[order[0]][1]}{'' if ok else ', colour wrong'}")
    whole = time.time() - start
    start = time.time()
    checkpoint.draw(["a cat on a blue background"], [0], 20, 5.0)
    report = {
        "prompts": len(asked),
        "subject_right_percent": round(100 * right / len(asked), 1),
        "subject_in_first_five_percent": round(100 * near / len(asked), 1),
        "colour_right_percent": round(100 * coloured / len(asked), 1),
        "seconds_one_picture_20_steps_cfg_5": round(time.time() - start, 2),
        "seconds_all": round(whole, 1),
        "threads": arguments.threads,
        "steps": arguments.steps,
        "cfg": arguments.cfg,
        "misses": misses,
    }
    print(json.dumps(report, indent=1))
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    if arguments.sheet:
        draw_sheet(pictures, [text.replace(" background", "") for *_, text in asked], arguments.sheet)


if __name__ == "__main__":
    main()
