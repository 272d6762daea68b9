"""Train the autoencoder from nothing: deep compression, 512x512 pictures -> 16x16 cells of 16 channels.

Only RMS norms and convolutions, so what is learned on crops of 128 holds for whole pictures. bfloat16 autocast,
AdamW 1.5e-3 falling by a cosine, batches of 12 crops of 128 pixels, in the last fifth of the time 4 of 256; absolute
and squared error, the same of averages and of gradients at several sizes, noise of up to 0.25 on the latents, and a
little weight on their size. 46 minutes on one core gave the committed one (32.7 dB on whole pictures). Afterwards the
spread of the latents must be measured and written into ``autoencoder.py`` (``--measure``).
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from clock import Clock, write_state
from diffusers import AutoencoderDC
from latents import WORK
from pictures import load_subjects, paint
from PIL import Image
from subjects import COLOURS, wide_subjects
from torch import Tensor

PEAK = 1.5e-3
CROPS, LATE_CROPS = (12, 128), (4, 256)
NOISE, SIZE_WEIGHT = 0.25, 2e-3


def build_autoencoder() -> AutoencoderDC:
    """Eight million parameters, no attention."""
    return AutoencoderDC(
        in_channels=3,
        latent_channels=16,
        attention_head_dim=32,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(24, 24, 48, 96, 192, 192),
        decoder_block_out_channels=(24, 24, 48, 96, 192, 192),
        encoder_layers_per_block=(0, 1, 1, 2, 2, 1),
        decoder_layers_per_block=(0, 1, 2, 2, 2, 2),
        encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6,
        upsample_block_type="pixel_shuffle",
        downsample_block_type="pixel_unshuffle",
    ).to(memory_format=torch.channels_last)


class Crops:
    """Endless batches of crops of painted pictures, seeded."""

    def __init__(self, pictures: list[Image.Image], seed: int) -> None:
        self.pictures, self.draw = pictures, random.Random(seed)

    def next(self, count: int, edge: int) -> Tensor:
        """[count, 3, edge, edge] in -1..1."""
        rows = []
        for _ in range(count):
            colour = self.draw.choice(list(COLOURS.values()))
            size = self.draw.randint(368, 486)
            left, top = (self.draw.randint(-20, 532 - size) for _ in range(2))
            page = paint(self.draw.choice(self.pictures), colour, 512, size, left, top)
            y, x = (self.draw.randrange(0, 513 - edge, 8) for _ in range(2))
            rows.append(page[y : y + edge, x : x + edge])
        pixels = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels.to(memory_format=torch.channels_last)


def difference(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute and squared error, and that of gradients and averages at four sizes."""
    loss = F.l1_loss(made, wanted) + 0.5 * F.mse_loss(made, wanted)
    for _ in range(4):
        for axis in (2, 3):
            loss = loss + 0.5 * F.l1_loss(made.diff(dim=axis), wanted.diff(dim=axis))
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        loss = loss + 0.25 * F.l1_loss(made, wanted)
    return loss


def decibels(autoencoder: AutoencoderDC, pictures: list[Image.Image]) -> float:
    """Mean PSNR of eight whole pictures."""
    found = []
    for number, picture in enumerate(pictures[:: len(pictures) // 8][:8]):
        page = (
            torch.from_numpy(paint(picture, list(COLOURS.values())[number]).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        )
        with torch.inference_mode():
            made = autoencoder.decode(autoencoder.encode(page).latent).sample
        found.append(10 * math.log10(4 / F.mse_loss(made.clamp(-1, 1), page).item()))
    return sum(found) / len(found)


def main() -> None:
    """Train (resumable) and write a diffusers folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--minutes", type=float, default=46)
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--measure", action="store_true", help="only print the latents' deviations of the folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    labels = [label for label, _ in wide_subjects(arguments.work)]
    pictures = list(load_subjects(arguments.work, labels).values())
    if arguments.measure:
        autoencoder = AutoencoderDC.from_pretrained(arguments.to)
        with torch.inference_mode():
            latents = autoencoder.encode(Crops(pictures, 1).next(4, 512)).latent
        print([round(float(one), 2) for one in latents.std((0, 2, 3))])
        return
    autoencoder, step, spent = build_autoencoder(), 0, 0.0
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    file = arguments.work / "autoencoder.pt"
    if file.exists():
        state = torch.load(file, weights_only=True)
        autoencoder.load_state_dict(state["autoencoder"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    crops, clock, saved = Crops(pictures, step), Clock(arguments.minutes), spent

    def save() -> None:
        write_state(
            file,
            {
                "autoencoder": autoencoder.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "spent": clock.spent,
            },
        )

    clock.start(spent)
    while (progress := clock.tick()) < 1 and not clock.stop:
        wanted = crops.next(*(LATE_CROPS if progress > 0.8 else CROPS))
        with torch.autocast("cpu", torch.bfloat16):
            latents = autoencoder.encode(wanted).latent
            noisy = latents + torch.randn_like(latents) * NOISE * torch.rand(len(latents), 1, 1, 1)
            made = autoencoder.decode(noisy.contiguous(memory_format=torch.channels_last)).sample
        loss = difference(made.float(), wanted) + SIZE_WEIGHT * latents.float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * progress))
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 20 == 0:
            print(f"step {step} loss {loss.item():.4f} {clock.spent / 60:.1f} min", flush=True)
        if clock.spent - saved > 180:
            saved = clock.spent
            save()
    save()
    print(f"{decibels(autoencoder, pictures):.1f} dB on whole pictures")
    autoencoder.save_pretrained(arguments.to)


if __name__ == "__main__":
    main()
