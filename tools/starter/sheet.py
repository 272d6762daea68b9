"""Decode latents and draw labelled contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from PIL import Image, ImageDraw


def decode(autoencoder: AutoencoderDC, latents: torch.Tensor) -> list[Image.Image]:
    """Latents [N, 16, 16, 16] -> N pictures of 512x512, one at a time to keep memory small."""
    pictures = []
    with torch.inference_mode():
        for one in latents:
            pixels = autoencoder.decode(one[None].contiguous(memory_format=torch.channels_last)).sample[0]
            array = ((pixels.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
            pictures.append(Image.fromarray(array))
    return pictures


def draw_sheet(
    pictures: list[Image.Image], labels: list[str], target: Path, columns: int = 10, edge: int = 128
) -> None:
    """Write a grid of pictures, each ``edge`` pixels wide with its label below; PNG or JPEG by the name."""
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * edge, rows * (edge + 14)), "white")
    pen = ImageDraw.Draw(page)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % columns * edge, index // columns * (edge + 14)
        page.paste(picture.resize((edge, edge), Image.Resampling.LANCZOS), (x, y))
        pen.text((x + 3, y + edge + 1), label[: edge // 6], fill="black")
    page.save(target, quality=85) if target.suffix == ".jpg" else page.save(target)
