"""Networks from files: tiles without seams, foreign files, several architectures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from easel_extensions.upscale.nets import Net, load_net
from PIL import Image
from safetensors.torch import save_file

from easel import RefusedFile

SHIPPED = Path(__file__).parents[1] / "weights" / "R-ESRGAN AnimeVideo 4x.safetensors"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def disc(side: int) -> Image.Image:
    """A soft red disc on blue."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    inside = np.clip((0.36 - np.hypot(x, y)) * side / 2 + 0.5, 0, 1)[..., None]
    return Image.fromarray((inside * (220, 40, 40) + (1 - inside) * (40, 90, 200)).astype(np.uint8))


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def blurred(picture: Image.Image) -> int:
    """Pixels that are neither the disc's colour nor the ground's."""
    red = np.asarray(picture)[..., 0]
    return int(((red > 70) & (red < 190)).sum())


def test_it_sees_what_is_in_the_picture() -> None:
    large = load_net(SHIPPED, "cpu").enlarge(disc(48), 0, 0)
    smooth = disc(48).resize((192, 192), Image.Resampling.BICUBIC)
    assert large.size == (192, 192) and distance(large, disc(192)) < 8
    assert blurred(large) < 0.9 * blurred(smooth)


@pytest.mark.parametrize(("tile", "overlap"), [(32, 8), (24, 0), (1000, 8), (1, 0)])
def test_tiles_make_no_seams(tile: int, overlap: int) -> None:
    net = load_net(SHIPPED, "cpu")
    picture = disc(72).crop((0, 0, 72, 50))
    whole, tiled = net.enlarge(picture, 0, 0), net.enlarge(picture, tile, overlap)
    assert tiled.size == whole.size == (288, 200)
    assert distance(tiled, whole) < (1.0 if tile > 1 else 8.0)


def short_of_memory(most: int, net: Net) -> Net:
    """The network on a device that has room for tiles of up to `most` pixels."""

    def model(part: torch.Tensor) -> torch.Tensor:
        if part.shape[2] * part.shape[3] > most:
            raise torch.OutOfMemoryError
        return net.model(part)  # type: ignore[no-any-return]

    return Net(net.scale, model, net.device)


@pytest.mark.parametrize("tile", [0, 64, 1000])
def test_tiles_are_halved_where_memory_does_not_suffice(tile: int) -> None:
    net = load_net(SHIPPED, "cpu")
    picture = disc(72).crop((0, 0, 72, 50))
    tiled = short_of_memory(32 * 40, net).enlarge(picture, tile, 8)
    assert tiled.size == (288, 200) and distance(tiled, net.enlarge(picture, 0, 0)) < 1.0


def test_no_room_for_the_least_tile_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        short_of_memory(0, load_net(SHIPPED, "cpu")).enlarge(disc(72), 0, 8)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (8, 8)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert load_net(SHIPPED, "cpu").enlarge(Image.new("RGB", size, "green"), 32, 8).size == (4 * size[0], 4 * size[1])


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(RefusedFile, match=r"foreign\.safetensors holds no network that is known here"):
        load_net(tmp_path / "foreign.safetensors", "cpu")


def test_another_architecture(tmp_path: Path) -> None:
    from easel_extensions.upscale.nets import _without_torchvision

    with _without_torchvision():
        RRDBNet = import_module("spandrel.architectures.ESRGAN.__arch.RRDB").RRDBNet
    torch.manual_seed(0)
    save_file(RRDBNet(num_filters=8, num_blocks=1, scale=2).state_dict(), tmp_path / "esrgan.safetensors")
    net = load_net(tmp_path / "esrgan.safetensors", "cpu")
    assert net.scale == 2 and net.enlarge(disc(16), 0, 0).size == (32, 32)
