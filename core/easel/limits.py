"""What numbers of a request may be: below, above or not a number names the field, the value and what is allowed."""

from __future__ import annotations

import math

from easel.errors import BadRequest
from easel.imaging.hires import hires_size
from easel.settings import Settings
from easel.values.request import GenerationRequest

MAX_PROMPT = 1 << 16  # characters
_SEED = 2**63 - 2**32  # what generators take, with room to count up
INFINITE = float("inf")
RANGES: dict[str, tuple[float, float]] = {
    "seed": (-_SEED, _SEED),
    "subseed": (-_SEED, _SEED),
    "subseed_strength": (0, 1),
    "batch_size": (1, INFINITE),
    "n_iter": (1, INFINITE),
    "steps": (1, INFINITE),
    "cfg_scale": (0, 1000),
    "width": (8, INFINITE),
    "height": (8, INFINITE),
    "eta": (0, 10),
    "denoising_strength": (0, 1),
    "s_min_uncond": (0, INFINITE),
    "s_churn": (0, INFINITE),
    "s_tmax": (0, INFINITE),
    "s_tmin": (0, INFINITE),
    "s_noise": (0, 10),
    "refiner_switch_at": (0, 1),
    "hr_scale": (0.1, 64),
    "hr_second_pass_steps": (0, INFINITE),
    "hr_resize_x": (0, INFINITE),
    "hr_resize_y": (0, INFINITE),
    "firstphase_width": (0, INFINITE),
    "firstphase_height": (0, INFINITE),
    "resize_mode": (0, 3),
    "image_cfg_scale": (0, 1000),
    "mask_blur": (0, 256),
    "mask_blur_x": (0, 256),
    "mask_blur_y": (0, 256),
    "inpainting_fill": (0, 3),
    "inpaint_full_res_padding": (0, 256),
    "inpainting_mask_invert": (0, 1),
    "initial_noise_multiplier": (0, 10),
}


def check_request(request: GenerationRequest, settings: Settings) -> None:
    """Check a request that a script has made of another: numbers, texts, sizes. Errors: BadRequest."""
    check_numbers(request, settings)
    check_size(request.width, request.height, settings, ("width", "height"))
    if request.hires is not None:
        if not 0 <= request.hires.steps <= settings.max_steps:
            raise BadRequest(
                "out of range",
                field="hr_second_pass_steps",
                value=request.hires.steps,
                allowed=f"0 to {settings.max_steps}",
            )
        target = hires_size(request.width, request.height, request.hires)
        check_size(target.width, target.height, settings, ("hr_scale", "hr_scale"))


def check_count(pictures: int, settings: Settings, field: str = "script_args") -> None:
    """Refuse a script that would make too many pictures; before the requests for them are made. Errors: BadRequest."""
    if pictures > settings.max_script_pictures:
        allowed = f"up to {settings.max_script_pictures}"
        raise BadRequest("the script would make too many pictures", field=field, value=pictures, allowed=allowed)


def check_numbers(body: object, settings: Settings) -> None:
    """Check every number and text length on its own, of a request or its body. Errors: BadRequest."""
    for field, (low, high) in RANGES.items():
        value = getattr(body, field, None)
        # a body keeps unknown fields, of whatever type, beside its own
        if isinstance(value, int | float) and not low <= value <= high:
            allowed = f"{low:g} to {high:g}" if high < INFINITE else f"at least {low:g}"
            raise BadRequest("out of range", field=field, value=value, allowed=allowed)
    for field in ("steps", "hr_second_pass_steps"):
        if getattr(body, field, 0) > settings.max_steps:
            raise BadRequest(
                "too many steps", field=field, value=getattr(body, field), allowed=f"up to {settings.max_steps}"
            )
    for field in ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"):
        if len(getattr(body, field, "")) > MAX_PROMPT:
            value = f"{len(getattr(body, field))} characters"
            raise BadRequest("the text is too long", field=field, value=value, allowed=f"up to {MAX_PROMPT} characters")
    counts = {field: getattr(body, field) for field in ("batch_size", "n_iter")}
    if math.prod(counts.values()) > settings.max_batch:
        field, value = max(counts.items(), key=lambda item: item[1])
        allowed = f"batch_size x n_iter up to {settings.max_batch}"
        raise BadRequest("too many pictures", field=field, value=value, allowed=allowed)


def check_size(width: int, height: int, settings: Settings, fields: tuple[str, str]) -> None:
    """Refuse a picture of too many pixels; `fields` are the names of the two sides."""
    if width * height > settings.max_pixels:
        field, value = (fields[0], width) if width >= height else (fields[1], height)
        allowed = f"width x height up to {settings.max_pixels} pixels"
        raise BadRequest("the picture would be too large", field=field, value=value, allowed=allowed)
