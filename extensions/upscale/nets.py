"""Upscaling networks: any safetensors file whose architecture spandrel knows, run in overlapping tiles.

Nothing here is imported before a picture is upscaled with a network.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from easel import NotAvailable, RefusedFile

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

_MULTIPLE = 8  # a tile's sides: what windowed attention and strided convolutions ask for


@dataclass(frozen=True, slots=True)
class Net:
    """A loaded network; `scale` is its factor."""

    scale: int
    model: Any  # spandrel's ImageModelDescriptor
    device: str

    def enlarge(self, picture: Pixels, tile: int, overlap: int) -> Pixels:
        """An RGB picture `scale` times as large; `tile` and `overlap` in its own pixels, 0: in one piece.

        Overlapping parts are blended linearly, so that no seams show. Where memory does not suffice, tiles are halved.
        """
        import torch

        while True:
            try:
                return self._in_tiles(picture, tile, overlap)
            except torch.OutOfMemoryError:
                whole = max(picture.size)
                tile = min(tile or whole, whole) // 2
                if tile < _MULTIPLE:
                    raise
            torch.cuda.empty_cache()  # after the error, which holds the tensors, is gone; nothing without a GPU

    def _in_tiles(self, picture: Pixels, tile: int, overlap: int) -> Pixels:
        import torch

        pixels = torch.from_numpy(np.array(picture.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]
        height, width = pixels.shape[2:]
        total = torch.zeros(1, 3, height * self.scale, width * self.scale)
        weights = torch.zeros(1, 1, height * self.scale, width * self.scale)
        with torch.inference_mode():
            for top, bottom in _spans(height, tile, overlap):
                for left, right in _spans(width, tile, overlap):
                    part = self.model(pixels[..., top:bottom, left:right].to(self.device)).float().cpu()
                    ramp = _ramp(bottom - top, overlap, self.scale)[:, None] * _ramp(right - left, overlap, self.scale)
                    where = (
                        ...,
                        slice(top * self.scale, bottom * self.scale),
                        slice(left * self.scale, right * self.scale),
                    )
                    total[where] += part * ramp
                    weights[where] += ramp
        values = (total / weights).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Pillow.fromarray(values[0].permute(1, 2, 0).numpy())


def load_net(path: Path, device: str) -> Net:
    """The upscaling network in a file. Errors: as of `described`."""
    model = described(path)
    return Net(model.scale, model.to(device).eval().float(), device)


def described(path: Path) -> Any:
    """The network in a file as spandrel describes it. Errors: RefusedFile (unknown to it), NotAvailable (no spandrel).

    Architectures of spandrel-extra-arches, CodeFormer among them, are known where that package is installed.
    """
    from safetensors.torch import load_file

    try:
        with _without_torchvision():
            from spandrel import ImageModelDescriptor, ModelLoader

            with suppress(ImportError):
                from spandrel_extra_arches import install

                install(ignore_duplicates=True)
    except ImportError as error:
        raise NotAvailable(f"{path.name} needs spandrel: pip install --no-deps spandrel einops ({error})") from error
    try:
        model = ModelLoader().load_from_state_dict(load_file(path))
    except Exception as error:  # spandrel's own kinds, and whatever a foreign file makes an architecture raise
        raise RefusedFile(f"{path.name} holds no network that is known here ({type(error).__name__})") from error
    if not isinstance(model, ImageModelDescriptor) or model.input_channels != 3 or model.output_channels != 3:
        raise RefusedFile(f"{path.name} holds a network that does not turn RGB pictures into RGB pictures")
    return model


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along one side; all of one size, the last moved back to end with the side."""
    tile = max(_MULTIPLE, tile // _MULTIPLE * _MULTIPLE) if tile else length
    if length <= tile:
        return [(0, length)]
    step = max(_MULTIPLE, tile - overlap)
    starts = [*range(0, length - tile, step), length - tile]
    return [(start, start + tile) for start in starts]


def _ramp(length: int, overlap: int, scale: int) -> Any:
    """Weights (length * scale,): 1 in the middle, falling towards both ends over the overlap, never 0."""
    import torch

    place = torch.arange(length * scale) + 0.5
    edge = torch.minimum(place, length * scale - place) / max(1, overlap * scale)
    return edge.clamp(max=1.0)


@contextmanager
def _without_torchvision() -> Iterator[None]:
    """Let spandrel be imported without torchvision, whose build must fit torch's to the version.

    It imports three names of it: two for LaMa, which does not work then and is no upscaler, and `normalize`.
    """
    try:
        import torchvision.transforms.functional  # noqa: F401

        yield
        return
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        broken = [name for name in sys.modules if name.partition(".")[0] == "torchvision"]
        for name in broken:
            del sys.modules[name]
    package, transforms, functional = (
        ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    )
    vars(functional).update(
        InterpolationMode=enum.Enum("InterpolationMode", "NEAREST BILINEAR"), rotate=None, normalize=_normalize
    )
    stand_ins = {one.__name__: one for one in (package, transforms, functional)}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _normalize(pixels: Any, mean: list[float], std: list[float]) -> Any:
    """torchvision's, of (…, C, H, W)."""
    import torch

    column = pixels.new_tensor([mean, std])[..., None, None]
    return torch.sub(pixels, column[0]) / column[1]
