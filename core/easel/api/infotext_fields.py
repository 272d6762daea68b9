"""The `infotext` of a request: what it says fills each field, and each option, that the request did not name itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, EaselError
from easel.prompt.infotext import Parameters, parse_infotext
from easel.prompt.overrides import option_overrides
from easel.prompt.styles import Style
from easel.values.result import ReportLine
from easel.values.sampling import find_sampler

if TYPE_CHECKING:
    from easel.app import Easel

_FILLS = ("fill", "original", "latent noise", "latent nothing")

# Parameter of the infotext -> field of the request.
_FIELDS = {
    "Prompt": "prompt",
    "Negative prompt": "negative_prompt",
    "Styles array": "styles",
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Image CFG scale": "image_cfg_scale",
    "Seed": "seed",
    "Size-1": "width",
    "Size-2": "height",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Seed resize from-1": "seed_resize_from_w",
    "Seed resize from-2": "seed_resize_from_h",
    "Denoising strength": "denoising_strength",
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Hires steps": "hr_second_pass_steps",
    "Hires resize-1": "hr_resize_x",
    "Hires resize-2": "hr_resize_y",
    "Hires checkpoint": "hr_checkpoint_name",
    "Hires sampler": "hr_sampler_name",
    "Hires schedule type": "hr_scheduler",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Mask blur": "mask_blur",
    "Mask mode": "inpainting_mask_invert",
    "Masked content": "inpainting_fill",
    "Inpaint area": "inpaint_full_res",
    "Masked area padding": "inpaint_full_res_padding",
}
# Where the request's value is another one than the text.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "inpainting_mask_invert": lambda text: int(text == "Inpaint not masked"),
    "inpainting_fill": lambda text: _FILLS.index(text) if text in _FILLS else 1,
    "inpaint_full_res": lambda text: text == "Only masked",
}


def merge_infotext(
    app: Easel, body: Txt2ImgBody | Img2ImgBody, styles: Sequence[Style]
) -> tuple[Txt2ImgBody | Img2ImgBody, list[ReportLine]]:
    """`body` with what its infotext says where it says nothing itself, and what of the infotext cannot be had here.

    Errors: BadRequest for values no request may have.
    """
    if not body.infotext:
        return body, []
    parameters = parse_infotext(body.infotext, styles)
    known = type(body).model_fields
    found = {name: value for name, value in fields_of(parameters).items() if name in known}
    wanted, report = _options(app, parameters)
    overrides = wanted | (body.override_settings or {})
    sent = {name: getattr(body, name) for name in body.model_fields_set}
    try:
        merged = type(body).model_validate(found | sent | {"override_settings": overrides or None})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(first["msg"], field=f"infotext: {first['loc'][0]}", value=first["input"]) from error
    return merged, report


def fields_of(parameters: Parameters) -> dict[str, Any]:
    """The fields of a request that an infotext fills, txt2img's and img2img's; numbers may be texts.

    Errors: UnknownName (no such sampler).
    """
    found: dict[str, Any] = {
        field: _READERS[field](str(parameters[key])) if field in _READERS else parameters[key]
        for key, field in _FIELDS.items()
        if key in parameters
    }
    if "Sampler" in parameters:
        sampler, label = find_sampler(str(parameters["Sampler"]), str(parameters["Schedule type"]), field="infotext")
        found |= {"sampler_name": sampler.name, "scheduler": label}
    upscales = any(parameters.get(key) for key in ("Hires upscale", "Hires upscaler", "Hires resize-1"))
    return found | {"enable_hr": "Denoising strength" in parameters and upscales}


def _options(app: Easel, parameters: Parameters) -> tuple[dict[str, Any], list[ReportLine]]:
    """The options an infotext wants; a picture may well come from a server with other models."""
    wanted: dict[str, Any] = {}
    report: list[ReportLine] = []
    for parameter, option, value in option_overrides(parameters, app.options.values()):
        try:
            checked = app.options.check(option, value)
            if option == "sd_model_checkpoint":
                app.store.checkpoint(checked)
            if option == "sd_vae":
                app.store.vae(checked, app.store.default_checkpoint())
        except EaselError as error:
            report.append(ReportLine(item=f"infotext: {parameter}", outcome="ignored", reason=error.message))
        else:
            wanted[option] = checked
    return wanted, report
