"""File name patterns against the recorded A1111, and the names that pictures are saved under."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from easel.outputs.naming import apply_pattern, picture_path
from easel.values.image import Image
from easel.values.job import Job
from easel.values.options import Options
from easel.values.request import GenerationRequest

PARTS = Path(__file__).parents[1] / "goldens" / "parts"
CREATED = time.mktime((2026, 11, 22, 10, 30, 5, 0, 0, -1))
PROMPT = "a red: fox/snow, oil"
IMAGE = Image(pixels=Pillow.new("RGB", (96, 64)), index=2, seed=7, prompt=PROMPT)


def job(options: Options | None = None, **changes: Any) -> Job:
    request = GenerationRequest(
        prompt=PROMPT,
        styles=("plain",),
        checkpoint="tiny.safetensors",
        sampler="DPM++ 2M",
        scheduler="Karras",
        steps=8,
        cfg_scale=5.0,
        denoising_strength=0.75,
        options=options or Options(),
    )
    return Job(id="0f3c", created=CREATED, request=replace(request, **changes))


@pytest.mark.parametrize("case", json.loads((PARTS / "filename_patterns.json").read_text()), ids=lambda c: c["pattern"])
def test_patterns_are_a1111s(case):
    if case["pattern"].startswith("[image_hash"):  # the recorded picture is not known
        assert apply_pattern("[image_hash<6>]", IMAGE, job()) == apply_pattern("[image_hash]", IMAGE, job())[:6]
    else:
        assert apply_pattern(case["pattern"], IMAGE, job()) == case["result"]


@pytest.mark.parametrize(
    ("pattern", "result"),
    [
        ("[datetime<%Y-%m-%d %H.%M>]", "2026-11-22 10.30"),
        ("[datetime]", "20261122103005"),
        ("[datetime<%Y><No/Zone>]", "[datetime<%Y><No/Zone>]"),
        ("[batch_number]", "1"),
        ("x-[generation_number]", "x-3"),
        ("[SEED]", "7"),
        ("[model_hash]", "0123456789"),
        ("[seed", "[seed"),
        ("[prompt_hash<no>]", "[prompt_hash<no>]"),
        ("a\nb[seed]", "a\nb7"),
    ],
)
def test_more_patterns(pattern, result):
    more = job(batch_size=2, n_iter=2, checkpoint="sub/tiny.safetensors [0123456789]")
    assert apply_pattern(pattern, IMAGE, more) == result


def test_default_names():
    assert picture_path(IMAGE, job()) == "txt2img-images/2026-11-22/0f3c-2-7"
    assert picture_path(IMAGE, job(kind="img2img")) == "img2img-images/2026-11-22/0f3c-2-7"
    assert picture_path(replace(IMAGE, suffix="-mask", kind="mask"), job()) == "txt2img-images/2026-11-22/0f3c-2-7-mask"
    assert picture_path(replace(IMAGE, kind="grid"), job()) == "txt2img-grids/2026-11-22/grid-0f3c"
    assert picture_path(replace(IMAGE, kind="control"), job()) == "controlnet_mask/2026-11-22/0f3c-2-7"


def test_names_of_a_job_are_the_same_on_every_run_and_differ_within_it():
    assert picture_path(IMAGE, job()) == picture_path(IMAGE, job())
    assert len({picture_path(replace(IMAGE, index=k), job()) for k in range(5)}) == 5


def test_options_decide_on_folders_and_numbers():
    flat = Options(save_to_dirs=False, grid_save_to_dirs=False)
    assert picture_path(IMAGE, job(flat)) == "txt2img-images/0f3c-2-7"
    assert picture_path(replace(IMAGE, kind="grid"), job(flat)) == "txt2img-grids/grid-0f3c"
    nested = Options(directories_filename_pattern="[sampler]/[prompt_words]", directories_max_prompt_words=2)
    assert picture_path(IMAGE, job(nested)) == "txt2img-images/DPM++ 2M/a red/0f3c-2-7"
    named = Options(samples_filename_pattern="[seed]-[prompt_spaces]")
    assert picture_path(IMAGE, job(named)) == "txt2img-images/2026-11-22/0f3c-2-7-a red_ fox_snow_ oil"
    bare = replace(named, save_images_add_number=False)
    assert picture_path(IMAGE, job(bare)) == "txt2img-images/2026-11-22/7-a red_ fox_snow_ oil"
    empty = replace(bare, samples_filename_pattern="[none]")
    assert picture_path(IMAGE, job(empty)) == "txt2img-images/2026-11-22/0f3c-2-"


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "..", "/abs", "a\0b", "x" * 5000, "日" * 500, "a,b;c", ". ."])
def test_no_prompt_or_pattern_makes_a_name_that_leaves_or_lists(hostile):
    options = Options(samples_filename_pattern=f"[prompt]{hostile}", directories_filename_pattern=f"[prompt]/{hostile}")
    path = picture_path(replace(IMAGE, prompt=hostile, suffix=hostile), job(options))
    parts = path.split("/")
    assert parts[0] == "txt2img-images"
    assert all(part and not part.startswith(".") and len(part.encode()) <= 200 for part in parts[:-1])
    assert not set(path) & set(",\0\\")


def test_client_chosen_ids_are_made_plain():
    strange = replace_id(job(), "../x,y")
    assert picture_path(IMAGE, strange) == "txt2img-images/2026-11-22/___x_y-2-7"


def replace_id(one: Job, name: str) -> Job:
    one.id = name
    return one
