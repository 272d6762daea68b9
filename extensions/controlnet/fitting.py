"""Bring a map to the size of a picture without spoiling it: edges stay one pixel wide, colours of classes stay pure.

Maps are (H, W, 3) uint8, or (H, W, 4) with the mask of an inpainting map as the fourth channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.uint8]
_CLASSES = 200  # a map with fewer colours than this shows classes, not shades
# Structuring elements of a thinning: 1 must be set, -1 must not, 0 may be either; used in four turns.
_THIN = ([[-1, -1, -1], [0, 1, 0], [1, 1, 1]], [[0, -1, -1], [1, 1, -1], [0, 1, 0]])
_PRUNE = ([[-1, -1, -1], [-1, 1, -1], [0, 0, -1]], [[-1, -1, -1], [-1, 1, -1], [-1, 0, 0]])
_LINES = (  # a ridge is what is largest along one of these
    [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
    [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
)


def fit(found: Map, width: int, height: int, resize_mode: str) -> Map:
    """The map at width x height: stretched ("Just Resize"), cropped, or filled up with the colour of its border."""
    if resize_mode == "Just Resize":
        return _resized(found, width, height)
    ratios = height / found.shape[0], width / found.shape[1]
    factor: float = min(ratios) if resize_mode == "Resize and Fill" else max(ratios)
    inner = _resized(found, round(found.shape[1] * factor), round(found.shape[0] * factor))
    top, left = abs(inner.shape[0] - height) // 2, abs(inner.shape[1] - width) // 2
    if resize_mode != "Resize and Fill":
        return inner[top : top + height, left : left + width]
    edges = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    colour = np.median(edges, axis=0).astype(found.dtype)
    if len(colour) == 4:
        colour[3] = 255  # what is filled up is to be painted
    result = np.tile(colour, (height, width, 1))
    result[top : top + inner.shape[0], left : left + inner.shape[1]] = inner[:height, :width]
    return result


def perfect_resolution(width: int, height: int, picture: Map, resize_mode: str) -> int:
    """The short side at which a preprocessor sees a picture just as large as the result will be."""
    ratios = height / picture.shape[0], width / picture.shape[1]
    factor: float = min(ratios) if resize_mode == "Resize and Fill" else max(ratios)
    return round(factor * min(picture.shape[0], picture.shape[1]))


def _resized(found: Map, width: int, height: int) -> Map:
    if found.shape[1::-1] == (width, height):
        return found if found.shape[2] == 3 else np.dstack([found[..., :3], _hard(found[..., 3])])
    colours, size = found[..., :3], (max(1, width), max(1, height))
    smaller = width * height < colours.shape[0] * colours.shape[1]
    count = _colours(colours)
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    if 2 < count < _CLASSES:
        how = cv2.INTER_NEAREST
    result: Map = np.asarray(cv2.resize(colours, size, interpolation=how), dtype=np.uint8)
    if count == 2 and colours.min() < 16 and colours.max() > 240:
        grows = width * height > colours.shape[0] * colours.shape[1]
        result = _two_coloured(result, thin=_is_of_lines(colours), prune=grows)
    if found.shape[2] == 3:
        return result
    mask = np.asarray(cv2.resize(found[..., 3], size, interpolation=how), dtype=np.uint8)
    return np.dstack([result, _hard(mask)])


def _hard(mask: Map) -> Map:
    return np.where(mask > 127, 255, 0).astype(np.uint8)


def _colours(pixels: Map) -> int:
    """How many colours there are."""
    wide = pixels.astype(np.uint32)
    return len(np.unique(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]))


def _is_of_lines(pixels: Map) -> bool:
    """More than half of what is white vanishes when everything narrower than three pixels does."""
    kernel = np.ones((3, 3), np.uint8)
    thick = cv2.dilate(cv2.erode(pixels, kernel), kernel)
    return bool(2 * np.count_nonzero(thick < pixels) > np.count_nonzero(pixels > 127))


def _two_coloured(pixels: Map, *, thin: bool, prune: bool) -> Map:
    """Black and white again after resizing; lines one pixel wide again."""
    grey = pixels.astype(np.float32).mean(axis=2).clip(0, 255).astype(np.uint8)
    if thin:
        grey = _ridges(grey)
    _, sharp = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if thin:
        sharp = _thinned(np.asarray(sharp, dtype=np.uint8), prune)
    return np.repeat(np.asarray(sharp, dtype=np.uint8)[:, :, None], 3, axis=2)


def _ridges(grey: Map) -> Map:
    result = np.zeros_like(grey)
    for line in _LINES:
        largest = cv2.dilate(grey, np.array(line, np.uint8)) == grey
        result[largest] = grey[largest]
    return result


def _thinned(lines: Map, prune: bool) -> Map:
    """Thinning by hit-or-miss until nothing changes (at most 32 rounds); then ends are pruned once."""
    result = lines.copy()
    for _ in range(32):
        if not _without(result, _THIN):
            break
    if prune:
        _without(result, _PRUNE)
    return result


def _without(lines: Map, patterns: Sequence[Sequence[Sequence[int]]]) -> bool:
    """Take out, in place, what matches a pattern in one of its four turns; did anything?"""
    changed = False
    for turn in range(4):
        for pattern in patterns:
            kernel = np.ascontiguousarray(np.rot90(np.array(pattern, np.int32), turn))
            hits = cv2.morphologyEx(lines, cv2.MORPH_HITMISS, kernel) > 127
            changed |= bool(hits.any())
            lines[hits] = 0
    return changed
