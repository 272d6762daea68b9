"""From the plan of a pass to its pictures: start latents, noise, masks, and a sampler for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from easel.engine.controls import Nets, encode
from easel.engine.guidance import Guidance
from easel.engine.holds import PictureHold
from easel.engine.latents import Blend, DegreeBlend, LatentBatch
from easel.engine.levels import Levels
from easel.engine.noise import NoiseRecipe, PictureNoise, generator
from easel.engine.pictures import Picture, Switch, Target
from easel.engine.references import references_of
from easel.engine.samplers.plan import SamplingPlan, plan_sampling
from easel.engine.samplers.registry import start
from easel.engine.schedules import model_schedule
from easel.engine.texts import PictureTexts, TextBatch
from easel.engine.weights import Weights
from easel.errors import BadRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from easel.engine import engine
    from easel.engine.engine import DenoisePlan
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.values.conditioning import Hold

LATENT_NOISE, LATENT_ZEROS = 2, 3  # A1111's "masked content"
INPAINTING, EDITING = 5, 4  # extra input channels of the two kinds of checkpoints that look at a picture


def plan_levels(plan: DenoisePlan, model: LoadedCheckpoint) -> SamplingPlan:
    """The sampler of a pass and the noise levels it visits."""
    return plan_sampling(
        plan.request,
        model.alphas_cumprod.double().numpy(),
        sampler=plan.sampler,
        scheduler=plan.scheduler,
        steps=plan.steps,
        strength=None if plan.init is None else plan.denoising_strength,
        exact_steps=plan.exact_steps,
        sdxl=model.family.name.startswith("SDXL"),
    )


def begin(
    plan: DenoisePlan,
    sampling: SamplingPlan,
    weights: Weights,
    model: LoadedCheckpoint,
    refiner: Callable[[], LoadedCheckpoint],
    nets: Nets,
) -> list[Picture]:
    """The pictures of a pass, each asking for its first evaluation.

    `refiner` gives the plan's second checkpoint when its time has come, `nets` ControlNets.
    """
    texts = _texts(plan.texts, len(plan.pictures))
    extra = _extra_channels(plan, model)
    controls = tuple(encode(one, nets, model, plan.width, plan.height) for one in plan.conditioning.controls)
    looks = [_looked_at(reference.picture, plan, model) for reference in plan.conditioning.references]
    inpainting = model.blueprint.extra_channels == INPAINTING
    holds = tuple(_hold(hold, plan, model) for hold in plan.conditioning.holds)
    pictures = []
    for index, noise in enumerate(plan.pictures):
        source = PictureNoise(_recipe(plan, noise, model), _shape(plan, model), model.device)
        init = _init(plan, index, model)
        x = sampling.start(source.first() * _noise_multiplier(plan), init)
        picture = Picture(
            sampler=start(sampling, x, source),
            sigma_space=sampling.sampler.space == "sigma",
            guidance=_guidance(plan, sampling, model),
            target=Target(
                weights=weights,
                levels=Levels(sampling.schedule, model.prediction),
                texts=texts[index],
                extra=None if extra is None else extra[index % len(extra)],
            ),
            start=x if init is None else init,
            steps=sampling.steps,
            controls=controls,
            references=references_of(plan, noise.seed, looks, model, masked=inpainting),
            holds=holds,
            switch=_switch(plan, index, refiner),
            blend=_blend(plan, init),
        )
        picture.begin()
        pictures.append(picture)
    return pictures


def _looked_at(picture: NDArray[np.uint8], plan: DenoisePlan, model: LoadedCheckpoint) -> Tensor:
    """The (1, C, h, w) latents of a picture."""
    padded = _continued(picture, plan)
    return model.encode_pixels(torch.tensor(padded).permute(2, 0, 1)[None].float() / 127.5 - 1.0)


def _continued(pixels: NDArray[Any], plan: DenoisePlan) -> NDArray[Any]:
    """(H, W, …) continued on the right and below, where the model's grid is larger than the picture."""
    below, right = max(0, plan.height - pixels.shape[0]), max(0, plan.width - pixels.shape[1])
    return np.pad(pixels, ((0, below), (0, right), *[(0, 0)] * (pixels.ndim - 2)), mode="edge")


def _hold(hold: Hold, plan: DenoisePlan, model: LoadedCheckpoint) -> PictureHold:
    mask = None if hold.mask is None else _grid(_continued(hold.mask, plan), model.device)
    return PictureHold.of(hold, _looked_at(hold.picture, plan, model), mask, model)


def _texts(texts: object, count: int) -> tuple[PictureTexts, ...]:
    if not isinstance(texts, TextBatch) or len(texts.pictures) != count:
        raise TypeError("a pass needs the encoded texts of each of its pictures")
    return texts.pictures


def _guidance(plan: DenoisePlan, sampling: SamplingPlan, model: LoadedCheckpoint) -> Guidance:
    request, options = plan.request, plan.request.options
    asked = request.init.image_cfg_scale if request.init is not None else None
    edits = model.blueprint.extra_channels == EDITING
    return Guidance(
        scale=request.cfg_scale * sampling.sampler.guidance_factor,
        calls=sampling.denoiser_calls,
        picture_scale=asked if edits and asked != 1.0 else None,
        skip_early=options.skip_early_cond,
        floor=options.s_min_uncond if request.s_min_uncond is None else request.s_min_uncond,
        floor_every_call=options.s_min_uncond_all,
    )


