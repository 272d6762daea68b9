"""Headers and configurations that anybody may have made: every one is read or refused in words, never a crash."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from easel.errors import EaselError
from easel.models.families import read_checkpoint
from easel.models.layout import Layout, read_layout
from easel.models.loading import load_checkpoint
from easel.models.placement import Placement
from easel.models.store import STARTER, CheckpointInfo, ModelStore

from . import ldm_files

NONSENSE: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    7,
    129,
    10**9,
    1.5,
    float("nan"),
    "x",
    [],
    [[]],
    [0, 0],
    [10**6] * 3,
    {},
    True,
)


def mutated_shapes(layout: Layout, rng: random.Random) -> Layout:
    """Some tensors gone, some with other shapes."""
    tensors = dict(layout.tensors)
    for name in rng.sample(sorted(tensors), rng.randint(1, 40)):
        if rng.random() < 0.5:
            del tensors[name]
        else:
            shape = tuple(rng.choice((0, 1, 3, 64, 10**6)) for _ in range(rng.randint(0, 5)))
            tensors[name] = replace(tensors[name], shape=shape)
    return Layout(layout.label, tensors)


def survives(work: Callable[[], object]) -> bool:
    """It worked; False when it was refused in our own words."""
    try:
        work()
    except EaselError as error:
        assert error.message
        return False
    return True


@pytest.mark.parametrize("recipe", [ldm_files.SD1, ldm_files.SD2, ldm_files.SDXL], ids=["SD1", "SD2", "SDXL"])
def test_any_header_is_read_or_refused(recipe: ldm_files.Recipe, tmp_path: Path) -> None:
    ldm_files.write_hole(tmp_path / "model.safetensors", recipe.shapes())
    layout = read_layout(tmp_path / "model.safetensors")
    rng = random.Random(1)
    outcomes = [survives(lambda: read_checkpoint(mutated_shapes(layout, rng))) for _ in range(100)]
    assert True in outcomes
    assert False in outcomes


@pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("part", ["unet/config.json", "vae/config.json", "text_encoder/config.json", "card.json"])
def test_any_configuration_is_loaded_or_refused(part: str, stride: int, tmp_path: Path) -> None:
    """One entry of a configuration after the other becomes nonsense, of a kind that changes from entry to entry."""
    folder = tmp_path / "models/Stable-diffusion/model"
    for file in STARTER.rglob("*"):
        if file.is_file() and file.suffix in (".json", ".safetensors"):
            copy = folder / file.relative_to(STARTER)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(file)
    good = json.loads((folder / part).read_text())
    (folder / part).unlink()
    outcomes = set()
    for number, key in enumerate(sorted(good)[::stride]):
        config = {**good, key: NONSENSE[(7 * stride * number) % len(NONSENSE)]}
        (folder / part).write_text(json.dumps(config))
        (info, *_) = ModelStore(tmp_path).checkpoints()
        assert isinstance(info, CheckpointInfo)
        usable = info.refused_reason is None
        outcomes.add(usable and survives(lambda info=info: load_checkpoint(info, Placement())))
    assert stride > 1 or outcomes == {True, False}


def test_a_file_of_random_bytes_is_refused(tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(200):
        length = rng.choice((0, 1, 7, 8, 9, 100, 5000))
        start = rng.choice((b"", (length // 2).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"{}"))
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(start + rng.randbytes(length))
        assert not survives(lambda path=path: read_checkpoint(read_layout(path)))
