"""The noise of one picture, drawn as A1111 draws it: from the picture's own seed, whatever else is in the batch.

The first draw is the initial latent noise, later ones are the sampler's. Sources: "GPU" (the torch generator of the
compute device), "CPU" (torch's on the CPU), "NV" (what "GPU" gives on NVIDIA hardware, computed anywhere).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from easel.errors import UnknownName

Source = Literal["GPU", "CPU", "NV"]
SOURCES: tuple[Source, ...] = ("GPU", "CPU", "NV")
Draw = Callable[[tuple[int, ...]], Tensor]
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRecipe:
    """What the noise of a picture depends on besides its shape.

    `resize_from`: (h, w) on the latent grid of A1111's "seed resize", None to draw at the picture's own size.
    `seed_delta`: A1111's ENSD, added to the seed for every draw after the first.
    """

    seed: int
    subseed: int = 0
    subseed_strength: float = 0.0
    resize_from: tuple[int, int] | None = None
    seed_delta: int = 0
    source: str = "GPU"


@dataclass(slots=True)
class PictureNoise:
    """The noise of one picture on `device`; a `NoiseSource`. `shape` is (C, h, w). Errors: UnknownName (source).

    Call `first` once, then `draw` as often as needed.
    """

    recipe: NoiseRecipe
    shape: Shape
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _draw: Draw = field(init=False)

    def __post_init__(self) -> None:
        self._draw = self._generator(self.recipe.seed)

    def first(self) -> Tensor:
        """The initial noise (1, C, h, w), with variation seed and seed resize applied."""
        recipe, small = self.recipe, self.shape
        if recipe.resize_from is not None:
            small = (self.shape[0], *recipe.resize_from)
        noise = (self._draw if small == self.shape else self._generator(recipe.seed))(small)
        if recipe.subseed_strength != 0:
            noise = slerp(recipe.subseed_strength, noise, self._generator(recipe.subseed)(small))
        if small != self.shape:
            noise = centred(noise, self._draw(self.shape))
        if recipe.seed_delta:
            self._draw = self._generator(recipe.seed + recipe.seed_delta)
        return noise[None].to(self.device)

    def draw(self) -> Tensor:
        """The next draw (1, C, h, w)."""
        return self._draw(self.shape)[None].to(self.device)

    def brownian(self, sigma_min: float, sigma_max: float) -> Callable[[float, float], Tensor]:
        """The picture's Brownian path over sigma; it depends on the seed alone, not on the draws before."""
        seed = _unsigned(self.recipe.seed)
        path = BrownianPath(seed, sigma_min, sigma_max, lambda word: self._generator(word)(self.shape)[None])
        return lambda sigma, after: path.increment(sigma, after).to(self.device)

    def _generator(self, seed: int) -> Draw:
        return generator(self.recipe.source, seed, self.device)


def generator(source: str, seed: int, device: torch.device) -> Draw:
    """Draws standard normal float32 tensors of a shape; each call gives the next ones. Errors: UnknownName."""
    if source not in SOURCES:
        raise UnknownName.among("randn_source", source, SOURCES)
    if source == "NV":
        return Philox(_unsigned(seed)).draw
    place = device if source == "GPU" else torch.device("cpu")
    torch_generator = torch.Generator(place).manual_seed(_unsigned(seed))
    return lambda shape: torch.randn(shape, generator=torch_generator, device=place)


def slerp(strength: float, low: Tensor, high: Tensor) -> Tensor:
    """Turn `low` toward `high` by `strength`, column by column of the (C, h, w) tensors.

    A1111's quirks, which its pictures depend on: the norms run along the height, and where both are nearly the same the
    straight mixture takes the strength the other way round.
    """
    unit = torch.linalg.vector_norm
    dot = (low / unit(low, dim=1, keepdim=True) * (high / unit(high, dim=1, keepdim=True))).sum(1)
    if dot.mean() > 0.9995:
        return low * strength + high * (1 - strength)
    angle = torch.acos(dot)
    parts = torch.sin((1 - strength) * angle), torch.sin(strength * angle)
    return (parts[0] / torch.sin(angle))[:, None] * low + (parts[1] / torch.sin(angle))[:, None] * high


def centred(small: Tensor, large: Tensor) -> Tensor:
    """`large` (C, H, W) with `small` (C, h, w) laid over its middle; what sticks out of it is cut off."""
    result = large.clone()
    (to_y, from_y), (to_x, from_x) = (_overlap(small.shape[axis], large.shape[axis]) for axis in (1, 2))
    result[:, to_y, to_x] = small[:, from_y, from_x]
    return result


