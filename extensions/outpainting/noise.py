"""Noise that looks like a picture: its spectrum, colours and randomness, for what is painted beyond its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_TINY = 1e-12


def matched_noise(picture: Array, mask: Array, fall_off: float, colors: float) -> Array:
    """(H, W, 3) and (H, W) in 0…1 → the picture, where the mask is 1 replaced by noise like the rest of it.

    `fall_off` is the power of the picture's spectrum that the noise gets (lower: more detail), `colors` how colourful
    it is before its levels are matched. The same every time.
    """
    hidden = mask[..., None]
    seen = picture * (1 - hidden)
    seen = seen / max(seen.max(), _TINY) + picture.mean() * hidden
    spectrum = _spectrum(seen)
    strength = np.abs(spectrum)
    shaped = np.abs(_spectrum(_smooth_noise(picture.shape, colors))) ** 2 * strength**fall_off
    noise = _picture(shaped * spectrum / np.maximum(strength, _TINY))
    noise -= noise.min()
    noise /= max(noise.max(), _TINY)
    where, reference = mask > 1e-6, mask < 1e-3
    if where.any() and reference.any():
        noise[where] = _with_levels_of(noise[where], picture[reference])
    return np.clip(picture * (1 - hidden) + noise * hidden, 0, 1)


def _smooth_noise(shape: tuple[int, ...], colors: float) -> Array:
    """White noise, its high frequencies damped, its colours blended towards grey."""
    noise = np.random.default_rng(0).random(shape)
    noise = noise * colors + noise.mean(axis=2, keepdims=True) * (1 - colors)
    sides = [(np.arange(side) / side * 2 - 1) * side / min(shape[:2]) for side in shape[:2]]
    window = 1 / ((sides[0][:, None] ** 2 + 1) * (sides[1][None] ** 2 + 1))
    return _picture(_spectrum(noise) * window[..., None])


def _spectrum(picture: Array) -> NDArray[np.complex128]:
    """Of each channel, the lowest frequency in the middle."""
    axes = (0, 1)
    found = np.fft.fft2(np.fft.fftshift(picture, axes), axes=axes, norm="ortho")
    return np.asarray(np.fft.ifftshift(found, axes))


def _picture(spectrum: NDArray[np.complex128]) -> Array:
    axes = (0, 1)
    found = np.fft.ifft2(np.fft.fftshift(spectrum, axes), axes=axes, norm="ortho")
    return np.array(np.fft.ifftshift(found, axes).real)


def _with_levels_of(values: Array, reference: Array) -> Array:
    """(N, 3) values with the distribution of (M, 3) ones, channel by channel, their order kept."""
    matched = np.empty_like(values)
    for channel in range(values.shape[1]):
        _, place, counts = np.unique(values[:, channel], return_inverse=True, return_counts=True)
        levels, level_counts = np.unique(reference[:, channel], return_counts=True)
        shares = np.cumsum(counts) / len(values)
        matched[:, channel] = np.interp(shares, np.cumsum(level_counts) / len(reference), levels)[place]
    return matched
