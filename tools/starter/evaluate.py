"""Count what a checkpoint gets right: subjects by nearest neighbour, background colours, pairs, sizes, negatives.

``--suite core`` (the default) and ``wide`` are 100 prompts each over the first-learned subjects and over every twelfth
of all in code-point order.

Prompts read "a SUBJECT on a COLOUR background" with a colour the subject was never trained on (so no caption of the
evaluation was in the training). ``held-in`` is ``wide`` with colours it was trained on, but for every tenth prompt. A
picture's subject is right when, of all subjects painted on the picture's own background colour and moved by up to 32
pixels, the one nearest to it (mean squared difference at 32x32 pixels) is the prompted one. Its colour is right when
the mean of its outermost 24 pixels is nearest to the prompted colour among all thirteen.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from captions import LENGTH, load_tokenizer, with_article
from diffusers import AutoencoderDC, UNet2DConditionModel
from latents import WHOLE, WORK, keys, pairs
from pictures import load_subjects, read_names
from PIL import Image
from sampling import sample
from sheet import decode, draw_sheet
from subjects import COLOURS, core, subjects, wide_subjects
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


def wide_prompts(work: Path, held_in: bool = False) -> list[tuple[int, int, str]]:
    """The same for every twelfth of all subjects in code-point order, twelfths from 0 and then from 6: a hundred.

    ``held_in``: nine of ten in a colour that the subject was trained on.
    """
    names = wide_subjects(work)
    codes = {entry["label"]: entry["hexcode"] for entry in read_names(work)}
    order = sorted(range(len(names)), key=lambda number: codes[names[number][0]])
    trained = set(pairs(len(names)))
    encoded = keys(len(names))
    chosen = []
    for number, subject in enumerate([*order[::12], *order[6::12]][:COUNT]):
        if held_in and number % 10 < 9:
            colours = [colour for kind, one, colour in encoded if kind == WHOLE and one == subject]
        else:
            colours = [colour for colour in range(1, len(COLOURS)) if (subject, colour) not in trained]
        colour = colours[number % len(colours)]
        background = with_article(list(COLOURS)[colour])
        chosen.append((subject, colour, f"{with_article(names[subject][1])} on {background} background"))
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


def references(work: Path, labels: list[str], small: bool = False) -> np.ndarray:
    """Every subject as premultiplied RGBA thumbnails in 0..1, one pixel for 16: [S, 9, 32, 32, 4] moved by up to 32
    pixels; ``small``: [S, 9, 16, 16, 4] of half the size, moved by up to 16.
    """
    pictures = load_subjects(work, labels)
    edge, size, moves = (288, 208, (0, 1, 2)) if small else (576, 432, (0, 2, 4))
    result = []
    for label in labels:
        page = Image.new("RGBA", (edge, edge))
        margin = (edge - size) // 2
        page.paste(pictures[label].resize((size, size), Image.Resampling.LANCZOS), (margin, margin))
        pixels = np.asarray(page, np.float32) / 255
        pixels[..., :3] *= pixels[..., 3:]
        cells = edge // 16
        thumbnail = pixels.reshape(cells, 16, cells, 16, 4).mean((1, 3))
        cut = cells - moves[-1]
        result.append([thumbnail[y : y + cut, x : x + cut] for y in moves for x in moves])
    return np.asarray(result)


def coverage(picture: Image.Image) -> float:
    """Share of pixels clearly unlike the border's colour."""
    pixels = np.asarray(picture, np.float32)
    return float((np.abs(pixels - border_colour(picture)).max(-1) > 40).mean())


def ranking(picture: Image.Image, thumbnails: np.ndarray) -> np.ndarray:
    """Subject numbers, nearest first."""
    colour = border_colour(picture) / 255
    painted = thumbnails[..., :3] + (1 - thumbnails[..., 3:]) * colour
    cells = picture.width // 16
    small = np.asarray(picture, np.float32).reshape(cells, 16, cells, 16, 3).mean((1, 3)) / 255
    return np.asarray(((painted - small) ** 2).mean((2, 3, 4)).min(1).argsort())


