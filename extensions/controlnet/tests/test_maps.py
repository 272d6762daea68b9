"""Preprocessors without weights, and how their maps come to a size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from easel_extensions.controlnet import maps
from easel_extensions.controlnet.fitting import fit, perfect_resolution


def run(name: str, picture: Any, resolution: int = 80, a: float = 0.5, b: float = 0.5, seed: int = 1) -> Any:
    return maps.RUN[name](picture, resolution, a, b, seed)


@pytest.mark.parametrize("name", sorted(maps.RUN))
def test_all_make_maps(name: str, drawing: Any) -> None:
    found = run(name, drawing, a=1.5)
    assert found.dtype == np.uint8
    assert found.shape[2] == 3
    assert np.array_equal(found, run(name, drawing, a=1.5))


def test_canny_is_opencvs_and_weaker_thresholds_find_more(drawing: Any) -> None:
    found = run("canny", drawing, a=100, b=200)
    assert found.shape == drawing.shape
    assert set(np.unique(found)) == {0, 255}
    counts = [np.count_nonzero(run("canny", drawing, a=a, b=b)) for a, b in ((1, 10), (100, 200), (200, 255))]
    assert counts == sorted(counts, reverse=True)
    assert np.array_equal(run("canny", drawing, a=200, b=100), found)  # either order


def test_the_short_side_is_the_resolution(drawing: Any) -> None:
    for name in ("canny", "threshold", "lineart_standard", "scribble_xdog", "blur_gaussian", "shuffle", "color"):
        assert min(run(name, drawing, 64, a=9).shape[:2]) == 64


def test_simple_ones(drawing: Any) -> None:
    assert np.array_equal(run("invert", run("invert", drawing)), drawing)
    assert np.array_equal(run("threshold", drawing, a=127)[..., 0] > 0, drawing.min(axis=2) > 127)
    assert run("tile_resample", drawing, a=2).shape == (40, 60, 3)
    assert np.array_equal(run("tile_resample", drawing, a=1), drawing)
    assert not np.array_equal(run("shuffle", drawing), run("shuffle", drawing, seed=2))
    assert run("recolor_intensity", drawing, a=1)[40, 40].tolist() == [255] * 3


@pytest.mark.parametrize("mode", ["Just Resize", "Crop and Resize", "Resize and Fill"])
@pytest.mark.parametrize("size", [(64, 64), (240, 160), (50, 120), (120, 80)])
def test_maps_come_to_any_size_and_edges_stay_thin(mode: str, size: tuple[int, int], drawing: Any) -> None:
    edges = run("canny", drawing, a=100, b=200)
    found = fit(edges, *size, mode)
    assert found.shape == (size[1], size[0], 3)
    assert set(np.unique(found)) <= {0, 255}
    white = np.count_nonzero(found[..., 0])
    assert 0 < white < 0.25 * found[..., 0].size


def test_fill_shows_the_whole_map_on_its_border_colour(drawing: Any) -> None:
    grey = np.full((40, 40, 3), 77, np.uint8)
    found = fit(grey, 80, 40, "Resize and Fill")
    assert (found == 77).all()
    masked = np.dstack([grey, np.zeros((40, 40), np.uint8)])
    filled = fit(masked, 80, 40, "Resize and Fill")[..., 3]
    assert (filled[:, :20] == 255).all()  # what is filled up is to be painted
    assert (filled[:, 20:60] == 0).all()


def test_classes_keep_their_colours() -> None:
    classes = np.zeros((30, 30, 3), np.uint8)
    classes[:10], classes[10:20] = (255, 0, 0), (0, 128, 0)
    found = fit(classes, 77, 77, "Just Resize")
    assert {tuple(colour) for colour in found.reshape(-1, 3)} == {(255, 0, 0), (0, 128, 0), (0, 0, 0)}


def test_pixel_perfect(drawing: Any) -> None:
    assert perfect_resolution(240, 160, drawing, "Crop and Resize") == 160
    assert perfect_resolution(120, 120, drawing, "Crop and Resize") == 120
    assert perfect_resolution(120, 120, drawing, "Resize and Fill") == 80
