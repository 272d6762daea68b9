"""Infotext and `info` of every recorded A1111 request, rebuilt from the request alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from easel.engine.engine import ModelFacts
from easel.generation_data import info, infotext
from easel.prompt.styles import Style, finished
from easel.values.image import Image
from easel.values.options import Options
from easel.values.request import (
    EncodedPicture,
    GenerationRequest,
    Hires,
    InitImages,
    Inpaint,
    Refiner,
)
from easel.values.sampling import find_sampler

GOLDENS = Path(__file__).parent / "goldens" / "images"
# What needs a service to resolve (files' hashes, inherited schedules, old sizes) is compared in tests/a1111.
RESOLVED = ("z", "r0", "p19", "h05_firstphase", "h06", "h07", "h08_hires_lora")
NAMES = sorted(
    name
    for name in (path.name.removesuffix(".request.json") for path in GOLDENS.glob("*.request.json"))
    if not name.startswith(RESOLVED)
)
MODELS = {"tiny": "098a18ca9c", "tiny2": "0b652d614e"}
# What networks, embeddings and scripts would hand in.
EXTRA = {
    "p11_embedding": [("TI hashes", "tinyemb: eb60baa0d073")],
    "p12_lora": [("Lora hashes", "tinylora: 264c6969927b")],
    "p13_lora_te_unet": [("Lora hashes", "tinylora: 264c6969927b")],
}
SOFT = {
    "Soft inpainting enabled": True,
    "Soft inpainting schedule bias": 1,
    "Soft inpainting preservation strength": 0.5,
    "Soft inpainting transition contrast boost": 4,
    "Soft inpainting mask influence": 0,
    "Soft inpainting difference threshold": 0.5,
    "Soft inpainting difference contrast": 2,
}
STYLES = [
    Style("plain", "oil painting, thick strokes", "blurry"),
    Style("wrapped", "photo of {prompt}, 35mm", "cartoon, {prompt}"),
]


def build(endpoint: str, body: dict[str, Any], subseed: int) -> GenerationRequest:
    """A request as the API resolves it, as far as generation data needs."""
    sampler, scheduler = find_sampler(body.get("sampler_name"), body.get("scheduler"))
    overrides = dict(body.get("override_settings", {}))
    checkpoint = overrides.pop("sd_model_checkpoint", "tiny")
    overrides.pop("sd_vae", None)
    options = Options(**overrides)
    if "initial_noise_multiplier" in body:
        options = dataclasses.replace(options, initial_noise_multiplier=body["initial_noise_multiplier"])
    names = body.get("styles", [])
    chosen = [style.texts for name in names for style in STYLES if style.name == name]
    prompt, negative = finished(body["prompt"], body["negative_prompt"], chosen, comments=False)
    return GenerationRequest(
        kind="img2img" if endpoint.endswith("img2img") else "txt2img",
        prompt=prompt,
        negative_prompt=negative,
        styles=tuple(names),
        seed=body["seed"],
        subseed=body.get("subseed", subseed),
        subseed_strength=body.get("subseed_strength", 0),
        seed_resize_from_w=body.get("seed_resize_from_w", -1),
        seed_resize_from_h=body.get("seed_resize_from_h", -1),
        checkpoint=f"{checkpoint}.safetensors [{MODELS[checkpoint]}]",
        sampler=sampler.name,
        scheduler=scheduler,
        steps=body["steps"],
        cfg_scale=float(body["cfg_scale"]),
        width=body["width"],
        height=body["height"],
        batch_size=body.get("batch_size", 1),
        n_iter=body.get("n_iter", 1),
        denoising_strength=body.get("denoising_strength"),
        eta=body.get("eta"),
        tiling=body.get("tiling", False),
        hires=_hires(body),
        init=_init(body),
        options=options,
    )


def _hires(body: dict[str, Any]) -> Hires | None:
    if not body.get("enable_hr"):
        return None
    return Hires(
        upscaler=body["hr_upscaler"],
        scale=body.get("hr_scale", 2.0),
        resize_x=body.get("hr_resize_x", 0),
        resize_y=body.get("hr_resize_y", 0),
        steps=body.get("hr_second_pass_steps", 0),
        prompt=body.get("hr_prompt", ""),
        denoising_strength=body["denoising_strength"],
    )


def _init(body: dict[str, Any]) -> InitImages | None:
    if "init_images" not in body:
        return None
    blur = body.get("mask_blur")
    inpaint = Inpaint(
        mask=EncodedPicture(b""),
        blur_x=body.get("mask_blur_x", 4) if blur is None else blur,
        blur_y=body.get("mask_blur_y", 4) if blur is None else blur,
        fill=body.get("inpainting_fill", 0),
        full_res=body.get("inpaint_full_res", True),
        full_res_padding=body.get("inpaint_full_res_padding", 0),
    )
    pictures = tuple(EncodedPicture(b"") for _ in body["init_images"])
    return InitImages(pictures=pictures, inpaint=inpaint if "mask" in body else None)


@pytest.mark.parametrize("name", NAMES)
def test_info_and_infotexts_are_a1111s(name):
    recorded = json.loads((GOLDENS / f"{name}.request.json").read_text())
    want = json.loads((GOLDENS / f"{name}.info.json").read_text())
    request = build(recorded["endpoint"], recorded["json"], want["subseed"])
    other_vae = name == "m01_vae"
    checkpoint = "tiny2" if name == "m02_model2" else "tiny"
    facts = ModelFacts(
        title=request.checkpoint,
        name=checkpoint,
        short_hash=MODELS[checkpoint],
        family="SD1",
        vae_name="othervae.safetensors" if other_vae else None,
        vae_hash="aec4e2342c" if other_vae else None,
    )
    extra, scripts = EXTRA.get(name, []), SOFT.items() if name == "x11_soft_inpainting" else ()
    varied = request.subseed_strength != 0
    images = []
    for k in range(request.image_count):
        image = Image(
            pixels=Pillow.new("RGB", (8, 8)),
            index=k,
            seed=request.seed + (0 if varied else k),
            subseed=request.subseed + k,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
        )
        text = infotext(request, facts, image, extra, scripts=scripts)
        images.append(dataclasses.replace(image, infotext=text))
    got = info(request, facts, images, extra, scripts=scripts)
    assert list(got) == list(want)
    assert got["infotexts"] == want["infotexts"]
    assert list(got["extra_generation_params"]) == list(want["extra_generation_params"])
    del got["job_timestamp"], want["job_timestamp"]
    assert got == want


def made(**changes: Any) -> tuple[str, dict[str, object]]:
    """Infotext and extra parameters of a small request."""
    request = GenerationRequest(prompt="a cat", seed=1, steps=2, width=64, height=64, **changes)
    facts = ModelFacts(title="tiny.safetensors", name="tiny", short_hash="", family="SD1")
    image = Image(pixels=Pillow.new("RGB", (8, 8)), seed=1, prompt=request.prompt)
    return infotext(request, facts, image), info(request, facts, [image])["extra_generation_params"]


def test_hires_prompt_stands_in_the_infotext_where_it_differs():
    text, extra = made(hires=Hires(prompt='other, prompt: "q"', steps=2, denoising_strength=0.5))
    assert text == (
        "a cat\nSteps: 2, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, Seed: 1, Size: 64x64, Model: tiny, "
        'Denoising strength: 0.5, Hires prompt: "other, prompt: \\"q\\"", Hires upscale: 2.0, Hires steps: 2, '
        "Hires upscaler: Latent, Version: 1.10.1"
    )
    assert extra["Hires prompt"] is None
    assert "Hires prompt" not in made(hires=Hires(prompt="a cat"))[0]


def test_hires_schedule_is_named_where_it_differs():
    _, extra = made(hires=Hires(sampler="DPM++ 2M"))
    assert (extra["Hires sampler"], extra["Hires schedule type"]) == ("DPM++ 2M", "Karras")
    assert made(sampler="DPM++ 2M", hires=Hires())[1]["Hires schedule type"] is None


def test_refiner_is_named_by_stem_and_hash():
    text, _ = made(refiner=Refiner(checkpoint="sub/tiny2.safetensors [0b652d614e]", switch_at=0.5))
    assert "Refiner: tiny2 [0b652d614e], Refiner switch at: 0.5, Version" in text


def test_emphasis_is_named_only_where_a_text_has_brackets():
    assert "Emphasis" not in made(options=Options(emphasis="No norm"))[1]
    request_with = {"options": Options(emphasis="No norm"), "negative_prompt": "(dull)"}
    facts = ModelFacts(title="t", name="t", short_hash="", family="SD1")
    request = GenerationRequest(prompt="[a:b:0.5]", **request_with)
    image = Image(pixels=Pillow.new("RGB", (8, 8)), prompt=request.prompt, negative_prompt=request.negative_prompt)
    assert info(request, facts, [image])["extra_generation_params"] == {"Emphasis": "No norm"}
    plain = dataclasses.replace(image, negative_prompt="")
    assert info(request, facts, [plain])["extra_generation_params"] == {}, "editing brackets are not encoded"


def test_ensd_is_named_only_for_samplers_that_use_it():
    options = Options(eta_noise_seed_delta=31337)
    assert "ENSD: 31337" in made(sampler="Euler a", options=options)[0]
    assert "ENSD" not in made(sampler="Euler", options=options)[0]
    assert "ENSD" not in made(sampler="Euler a", eta=0.0, options=options)[0]


def test_after_an_interrupt_seeds_are_all_there_and_infotexts_as_many_as_pictures():
    request = GenerationRequest(prompt="a cat", seed=1, n_iter=3)
    facts = ModelFacts(title="t", name="t", short_hash="", family="SD1")
    image = Image(pixels=Pillow.new("RGB", (8, 8)), seed=1, prompt="a cat", infotext="the text")
    got = info(request, facts, [image])
    assert got["all_seeds"] == [1, 2, 3]
    assert got["infotexts"] == ["the text"]
    assert len(got["all_prompts"]) == 3


def test_blank_mask_is_plain_img2img():
    inpaint = Inpaint(mask=EncodedPicture(b""))
    request = GenerationRequest(kind="img2img", denoising_strength=0.5, init=InitImages(pictures=(), inpaint=inpaint))
    facts = ModelFacts(title="t", name="t", short_hash="", family="SD1")
    assert info(request, facts, [], blank_mask=True)["extra_generation_params"] == {
        "Denoising strength": 0.5,
        "Mask blur": 4,
    }
