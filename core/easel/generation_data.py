"""What a picture says about how it was made: A1111's infotext and `info` object, with its keys in its order.

The parameters that A1111 adds on its way ("extra") come in the order of that way: scripts, start (hires, img2img,
mask), networks, sampling.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from easel.prompt.infotext import write_infotext
from easel.prompt.schedule import conditions, schedule
from easel.prompt.syntax import extract_networks
from easel.values.sampling import AUTOMATIC, SAMPLERS, Sampler, scheduler_that_runs

if TYPE_CHECKING:
    from easel.engine.engine import ModelFacts
    from easel.values.image import Image
    from easel.values.request import GenerationRequest, Hires, Inpaint

Parameters = dict[str, object]
Extra = Iterable[tuple[str, object]]

# The A1111 whose rules these parameters follow; readers switch old behaviour on for lower numbers.
A1111_VERSION: Final = "1.10.1"
_MASKED_CONTENT: Final = {0: "fill", 2: "latent noise", 3: "latent nothing"}  # 1, original, is not written


def infotext(
    request: GenerationRequest,
    facts: ModelFacts,
    image: Image,
    extra: Extra = (),
    *,
    scripts: Extra = (),
    blank_mask: bool = False,
) -> str:
    """The infotext of one picture. `extra`: what networks and embeddings add, `scripts`: what always-on scripts do."""
    options = request.options
    parameters = _fixed(request, facts, image)
    added = _extra(request, image, extra, scripts, blank_mask)
    parameters["Denoising strength"] = added.get("Denoising strength")  # keeps its place
    parameters |= added
    if hires := request.hires:
        parameters["Hires prompt"] = _if_other(hires.prompt, image.prompt)
        parameters["Hires negative prompt"] = _if_other(hires.negative_prompt, image.negative_prompt)
    parameters["Version"] = A1111_VERSION if options.add_version_to_infotext else None
    return write_infotext(image.prompt, image.negative_prompt, parameters)


def info(
    request: GenerationRequest,
    facts: ModelFacts,
    images: Sequence[Image],
    extra: Extra = (),
    *,
    scripts: Extra = (),
    blank_mask: bool = False,
    started: float | None = None,
) -> Parameters:
    """A1111's `info` object, 32 keys. `images`: the results made, fewer than asked for after an interrupt; `started`:
    when the job began, in seconds since 1970 (None: now)."""
    options = request.options
    results = [image for image in images if image.kind == "result"]
    made = {image.index: image for image in results}
    numbers = range(request.image_count)
    prompts = [made[k].prompt if k in made else request.prompt for k in numbers]
    negatives = [made[k].negative_prompt if k in made else request.negative_prompt for k in numbers]
    varied = request.subseed_strength != 0
    first = results[0] if results else None
    return {
        "prompt": prompts[0],
        "all_prompts": prompts,
        "negative_prompt": negatives[0],
        "all_negative_prompts": negatives,
        "seed": request.seed,
        "all_seeds": [request.seed + (0 if varied else k) for k in numbers],
        "subseed": request.subseed,
        "all_subseeds": [request.subseed + k for k in numbers],
        "subseed_strength": request.subseed_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": request.restore_faces,
        "face_restoration_model": options.face_restoration_model if request.restore_faces else None,
        "sd_model_name": facts.name,
        "sd_model_hash": facts.short_hash,
        "sd_vae_name": facts.vae_name,
        "sd_vae_hash": facts.vae_hash,
        "seed_resize_from_w": request.seed_resize_from_w,
        "seed_resize_from_h": request.seed_resize_from_h,
        "denoising_strength": request.hires.denoising_strength if request.hires else request.denoising_strength,
        "extra_generation_params": _extra(request, first, extra, scripts, blank_mask),
        "index_of_first_image": 0,
        "infotexts": [image.infotext for image in results],
        "styles": list(request.styles),
        "job_timestamp": datetime.fromtimestamp(time.time() if started is None else started).strftime("%Y%m%d%H%M%S"),
        "clip_skip": options.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": facts.inpainting,
        "version": A1111_VERSION,
    }


def _fixed(request: GenerationRequest, facts: ModelFacts, image: Image) -> Parameters:
    """The parameters with a place of their own."""
    options, varied = request.options, request.subseed_strength != 0
    resized = request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0
    return {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": request.scheduler,
        "CFG scale": request.cfg_scale,
        "Seed": image.seed,
        "Face restoration": options.face_restoration_model if request.restore_faces else None,
        "Size": f"{request.width}x{request.height}",
        "Model hash": (facts.short_hash or None) if options.add_model_hash_to_info else None,
        "Model": facts.name if options.add_model_name_to_info else None,
        "VAE hash": facts.vae_hash if options.add_vae_hash_to_info else None,
        "VAE": facts.vae_name if options.add_vae_name_to_info else None,
        "Variation seed": image.subseed if varied else None,
        "Variation seed strength": request.subseed_strength if varied else None,
        "Seed resize from": f"{request.seed_resize_from_w}x{request.seed_resize_from_h}" if resized else None,
        "Denoising strength": None,
        "Conditional mask weight": options.inpainting_mask_weight if facts.inpainting else None,
        "Clip skip": options.CLIP_stop_at_last_layers if options.CLIP_stop_at_last_layers > 1 else None,
        "ENSD": options.eta_noise_seed_delta if _uses_ensd(request) else None,
        "RNG": options.randn_source if options.randn_source != "GPU" else None,
        "Tiling": "True" if request.tiling else None,
    }


def _extra(
    request: GenerationRequest, image: Image | None, networks: Extra, scripts: Extra, blank_mask: bool
) -> Parameters:
    parameters: Parameters = dict(scripts)
    if request.hires is not None:
        parameters |= _hires(request.hires, request)
    if request.init is not None:
        parameters["Denoising strength"] = request.denoising_strength
        if request.init.inpaint is not None:
            parameters |= _mask(request.init.inpaint, blank_mask)
    parameters |= dict(networks)
    if request.options.emphasis != "Original" and image is not None and _emphasized(request, image):
        parameters["Emphasis"] = request.options.emphasis
    parameters |= _sampling(request, SAMPLERS[request.sampler])
    if request.hires is not None:
        parameters |= _hires_sampling(request.hires, request)
    return parameters


def _hires(hires: Hires, request: GenerationRequest) -> Parameters:
    """With None where A1111 keeps a function or fills in later."""
    parameters: Parameters = {"Denoising strength": hires.denoising_strength}
    if hires.checkpoint is not None:
        parameters["Hires checkpoint"] = _short_title(hires.checkpoint)
    if hires.sampler is not None and hires.sampler != request.sampler:
        parameters["Hires sampler"] = hires.sampler
    parameters |= {"Hires prompt": None, "Hires negative prompt": None, "Hires schedule type": None}
    if hires.resize_x or hires.resize_y:
        parameters["Hires resize"] = f"{hires.resize_x}x{hires.resize_y}"
    else:
        parameters["Hires upscale"] = hires.scale
    if hires.steps:
        parameters["Hires steps"] = hires.steps
    return parameters | {"Hires upscaler": hires.upscaler}


def _mask(inpaint: Inpaint, blank: bool) -> Parameters:
    parameters: Parameters = {}
    if inpaint.invert:
        parameters["Mask mode"] = "Inpaint not masked"
    if inpaint.blur_x > 0 or inpaint.blur_y > 0:
        parameters["Mask blur"] = inpaint.blur_x if inpaint.blur_x == inpaint.blur_y else None
    if blank:
        return parameters
    if inpaint.full_res:
        parameters |= {"Inpaint area": "Only masked", "Masked area padding": inpaint.full_res_padding}
    if inpaint.fill in _MASKED_CONTENT:
        parameters["Masked content"] = _MASKED_CONTENT[inpaint.fill]
    return parameters


def _sampling(request: GenerationRequest, sampler: Sampler) -> Parameters:
    """What the first pass adds: noise, schedule, sampler, guidance, refiner."""
    options, parameters = request.options, Parameters()
    if options.use_downcasted_alpha_bar:
        parameters["Downcast alphas_cumprod"] = True
    if options.sd_noise_schedule != "Default":
        parameters["Noise Schedule"] = options.sd_noise_schedule
    if request.init is not None and options.initial_noise_multiplier != 1.0:
        parameters["Noise multiplier"] = options.initial_noise_multiplier
    if sampler.space == "sigma":
        parameters |= _schedule(request, sampler)
    if request.init is not None and options.img2img_extra_noise > 0:
        parameters["Extra noise"] = options.img2img_extra_noise
    if request.init is None and sampler.space == "sigma" and options.sgm_noise_multiplier:
        parameters["SGM noise multiplier"] = True
    parameters |= _sampler(request, sampler)
    if options.refiner_switch_by_sample_steps:  # written by A1111 without a refiner too
        parameters["Refiner switch by sampling steps"] = True
    if options.skip_early_cond:
        parameters["Skip Early CFG"] = options.skip_early_cond
    if unguided := _first(request.s_min_uncond, options.s_min_uncond):
        parameters["NGMS"] = unguided
        if options.s_min_uncond_all:
            parameters["NGMS all steps"] = True
    refiner = request.refiner
    if refiner is not None and refiner.switch_at < 1 and refiner.checkpoint != request.checkpoint:
        if request.hires is not None and options.hires_fix_refiner_pass != "second pass":
            parameters["Hires refiner"] = options.hires_fix_refiner_pass
        parameters |= {"Refiner": _short_title(refiner.checkpoint), "Refiner switch at": refiner.switch_at}
    return parameters


def _schedule(request: GenerationRequest, sampler: Sampler) -> Parameters:
    options, parameters = request.options, Parameters()
    if options.always_discard_next_to_last_sigma and not sampler.discard_next_to_last_sigma:
        parameters["Discard penultimate sigma"] = True
    scheduler = scheduler_that_runs(sampler, request.scheduler)
    if scheduler is AUTOMATIC:
        return parameters
    parameters["Schedule type"] = scheduler.label
    if options.sigma_min:
        parameters["Schedule min sigma"] = options.sigma_min
    if options.sigma_max:
        parameters["Schedule max sigma"] = options.sigma_max
    if scheduler.default_rho != -1 and options.rho not in (0, scheduler.default_rho):
        parameters["Schedule rho"] = options.rho
    if scheduler.name == "beta":
        parameters["Beta schedule alpha"] = options.beta_dist_alpha
        parameters["Beta schedule beta"] = options.beta_dist_beta
    return parameters


def _sampler(request: GenerationRequest, sampler: Sampler) -> Parameters:
    """Of the sigma options, only what the server's options say: A1111 does not write the request's own."""
    options, parameters = request.options, Parameters()
    eta = _eta(request, sampler)
    if sampler.uses_eta and eta != _default_eta(sampler):
        parameters["Eta" if sampler.space == "sigma" else "Eta DDIM"] = eta
    for name, default in (("s_churn", 0.0), ("s_tmin", 0.0), ("s_tmax", 0.0), ("s_noise", 1.0)):
        value = getattr(options, name)
        if name in sampler.takes and value != default:
            parameters[f"Sigma {name.removeprefix('s_')}"] = value
    return parameters


def _hires_sampling(hires: Hires, request: GenerationRequest) -> Parameters:
    """What the second pass adds."""
    parameters: Parameters = {}
    if request.options.img2img_extra_noise > 0:
        parameters["Extra noise"] = request.options.img2img_extra_noise
    first, second = SAMPLERS[request.sampler], SAMPLERS[hires.sampler or request.sampler]
    scheduler = scheduler_that_runs(second, hires.scheduler or request.scheduler)
    same = first.space == "sigma" and scheduler is scheduler_that_runs(first, request.scheduler)
    if second.space == "sigma" and scheduler is not AUTOMATIC and not same:
        parameters["Hires schedule type"] = scheduler.label
    return parameters


def _emphasized(request: GenerationRequest, image: Image) -> bool:
    """Is there a bracket in any text that is encoded (so not those of prompt editing)?"""
    hires = request.hires
    positive = {image.prompt, hires.prompt if hires else ""}
    negative = {image.negative_prompt, hires.negative_prompt if hires else ""}
    steps = SAMPLERS[request.sampler].denoiser_calls(request.steps)
    schedules = [
        condition.schedule for prompt in positive for condition in conditions(extract_networks(prompt)[0], steps)
    ]
    schedules += [schedule(prompt, steps) for prompt in negative]
    return any("(" in stage.text or "[" in stage.text for stages in schedules for stage in stages)


def _uses_ensd(request: GenerationRequest) -> bool:
    sampler = SAMPLERS[request.sampler]
    return request.options.eta_noise_seed_delta != 0 and sampler.uses_ensd and _eta(request, sampler) != 0


def _eta(request: GenerationRequest, sampler: Sampler) -> float:
    option = request.options.eta_ancestral if sampler.space == "sigma" else request.options.eta_ddim
    return _first(request.eta, option)


def _default_eta(sampler: Sampler) -> float:
    return 1.0 if sampler.space == "sigma" else 0.0


def _first(asked: float | None, option: float) -> float:
    return option if asked is None else asked


def _if_other(text: str, than: str) -> str | None:
    return text if text and text != than else None


def _short_title(title: str) -> str:
    """`folder/name.safetensors [hash]` as `name [hash]`."""
    name, bracket, digest = title.partition(" [")
    path = PurePosixPath(name)
    stem = path.stem if path.suffix in (".safetensors", ".ckpt") else path.name
    return stem + bracket + digest