def count_subjects(checkpoint: Checkpoint, arguments: argparse.Namespace) -> dict[str, object]:
    """The suites ``core`` (nearest of the listed subjects), ``wide`` and ``held-in`` (nearest of all)."""
    wide = arguments.suite != "core"
    names = wide_subjects(arguments.work) if wide else subjects()
    asked = wide_prompts(arguments.work, arguments.suite == "held-in") if wide else prompts()
    asked = asked[:: -(-len(asked) // arguments.count)]
    thumbnails = references(arguments.work, [label for label, _ in names])
    palette = np.asarray(list(COLOURS.values()), np.float32)
    pictures, right, near, coloured, misses = [], 0, 0, 0, []
    start = time.time()
    for first in range(0, len(asked), 10):
        part = asked[first : first + 10]
        seeds = [1000 + first + i for i in range(len(part))]
        drawn = checkpoint.draw([text for *_, text in part], seeds, arguments.steps, arguments.cfg)
        pictures += drawn
        for (subject, colour, text), picture in zip(part, drawn, strict=True):
            order = ranking(picture, thumbnails)
            right += int(order[0] == subject)
            near += int(subject in order[:5])
            ok = int(((palette - border_colour(picture)) ** 2).sum(1).argmin()) == colour
            coloured += ok
            if order[0] != subject or not ok:
                misses.append(f"{text}: looks like {names[order[0]][1]}{'' if ok else ', colour wrong'}")
    whole = time.time() - start
    if arguments.sheet:
        draw_sheet(pictures, [text.replace(" background", "") for *_, text in asked], arguments.sheet)
    return {
        "prompts": len(asked),
        "subject_right_percent": round(100 * right / len(asked), 1),
        "subject_in_first_five_percent": round(100 * near / len(asked), 1),
        "colour_right_percent": round(100 * coloured / len(asked), 1),
        "seconds_all": round(whole, 1),
        "misses": misses,
    }


def count_pairs(checkpoint: Checkpoint, arguments: argparse.Namespace) -> dict[str, object]:
    """ "A cat and a dog": each half's nearest of the listed subjects painted small."""
    names, learned, draw = subjects(), sorted(core()), random.Random(5)
    wanted = [draw.sample(learned, 2) for _ in range(min(arguments.count, 40))]
    texts = [" and ".join(with_article(names[subject][1]) for subject in pair) for pair in wanted]
    small = references(arguments.work, [label for label, _ in names], small=True)
    pictures, sides, both = [], 0, 0
    for first in range(0, len(texts), 10):
        seeds = [2000 + first + i for i in range(len(texts[first : first + 10]))]
        pictures += checkpoint.draw(texts[first : first + 10], seeds, arguments.steps, arguments.cfg)
    for pair, picture in zip(wanted, pictures, strict=True):
        halves = [picture.crop((x, 128, x + 256, 384)) for x in (0, 256)]
        found = [ranking(half, small)[0] == subject for half, subject in zip(halves, pair, strict=True)]
        sides, both = sides + sum(found), both + all(found)
    if arguments.sheet:
        draw_sheet(pictures, texts, arguments.sheet)
    return {"prompts": len(texts), "sides_right_percent": 50 * sides / len(texts), "both_right": both}


def count_sizes(checkpoint: Checkpoint, arguments: argparse.Namespace) -> dict[str, object]:
    """Tiny, plain and giant: the share of pixels unlike the border must grow."""
    names = [subjects()[number][1] for number in sorted(core())[:: -(-64 // min(arguments.count, 20))]]
    texts = [text.format(name) for name in names for text in ("a tiny {}", "a {}", "a giant {}")]
    pictures = []
    for first in range(0, len(texts), 12):
        part = texts[first : first + 12]
        pictures += checkpoint.draw(part, [3000 + first // 3] * len(part), arguments.steps, arguments.cfg)
    covered = np.asarray([coverage(picture) for picture in pictures]).reshape(-1, 3)
    if arguments.sheet:
        draw_sheet(pictures, texts, arguments.sheet, columns=9)
    return {
        "subjects": len(names),
        "mean_covered": covered.mean(0).round(3).tolist(),
        "tiny_smaller": int((covered[:, 0] < 0.7 * covered[:, 1]).sum()),
        "giant_larger": int((covered[:, 2] > 1.1 * covered[:, 1]).sum()),
    }


def count_negatives(checkpoint: Checkpoint, arguments: argparse.Namespace) -> dict[str, object]:
    """ "A SUBJECT" with a colour's background as negative prompt: how often that colour is the background."""
    names = [subjects()[number][1] for number in sorted(core())[:: -(-64 // min(arguments.count, 20))]]
    palette = np.asarray(list(COLOURS.values()), np.float32)
    white = {}
    for negative in ("", "white background"):
        pictures = checkpoint.draw([with_article(name) for name in names], list(range(len(names))), arguments.steps,
                                   arguments.cfg, negative)  # fmt: skip
        nearest = [int(((palette - border_colour(picture)) ** 2).sum(1).argmin()) for picture in pictures]
        white[negative or "none"] = nearest.count(0)
        if arguments.sheet:
            draw_sheet(pictures, names, arguments.sheet.with_stem(f"{arguments.sheet.stem}-{len(white)}"))
    return {"prompts": len(names), "white_backgrounds_by_negative_prompt": white}


SUITES = {
    "core": count_subjects, "wide": count_subjects, "held-in": count_subjects,
    "pairs": count_pairs, "sizes": count_sizes, "negatives": count_negatives,
}  # fmt: skip


def main() -> None:
    """Draw, count, print a JSON report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="checkpoint folder")
    parser.add_argument("--suite", choices=sorted(SUITES), default="core")
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
    report = SUITES[arguments.suite](checkpoint, arguments)
    report |= {name: getattr(arguments, name) for name in ("suite", "threads", "steps", "cfg")}
    print(json.dumps(report, indent=1))
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
