"""txt2img and img2img: what is echoed, answered and reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Serve, Service, opened, png

SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1, "subseed": 5}


@pytest.mark.parametrize("name", ["txt2img_minimal", "txt2img_emptybody", "txt2img_string_numbers"])
def test_the_echo_is_a1111s(service: Service, recorded: Callable[[str], Any], name: str) -> None:
    golden = recorded(f"api/{name}")
    answer = service.post("txt2img", golden["request"]["json"])
    assert list(answer) == ["images", "parameters", "info"]
    assert answer["parameters"] == golden["body"]["parameters"]
    assert len(answer["parameters"]) == 55


def test_fractions_are_cut(service: Service, recorded: Callable[[str], Any]) -> None:
    golden = recorded("api/txt2img_float_steps_frac")
    answer = service.post("txt2img", golden["request"]["json"])
    assert answer["parameters"]["steps"] == golden["body"]["parameters"]["steps"]


def test_info_has_a1111s_keys_in_order_and_then_ours(service: Service, recorded: Callable[[str], Any]) -> None:
    info = service.info("txt2img", SMALL)
    theirs = json.loads(recorded("api/txt2img_minimal")["body"]["info"])
    assert len(theirs) == 32
    assert list(info) == [*theirs, "easel"]
    assert (info["seed"], info["steps"], info["sd_model_name"]) == (1, 2, "tiny")
    assert isinstance(info["version"], str)


def test_pictures_are_bare_base64_of_the_asked_size(service: Service) -> None:
    answer = service.post("txt2img", SMALL | {"width": 70, "height": 67, "batch_size": 2, "n_iter": 2})
    assert [opened(image).size for image in answer["images"]] == [(64, 64)] * 4
    assert opened(answer["images"][0]).format == "PNG"


def test_nulls_are_defaults(service: Service) -> None:
    nulls = dict.fromkeys(service.post("txt2img", SMALL)["parameters"])
    answer = service.post("txt2img", nulls | {"width": 64, "height": 64, "steps": 1})
    assert (answer["parameters"]["cfg_scale"], answer["parameters"]["sampler_index"]) == (7.0, "Euler")


def test_a_drawn_seed_can_be_used_again(service: Service) -> None:
    first = service.info("txt2img", SMALL | {"seed": -1})
    assert 0 <= first["seed"] <= 4294967293
    assert 0 <= first["subseed"] <= 4294967293
    again = service.post("txt2img", SMALL | {"seed": first["seed"]})
    assert again["images"] == service.post("txt2img", SMALL | {"seed": first["seed"]})["images"]
    assert again["parameters"]["seed"] == first["seed"] != service.info("txt2img", SMALL | {"seed": None})["seed"]


def test_send_images_false(service: Service) -> None:
    answer = service.post("txt2img", SMALL | {"send_images": False})
    assert (answer["images"], len(answer["info"]) > 100) == ([], True)


def test_styles_are_merged_and_comments_taken_out(serve: Serve) -> None:
    service = serve()
    rows = 'plain,"oil painting, thick strokes",blurry\nwrapped,"photo of {prompt}, 35mm","cartoon, {prompt}"\n'
    (service.data / "styles.csv").write_text("name,prompt,negative_prompt\n" + rows)
    body = SMALL | {"prompt": "a cat", "negative_prompt": "neg # hidden", "styles": ["plain", "wrapped", "missing", ""]}
    info = service.info("txt2img", body)
    assert info["prompt"] == "photo of a cat, oil painting, thick strokes, 35mm"
    assert info["negative_prompt"].startswith("cartoon, neg ")
    assert "hidden" not in info["negative_prompt"]
    assert info["styles"] == ["plain", "wrapped", "missing"]
    assert "styles: missing: there is no style of that name" in info["easel"]["warnings"]


def test_infotext_fills_what_was_not_sent(service: Service) -> None:
    text = (
        "a fox\nNegative prompt: dull\nSteps: 3, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 42, Size: 64x64, "
        "Clip skip: 2, ENSD: 31337, Variation seed: 9, Variation seed strength: 0.2"
    )
    answer = service.post("txt2img", {"infotext": text, "cfg_scale": 6})
    sent = answer["parameters"]
    wanted = {
        "prompt": "a fox", "negative_prompt": "dull", "steps": 3, "seed": 42, "cfg_scale": 6.0, "subseed": 9,
        "subseed_strength": 0.2, "sampler_name": "DPM++ 2M", "scheduler": "Automatic", "enable_hr": False,
        "override_settings": {"eta_noise_seed_delta": 31337, "CLIP_stop_at_last_layers": 2},
    }  # fmt: skip
    assert {name: sent[name] for name in wanted} == wanted


def test_an_infotext_from_elsewhere_leaves_out_what_is_not_here(service: Service) -> None:
    text = "a fox\nSteps: 3, Sampler: Euler, Seed: 42, Size: 64x64, Model hash: 1234567890, VAE: gone.pt, RNG: Dice"
    info = service.info("txt2img", {"infotext": text})
    assert (info["prompt"], info["sd_model_name"]) == ("a fox", "tiny")
    ignored = [line["item"] for line in info["easel"]["report"]]
    assert ignored == ["infotext: RNG", "infotext: VAE"]  # the model's hash never counts, as in A1111


def test_infotext_brings_the_hires_pass_back(service: Service) -> None:
    body = SMALL | {"enable_hr": True, "denoising_strength": 0.4, "hr_upscaler": "Lanczos", "hr_scale": 1.5}
    first = service.post("txt2img", body)
    infotext = service.post("png-info", {"image": first["images"][0]})["info"]
    again = service.post("txt2img", {"infotext": infotext, "subseed": 5})
    assert again["images"] == first["images"]


@pytest.mark.parametrize(("asked", "sampler", "schedule"), [
    ({"sampler_index": "DPM++ 2M Karras"}, "DPM++ 2M", "Automatic"),
    ({"sampler_name": "k_euler_a"}, "Euler a", "Automatic"),
    ({"sampler_name": "euler a", "scheduler": "karras"}, "Euler a", "Karras"),
    ({"sampler_name": "Heun", "sampler_index": "LMS"}, "Heun", "Automatic"),
])  # fmt: skip
def test_sampler_names(service: Service, asked: dict[str, str], sampler: str, schedule: str) -> None:
    info = service.info("txt2img", SMALL | asked)
    assert info["sampler_name"] == sampler
    plan = service.engine.called("denoise")[-1].arguments["plan"]
    assert (plan.sampler, plan.scheduler) == (sampler, schedule)


def test_nothing_is_ignored_silently(service: Service) -> None:
    body = SMALL | {
        "sampler_name": "k_euler",
        "scheduler": "no such",
        "cfg_scael": 3,
        "latent_mask": "x",
        "prompt": "a",
    }
    body["override_settings"] = {"outdir_samples": "/tmp/x", "CLIP_stop_at_last_layers": None}
    report = {
        line["item"]: line for line in service.info("img2img", body | {"init_images": [png()]})["easel"]["report"]
    }
    assert report["cfg_scael"]["reason"] == "unknown field; did you mean cfg_scale?"
    assert report["sampler_name"]["outcome"] == "applied"
    assert {name for name, line in report.items() if line["outcome"] == "ignored"} == {
        "cfg_scael", "scheduler", "latent_mask", "override_settings.outdir_samples"
    }  # fmt: skip


@pytest.mark.parametrize(("route", "fields", "reason"), [
    ("txt2img", {"hr_scale": 3, "hr_upscaler": "Lanczos", "denoising_strength": 0.5}, "enable_hr is off"),
    ("txt2img", {"refiner_switch_at": 0.5}, "there is no refiner_checkpoint"),
    ("txt2img", {"script_args": [1]}, "there is no script_name"),
    ("txt2img", {"seed_resize_from_w": 64}, "both sides are needed"),
    ("img2img", {"mask_blur": 9, "inpainting_fill": 1, "inpaint_full_res": False}, "there is no mask"),
])  # fmt: skip
def test_fields_that_wait_for_another_are_named(
    service: Service, route: str, fields: dict[str, Any], reason: str
) -> None:
    body = SMALL | fields | ({"init_images": [png()]} if route == "img2img" else {})
    report = service.info(route, body)["easel"]["report"]
    assert {line["item"]: line["reason"] for line in report} == dict.fromkeys(fields, reason)


def test_defaults_that_have_no_effect_are_not_worth_a_word(service: Service) -> None:
    same = {
        "hr_scale": 2.0,
        "hr_prompt": "",
        "hr_scheduler": "Use same scheduler",
        "script_args": [],
        "firstphase_width": 0,
    }
    assert service.info("txt2img", SMALL | same)["easel"]["report"] == []


def test_a_strict_request_refuses_what_would_be_ignored(service: Service) -> None:
    _, detail = service.refused("txt2img", SMALL | {"strict": True, "cfg_scael": 3})
    assert detail.startswith("cfg_scael would be ignored: unknown field")
    service.post("txt2img", SMALL | {"strict": True})


def test_the_starters_card_chooses_what_a_request_does_not_name(serve: Serve) -> None:
    service = serve(models=())
    answer = service.post("txt2img", {"prompt": "a cat", "steps": 2})
    sent = answer["parameters"]
    assert (sent["steps"], sent["cfg_scale"], sent["sampler_name"], sent["scheduler"]) == (2, 2.5, "DPM++ 2M", "Karras")
    assert service.info("txt2img", {"prompt": "a cat"})["easel"]["defaults"]["steps"] == 20
    named = service.post("txt2img", {"prompt": "a cat", "steps": 2, "cfg_scale": 7, "sampler_index": "Euler"})
    assert (named["parameters"]["cfg_scale"], named["parameters"]["sampler_name"]) == (7, None)


@pytest.mark.parametrize("name", ["tiny2", "tiny2.safetensors", "TINY2"])
def test_a_request_chooses_its_checkpoint(serve: Serve, name: str) -> None:
    service = serve(models=("tiny", "tiny2"))
    assert (
        service.info("txt2img", SMALL | {"override_settings": {"sd_model_checkpoint": name}})["sd_model_name"]
        == "tiny2"
    )
    assert service.info("txt2img", SMALL)["sd_model_name"] == "tiny"


def test_overrides_last_for_their_request_only(service: Service) -> None:
    before = service.get("options")
    jpeg = service.post(
        "txt2img", SMALL | {"override_settings": {"samples_format": "jpg", "CLIP_stop_at_last_layers": "2"}}
    )
    assert opened(jpeg["images"][0]).format == "JPEG"
    assert service.get("options") == before
    assert opened(service.post("txt2img", SMALL)["images"][0]).format == "PNG"


def test_hires_defaults(service: Service) -> None:
    info = service.info("txt2img", SMALL | {"enable_hr": True})
    first, second = service.engine.called("denoise")[-2:]
    assert first.arguments["plan"].width == 64
    assert info["denoising_strength"] == 0.75
    assert (second.arguments["plan"].width, second.arguments["plan"].denoising_strength) == (128, 0.75)
    assert (info["width"], info["height"]) == (64, 64)


def test_the_old_firstphase_sizes(service: Service) -> None:
    body = SMALL | {"enable_hr": True, "width": 128, "height": 128, "firstphase_width": 64, "firstphase_height": 64}
    info = service.info("txt2img", body)
    assert (info["width"], info["height"]) == (64, 64)


def test_img2img_echo_and_default_strength(service: Service) -> None:
    body = SMALL | {"init_images": [png()], "mask": png(mode="L", color="white"), "inpaint_full_res": 0}
    answer = service.post("img2img", body)
    assert len(answer["parameters"]) == 57
    assert (answer["parameters"]["init_images"], answer["parameters"]["mask"]) == (None, None)
    assert answer["parameters"]["denoising_strength"] == 0.75
    kept = service.post("img2img", body | {"include_init_images": True})["parameters"]
    assert (kept["init_images"], kept["mask"]) == (body["init_images"], body["mask"])


def test_img2img_takes_one_picture_for_all_or_one_each(service: Service) -> None:
    one = service.post("img2img", SMALL | {"init_images": [png()], "batch_size": 2})
    two = service.post("img2img", SMALL | {"init_images": [png(), png(color="blue")], "batch_size": 3})
    assert (len(one["images"]), len(two["images"])) == (2, 2)
    _, detail = service.refused("img2img", SMALL | {"init_images": [png()] * 3, "batch_size": 2})
    assert "bad number of images passed: 3; expecting 2 or less" in detail


def test_data_uris_are_pictures_too(service: Service) -> None:
    plain = service.post("img2img", SMALL | {"init_images": [png()]})
    uri = service.post("img2img", SMALL | {"init_images": ["data:image/png;base64," + png()]})
    assert plain["images"] == uri["images"]


def test_saving_returns_the_grid_first(serve: Serve) -> None:
    service = serve()
    answer = service.info("txt2img", SMALL | {"save_images": True, "batch_size": 2})
    assert answer["index_of_first_image"] == 1
    assert len(list((service.data / "outputs").rglob("*.png"))) == 3
    alone = service.post("txt2img", SMALL | {"save_images": True})
    assert len(alone["images"]) == 1


def test_plain_always_on_entries_are_taken(service: Service) -> None:
    info = service.info("txt2img", SMALL | {"alwayson_scripts": {"Refiner": {"args": [True]}, "seed": {"args": []}}})
    assert "alwayson_scripts.Refiner: the request's own fields say this" in info["easel"]["warnings"]
