"""Some of A1111's recorded pictures, through the engine's calls alone. (All of them, over HTTP: tests/a1111.)"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel.engine.engine import ModelSpec
from easel.values.options import Options
from easel.values.sampling import find_sampler

FIELDS = ("prompt", "negative_prompt", "steps", "width", "height", "seed", "cfg_scale", "batch_size", "subseed")
FIELDS += ("subseed_strength", "seed_resize_from_w", "seed_resize_from_h", "eta", "s_churn", "tiling")
TXT2IMG = [
    "t02_euler", "t04_ddim", "t08_dpmpp_sde_karras", "t18_lcm", "t19_ddim_cfgpp", "p02_editing", "p04_and",
    "p06_long", "n01_subseed", "n04_batch2", "n14_tiling", "n17_skip_early_cond", "m01_vae", "m02_model2",
]  # fmt: skip


def recorded(goldens: Path, name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((goldens / "images" / f"{name}.request.json").read_text())["json"]
    return body


def wishes(body: dict[str, Any]) -> dict[str, Any]:
    """The request's fields as `sitting` takes them."""
    settings = dict(body.get("override_settings", {}))
    checkpoint, vae = settings.pop("sd_model_checkpoint", "tiny"), settings.pop("sd_vae", "Automatic")
    sampler, scheduler = find_sampler(body["sampler_name"], body.get("scheduler"))
    found = {key: body[key] for key in FIELDS if key in body}
    model = ModelSpec(checkpoint=checkpoint, vae=vae, tiling=body.get("tiling", False))
    return found | {
        "sampler": sampler.name, "scheduler": scheduler, "options": replace(Options(), **settings), "model": model
    }  # fmt: skip


def check(goldens: Path, name: str, pictures: list[Any]) -> None:
    most = 4 if name == "t16_dpm_adaptive" else 2
    for index, picture in enumerate(pictures):
        with Image.open(goldens / "images" / f"{name}_{index}.png") as file:
            difference = np.abs(np.asarray(file.convert("RGB"), dtype=np.int16) - picture)
        assert difference.max() <= most
        assert difference.mean() <= 0.05


@pytest.mark.parametrize("name", TXT2IMG)
def test_txt2img(goldens: Path, sitting: Callable[..., Any], name: str) -> None:
    check(goldens, name, sitting(**wishes(recorded(goldens, name))).paint())


@pytest.mark.parametrize(
    "name", ["i01_img2img", "i03_img2img_ddim", "i10_denoise1", "i12_noise_mult", "i13_extra_noise"]
)
def test_img2img(goldens: Path, sitting: Callable[..., Any], name: str) -> None:
    check(goldens, name, img2img(goldens, sitting, name))


def img2img(goldens: Path, sitting: Callable[..., Any], name: str) -> Any:
    body = recorded(goldens, name)
    one = sitting(kind="img2img", **wishes(body))
    if "initial_noise_multiplier" in body:
        options = replace(one.request.options, initial_noise_multiplier=body["initial_noise_multiplier"])
        one.request = replace(one.request, options=options)
    with Image.open(goldens / "images" / "_init.png") as file:
        size = (one.request.width, one.request.height)
        picture = np.asarray(file.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    init = one.engine.encode_pictures(one.job, one.model, [picture])
    return one.paint(init=init, denoising_strength=body["denoising_strength"])