def _recipe(plan: DenoisePlan, noise: engine.PictureNoise, model: LoadedCheckpoint) -> NoiseRecipe:
    request, options, side = plan.request, plan.request.options, model.latent.pixels
    resized = request.seed_resize_from_h > 0 and request.seed_resize_from_w > 0
    return NoiseRecipe(
        seed=noise.seed,
        subseed=noise.subseed,
        subseed_strength=request.subseed_strength,
        resize_from=(request.seed_resize_from_h // side, request.seed_resize_from_w // side) if resized else None,
        seed_delta=options.eta_noise_seed_delta,
        source=options.randn_source,
    )


def _shape(plan: DenoisePlan, model: LoadedCheckpoint) -> tuple[int, int, int]:
    side = model.latent.pixels
    if plan.width < side or plan.height < side or plan.width % side or plan.height % side:
        raise BadRequest(
            "not on the model's grid",
            field="width, height",
            value=(plan.width, plan.height),
            allowed=f"multiples of {side}",
        )
    return model.latent.channels, plan.height // side, plan.width // side


def _noise_multiplier(plan: DenoisePlan) -> float:
    """A1111's `initial_noise_multiplier`: img2img, not the hires pass."""
    return 1.0 if plan.init is None or plan.exact_steps else plan.request.options.initial_noise_multiplier


def _init(plan: DenoisePlan, index: int, model: LoadedCheckpoint) -> Tensor | None:
    """The latents the picture starts from, their masked part filled as the plan says; (1, C, h, w)."""
    if plan.init is None:
        return None
    if not isinstance(plan.init, LatentBatch):
        raise TypeError("a pass starts from latents of this engine")
    init = plan.init.pictures[index % len(plan.init)]
    mask = plan.conditioning.mask
    if mask is None or plan.fill not in (LATENT_NOISE, LATENT_ZEROS):
        return init
    repaint = _grid(mask.mask, init.device)
    kept = init * (1.0 - repaint)
    if plan.fill == LATENT_ZEROS:
        return kept
    noise = plan.pictures[index]
    seed = noise.seed if noise.fill_seed is None else noise.fill_seed
    drawn = generator(plan.request.options.randn_source, seed, model.device)(tuple(init.shape[1:]))
    return kept + drawn[None].to(init.device) * repaint


def _blend(plan: DenoisePlan, init: Tensor | None) -> Blend | DegreeBlend | None:
    mask = plan.conditioning.mask
    if mask is None or init is None:
        return None
    repaint = _grid(mask.mask, init.device)
    return Blend.of(repaint, init) if mask.soft is None else DegreeBlend(repaint, init, mask.soft)


def _grid(mask: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.tensor(mask, dtype=torch.float32, device=device)[None, None]


def _switch(plan: DenoisePlan, index: int, refiner: Callable[[], LoadedCheckpoint]) -> Switch | None:
    if plan.refiner is None:
        return None
    weights, options = Weights.of(plan.refiner), plan.request.options
    texts = _texts(plan.refiner_texts, len(plan.pictures))

    def target() -> Target:
        model = refiner()
        schedule = model_schedule(model.alphas_cumprod.double().numpy(), options)
        return Target(weights=weights, levels=Levels(schedule, model.prediction), texts=texts[index])

    return Switch(target=target, at=plan.refiner_switch_at, by_calls=options.refiner_switch_by_sample_steps)


def _extra_channels(plan: DenoisePlan, model: LoadedCheckpoint) -> list[Tensor] | None:
    """The channels that inpainting checkpoints (mask, masked picture) and editing ones (the picture) see; (1, c, h, w).

    Without a picture everything is masked: grey, and a mask of ones.
    """
    if model.blueprint.extra_channels not in (INPAINTING, EDITING):
        return None
    pixels = _source_pixels(plan)
    if model.blueprint.extra_channels == EDITING:
        return [model.encode_pixels(one) / model.latent.scale for one in pixels]
    weight = plan.request.options.inpainting_mask_weight
    _, height, width = _shape(plan, model)
    mask = torch.ones(1, 1, *pixels[0].shape[-2:])
    if plan.pixel_mask is not None:
        mask = _grid(plan.pixel_mask, mask.device)
    small = functional.interpolate(mask, size=(height, width)).to(model.device)
    return [torch.cat((small, model.encode_pixels(torch.lerp(one, one * (1.0 - mask), weight))), 1) for one in pixels]


def _source_pixels(plan: DenoisePlan) -> list[Tensor]:
    """The pictures a checkpoint looks at, each (1, 3, H, W) in -1…1; grey when there are none."""
    if plan.masked_pictures is None:
        return [torch.zeros(1, 3, plan.height, plan.width)]
    return [torch.tensor(one).permute(2, 0, 1)[None].float() / 127.5 - 1.0 for one in plan.masked_pictures]