def _overlap(small: int, large: int) -> tuple[slice, slice]:
    """Where `small` lands in `large`, and which part of it; halves are rounded as A1111 rounds them."""
    shift = (large - small) // 2
    length = small if shift >= 0 else small + 2 * shift
    to_start, from_start = max(shift, 0), max(-shift, 0)
    return slice(to_start, to_start + length), slice(from_start, from_start + length)


class Philox:
    """NVIDIA's normal numbers for a seed: Philox4x32-10 (Salmon et al. 2011) with the sine half of Box-Muller.

    The counter words are (number of the draw, 0, index of the element, 0), the key the seed's two halves.
    """

    def __init__(self, seed: int) -> None:
        self._key = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)
        self._draws = 0

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next draw, float32."""
        count = int(np.prod(shape))
        words = np.zeros((4, count), dtype=np.uint64)
        words[0], words[2] = self._draws, np.arange(count, dtype=np.uint64)
        self._draws += 1
        first, second = philox_rounds(words, self._key)[:2]
        return torch.from_numpy(box_muller(first, second)).reshape(shape)


def philox_rounds(words: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Ten rounds over counters (4, n) of 32-bit words, kept in 64 bits so that products fit."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a, b, c, d = words
    key_a, key_b = key
    for _ in range(10):
        product_a, product_c = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b = (product_c >> half) ^ b ^ np.uint64(key_a), product_c & low
        c, d = (product_a >> half) ^ d ^ np.uint64(key_b), product_a & low
        key_a, key_b = (key_a + 0x9E3779B9) & 0xFFFFFFFF, (key_b + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([a, b, c, d])


def box_muller(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Two 32-bit words to one normal number (n,), as curand's `_curand_box_muller` does in single precision."""
    unit = np.float32(2.0**-32)
    turn = np.float32(2.0**-32 * 2 * np.pi)
    u = first.astype(np.float32) * unit + unit / 2
    v = second.astype(np.float32) * turn + turn / 2
    normal: NDArray[np.float32] = np.sqrt(np.float32(-2.0) * np.log(u)) * np.sin(v)
    return normal


class BrownianPath:
    """A Brownian path W over [start, end] that is a function of its seed alone, not of where it was looked at.

    W is fixed by halving: the middle of an interval lies between its ends plus a normal number whose seed comes from
    the interval's place in the tree of halves, down to a millionth. The tree and its seeds are those of torchsde's
    BrownianTree, whose noise A1111's pictures are made with; this one can draw from any source.
    """

    def __init__(self, seed: int, start: float, end: float, normal: Callable[[int], Tensor]) -> None:
        self._seed, self._normal = seed, normal
        self._start, self._end = _to_millionth(start), _to_millionth(end)
        self._whole = normal(self._words(3)[0]) * (end - start) ** 0.5
        self._known: dict[float, Tensor] = {}

    def increment(self, origin: float, target: float) -> Tensor:
        """W(target) - W(origin), divided by the root of the distance so that its variance is 1."""
        change: Tensor = (self._at(target) - self._at(origin)) / abs(target - origin) ** 0.5
        return change

    def _at(self, time: float) -> Tensor:
        time = min(max(_to_millionth(time), self._start), self._end)
        if time not in self._known:
            if len(self._known) >= 4:  # a step looks at its own ends and middle, and at the end of the one before
                del self._known[next(iter(self._known))]
            self._known[time] = self._descend(time)
        return self._known[time]

    def _descend(self, time: float) -> Tensor:
        """W(time) by halving; `below` is W at the left end, `within` the increment over the interval."""
        left, right, place, depth = self._start, self._end, 0, 0
        below, within = torch.zeros_like(self._whole), self._whole
        while time not in (left, right):
            middle = _to_millionth((left + right) / 2)
            share = (middle - left) / (right - left)
            spread = ((middle - left) * (right - middle) / (right - left)) ** 0.5
            half = share * within + spread * self._normal(self._words(4, place, depth)[0])
            if time < middle:
                right, within, place = middle, half, 2 * place
            else:
                left, below, within, place = middle, below + half, within - half, 2 * place + 1
            depth += 1
        return below if time == left else below + within

    def _words(self, count: int, *spawn_key: int) -> list[int]:
        sequence = np.random.SeedSequence(self._seed, spawn_key=spawn_key, pool_size=24)
        return [int(word) for word in sequence.generate_state(count)]


def _to_millionth(time: float) -> float:
    return round(time, 6)


def _unsigned(seed: int) -> int:
    """A seed of any sign as 64 bits."""
    return seed & 0xFFFFFFFFFFFFFFFF
