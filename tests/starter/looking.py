"""Looking at pictures: what subject, what background, how its edges lie."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

EDGE, NEAR = 32, 8  # pixels: of a thumbnail; by which edges may differ
HERE = Path(__file__).parent
WORDS = (HERE / "subjects.txt").read_text().split("\n")[:-1]
COLOURS = {
    "white": (255, 255, 255), "red": (217, 48, 48), "yellow": (250, 216, 72), "green": (72, 172, 88),
    "blue": (60, 116, 216), "purple": (134, 82, 190), "pink": (246, 162, 196), "black": (24, 24, 28),
    "lime": (168, 216, 40),
}  # fmt: skip


def decoded(text: str) -> Image.Image:
    """A picture of an answer."""
    return Image.open(BytesIO(base64.b64decode(text))).convert("RGB")


def encoded(picture: Image.Image) -> str:
    """A picture for a request."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def references(row: int = 0) -> np.ndarray:
    """The subjects [64, 32, 32, 4] in 0..1: solid (0) or flat (1)."""
    sheet = np.asarray(Image.open(HERE / "subjects.png").convert("RGBA"), np.float32)[row * EDGE : (row + 1) * EDGE]
    return sheet.reshape(EDGE, -1, EDGE, 4).transpose(1, 0, 2, 3) / 255


def background(picture: Image.Image) -> np.ndarray:
    """Mean colour [3] of the outermost 24 pixels."""
    pixels = np.asarray(picture, np.float32)
    outer = np.ones(pixels.shape[:2], bool)
    outer[24:-24, 24:-24] = False
    return pixels[outer].mean(0)


def background_name(picture: Image.Image) -> str:
    """The nearest colour's name."""
    found = background(picture)
    return min(COLOURS, key=lambda name: float(((found - COLOURS[name]) ** 2).sum()))


def distances(picture: Image.Image, row: int = 0) -> dict[str, float]:
    """How far the picture is from each subject painted on its own background, by word."""
    small = np.asarray(picture.resize((EDGE, EDGE), Image.Resampling.BOX), np.float32) / 255
    shapes = references(row)
    alpha = shapes[..., 3:]
    painted = shapes[..., :3] * alpha + (1 - alpha) * background(picture) / 255
    return dict(zip(WORDS, ((painted - small) ** 2).mean((1, 2, 3)).tolist(), strict=True))


def subject(picture: Image.Image) -> str:
    """The nearest subject's word."""
    found = distances(picture)
    return min(found, key=lambda word: found[word])


def painted(word: str, left: int, top: int, size: int) -> Image.Image:
    """A rough drawing: a subject from its thumbnail on a white page."""
    small = references()[WORDS.index(word)]
    shape = Image.fromarray((small * 255).astype(np.uint8), "RGBA").resize((size, size), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (512, 512), "white")
    page.paste(shape, (left, top), shape)
    return page


def agreement(picture: Image.Image, wanted: np.ndarray) -> float:
    """F1 of the picture's edges with a map of edges [H, W]: shares of each that lie within NEAR pixels of the other."""
    import cv2

    found = cv2.Canny(np.asarray(picture), 100, 200)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1, 2 * NEAR + 1))
    precision, recall = (
        float((cv2.dilate(other, kernel)[one > 0] > 0).mean()) if one.any() else 0.0
        for one, other in ((found, wanted), (wanted, found))
    )
    return 2 * precision * recall / max(1e-9, precision + recall)
