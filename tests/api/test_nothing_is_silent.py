"""No-silent-ignore, for every field there is: what is sent changes the job, or is reported, or is refused by name."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from easel.api.requests import Asked, read_request
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import EaselError

from .conftest import Service, png

BODIES = {"txt2img": Txt2ImgBody, "img2img": Img2ImgBody}
PICTURE, OTHER, MASK = png(), png(color="blue"), png(mode="L", color="white")
# For every field a value that is not its default.
SENT: dict[str, Any] = {
    "prompt": "a dog", "negative_prompt": "dull", "styles": ["none"], "seed": 7, "subseed": 8, "subseed_strength": 0.5,
    "seed_resize_from_h": 128, "seed_resize_from_w": 128, "sampler_name": "DDIM", "scheduler": "Karras",
    "batch_size": 2, "n_iter": 2, "steps": 3, "cfg_scale": 3.0, "width": 72, "height": 72, "restore_faces": True,
    "tiling": True, "do_not_save_samples": True, "do_not_save_grid": True, "eta": 0.5, "denoising_strength": 0.3,
    "s_min_uncond": 0.5, "s_churn": 0.5, "s_tmax": 0.5, "s_tmin": 0.5, "s_noise": 0.5,
    "override_settings": {"CLIP_stop_at_last_layers": 2}, "override_settings_restore_afterwards": False,
    "refiner_checkpoint": "tiny", "refiner_switch_at": 0.5, "disable_extra_networks": True, "firstpass_image": PICTURE,
    "comments": {"a": "b"}, "force_task_id": "mine", "sampler_index": "Heun", "script_name": "none",
    "script_args": [1], "send_images": False, "save_images": True, "alwayson_scripts": {"dynamic prompts": [False]},
    "infotext": "a fox\nSteps: 3, Sampler: Heun, Seed: 42, Size: 64x64",
    "enable_hr": True, "firstphase_width": 128, "firstphase_height": 128, "hr_scale": 3, "hr_upscaler": "Lanczos",
    "hr_second_pass_steps": 2, "hr_resize_x": 96, "hr_resize_y": 96, "hr_checkpoint_name": "tiny",
    "hr_sampler_name": "DDIM", "hr_scheduler": "Karras", "hr_prompt": "large", "hr_negative_prompt": "small",
    "init_images": [OTHER], "resize_mode": 1, "image_cfg_scale": 2.0, "mask": MASK, "mask_blur_x": 7, "mask_blur_y": 7,
    "mask_blur": 9, "mask_round": False, "inpainting_fill": 1, "inpaint_full_res": False,
    "inpaint_full_res_padding": 8, "inpainting_mask_invert": 1, "initial_noise_multiplier": 0.5, "latent_mask": MASK,
    "include_init_images": True,
}  # fmt: skip
SMALL: dict[str, Any] = {"prompt": "a cat", "seed": 1, "subseed": 1, "width": 64, "height": 64, "steps": 2}
# What other fields wait for.
FULL: dict[str, dict[str, Any]] = {
    "txt2img": {"enable_hr": True, "refiner_checkpoint": "tiny", "refiner_switch_at": 0.8, "save_images": True},
    "img2img": {"mask": png(mode="L", color="gray"), "refiner_checkpoint": "tiny", "refiner_switch_at": 0.8},
}


def read(service: Service, kind: str, body: dict[str, Any]) -> Asked:
    return read_request(service.app, BODIES[kind].model_validate(body))


def base(kind: str, *, full: bool) -> dict[str, Any]:
    return SMALL | ({"init_images": [PICTURE]} if kind == "img2img" else {}) | (FULL[kind] if full else {})


def outcome(service: Service, kind: str, before: dict[str, Any], name: str) -> str:
    """What became of field `name` in a body: applied, ignored, rejected; "" when nobody can tell."""
    body = before | {name: SENT[name]}
    try:
        asked, without = read(service, kind, body), read(service, kind, before)
    except EaselError as error:
        assert error.status in (404, 413, 422)
        assert name in error.message or str(body[name]) in error.message, error.message
        return "rejected"
    lines = [line.outcome for line in asked.report if line.item.split(".")[0].split(":")[0] == name]
    if lines:
        return lines[0]
    other = asked.request != without.request or asked.name != without.name or asked.report != without.report
    return "applied" if other else ""


@pytest.mark.parametrize("full", [False, True], ids=["alone", "with what it waits for"])
@pytest.mark.parametrize("kind", BODIES)
def test_every_field_has_an_outcome(service: Service, kind: str, full: bool) -> None:
    fields = set(BODIES[kind].model_fields)
    assert fields <= set(SENT)
    fields -= set(FULL[kind]) if full else set()
    silent = [name for name in sorted(fields) if not outcome(service, kind, base(kind, full=full), name)]
    assert silent == []


def word(draw: random.Random) -> str:
    return "".join(draw.choices(string.ascii_lowercase, k=8))


@pytest.mark.parametrize("number", range(10))
def test_what_nobody_knows_is_named(service: Service, number: int) -> None:
    draw = random.Random(number)
    key, tag, option, script, argument = (word(draw) for _ in range(5))
    body = base("txt2img", full=False) | {key: draw.choice([1, "x", [], {}]), "prompt": f"a cat <{tag}:x:1>"}
    report = {line["item"]: line["outcome"] for line in service.info("txt2img", body)["easel"]["report"]}
    assert report[key] == "ignored"
    assert report[f"<{tag}:x:1>"] == "ignored"
    for refused, named in (
        ({"override_settings": {option: 1}}, option),
        ({"alwayson_scripts": {script: {"args": []}}}, script),
        ({"alwayson_scripts": {"Dynamic Prompts": {"args": {argument: 1}}}}, argument),
        ({"alwayson_scripts": {"Dynamic Prompts": {"args": [True, argument]}}}, argument),
        ({"alwayson_scripts": {"Dynamic Prompts": {argument: 1}}}, argument),
        ({"script_name": script}, script),
    ):
        _, detail = service.refused("txt2img", SMALL | refused)
        assert named in detail
    status, detail = service.refused("txt2img", body | {"strict": True})
    assert status == 422
    assert "would be ignored" in detail


@pytest.mark.parametrize("entry", [
    {"args": [False]}, {"ARGS": [False]}, {"args": {"enabled": False}}, [False],
])  # fmt: skip
def test_forms_of_an_entry_that_mean_the_same(service: Service, entry: Any) -> None:
    body = SMALL | {"prompt": "a {red|red} cat", "alwayson_scripts": {"DYNAMIC prompts": entry}}
    service.post("txt2img", body)
    assert service.engine.called("encode_prompts")[-1].arguments["positive"] == ("a {red|red} cat",)


def test_what_was_ignored_is_not_told_as_done(service: Service) -> None:
    answer = service.client.post("/sdapi/v1/txt2img", json=SMALL | {"restore_faces": True})
    told = json.loads(answer.json()["info"])
    assert "Face restoration" not in told["infotexts"][0]
    assert told["restore_faces"] is False
    assert [line["outcome"] for line in told["easel"]["report"] if line["item"] == "restore_faces"] == ["ignored"]
