"""The bodies of A1111's API: its field names and defaults, its leniency, its wording when a value cannot be read.

Numbers may come as strings, whole numbers as floats (cut, not rounded), null stands for the default, unknown fields
are kept aside in `model_extra`. What cannot be read is answered as pydantic 1 worded it, as clients know it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from easel.api.describe import with_meanings

_WORDS = {
    **dict.fromkeys(("true", "1", "on", "yes", "t", "y"), True),
    **dict.fromkeys(("false", "0", "off", "no", "f", "n"), False),
}


def _refuse(kind: str, text: str, value: object, allowed: str) -> PydanticCustomError:
    shown = value if isinstance(value, bool | int) or value is None else str(value)[:80]
    return PydanticCustomError(kind, text, {"given": shown, "allowed": allowed})


def _int(value: object) -> int:
    if isinstance(value, int | float | str):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass  # answered below, like any other value that is no number
    raise _refuse("type_error.integer", "value is not a valid integer", value, "a whole number")


def _float(value: object) -> float | int:
    if isinstance(value, int | float | str):
        try:
            number = value if isinstance(value, int) else float(value)
            if math.isfinite(number):
                return number
        except (ValueError, OverflowError):
            pass  # answered below
    raise _refuse("type_error.float", "value is not a valid float", value, "a number")


def _bool(value: object) -> bool:
    word = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).lower()
    if isinstance(value, bool | int | float | str) and word in _WORDS:
        return _WORDS[word]
    raise _refuse("value_error.bool", "value could not be parsed to a boolean", value, "true or false")


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise _refuse("type_error.str", "str type expected", value, "a text")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse("type_error.list", "value is not a valid list", value, "a list")
    return value


def _list_or_dict(value: object) -> list[Any] | dict[str, Any]:
    return _dict(value) if isinstance(value, dict) else _list(value)


def _dict(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse("type_error.dict", "value is not a valid dict", value, "an object")
    return _whole_characters(value)


def _whole_characters(data: dict[str, Any]) -> dict[str, Any]:
    """`data`, unless a text in it holds half a character ("\\ud800" alone), which no file and no message could hold."""
    waiting = [(name, part) for name, value in data.items() for part in (name, value)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(name, part) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            waiting += [(name, part) for part in one]
        elif isinstance(one, str) and not one.isascii() and _is_broken(one):
            raise _refuse(
                "value_error.str", f"{ascii(name)[:80]}: half a surrogate pair", ascii(one), "whole characters"
            )
    return data


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


Int = Annotated[int, BeforeValidator(_int)]
Float = Annotated[float, BeforeValidator(_float)]
Bool = Annotated[bool, BeforeValidator(_bool)]
Str = Annotated[str, BeforeValidator(_str)]
List = Annotated[list[Any], BeforeValidator(_list)]
Arguments = Annotated[list[Any] | dict[str, Any], BeforeValidator(_list_or_dict)]
StrList = Annotated[list[Str], BeforeValidator(_list)]
Dict = Annotated[dict[str, Any], BeforeValidator(_dict)]


class Body(BaseModel):
    """A JSON object whose nulls are as good as not sent."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), json_schema_extra=with_meanings)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise PydanticCustomError("type_error.dict", "value is not a valid dict")
        return {name: value for name, value in _whole_characters(data).items() if value is not None}

    def echo(self) -> dict[str, Any]:
        """The declared fields with their values, defaults filled in."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class _Common(Body):
    prompt: Str = ""
    negative_prompt: Str = ""
    styles: StrList | None = None
    seed: Int = -1
    subseed: Int = -1
    subseed_strength: Float = 0
    seed_resize_from_h: Int = -1
    seed_resize_from_w: Int = -1
    sampler_name: Str | None = None
    scheduler: Str | None = None
    batch_size: Int = 1
    n_iter: Int = 1
    steps: Int = 50
    cfg_scale: Float = 7.0
    width: Int = 512
    height: Int = 512
    restore_faces: Bool | None = None
    tiling: Bool | None = None
    do_not_save_samples: Bool = False
    do_not_save_grid: Bool = False
    eta: Float | None = None
    denoising_strength: Float | None = None
    s_min_uncond: Float | None = None
    s_churn: Float | None = None
    s_tmax: Float | None = None
    s_tmin: Float | None = None
    s_noise: Float | None = None
    override_settings: Dict | None = None
    override_settings_restore_afterwards: Bool = True
    refiner_checkpoint: Str | None = None
    refiner_switch_at: Float | None = None
    disable_extra_networks: Bool = False
    firstpass_image: Str | None = None
    comments: Dict | None = None


class _Hires(Body):
    enable_hr: Bool = False
    firstphase_width: Int = 0
    firstphase_height: Int = 0
    hr_scale: Float = 2.0
    hr_upscaler: Str | None = None
    hr_second_pass_steps: Int = 0
    hr_resize_x: Int = 0
    hr_resize_y: Int = 0
    hr_checkpoint_name: Str | None = None
    hr_sampler_name: Str | None = None
    hr_scheduler: Str | None = None
    hr_prompt: Str = ""
    hr_negative_prompt: Str = ""


class _Images(Body):
    init_images: List | None = None
    resize_mode: Int = 0
    image_cfg_scale: Float | None = None
    mask: Str | None = None
    mask_blur_x: Int = 4
    mask_blur_y: Int = 4
    mask_blur: Int | None = None
    mask_round: Bool = True
    inpainting_fill: Int = 0
    inpaint_full_res: Bool = True
    inpaint_full_res_padding: Int = 0
    inpainting_mask_invert: Int = 0
    initial_noise_multiplier: Float | None = None
    latent_mask: Str | None = None
    include_init_images: Bool = False


class _Call(Body):
    force_task_id: Str | None = None
    sampler_index: Str = "Euler"
    script_name: Str | None = None
    script_args: Arguments = []
    send_images: Bool = True
    save_images: Bool = False
    alwayson_scripts: Dict = {}
    infotext: Str | None = None


class Txt2ImgBody(_Call, _Hires, _Common):
    """`/sdapi/v1/txt2img`: 55 fields, all optional; numbers may be texts, null is as good as not sent."""


class Img2ImgBody(_Call, _Images, _Common):
    """`/sdapi/v1/img2img`: 57 fields; numbers may be texts, null is as good as not sent."""

    denoising_strength: Float | None = 0.75


class GenerationResponse(BaseModel):
    """What txt2img and img2img answer: pictures as base64, the request with its defaults, JSON about the pictures."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class PngInfoBody(Body):
    """`/sdapi/v1/png-info`."""

    image: Str


class PngInfoResponse(BaseModel):
    """Infotext, other texts of the file, and the infotext read into parameters."""

    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


class InterrogateBody(Body):
    """`/sdapi/v1/interrogate`."""

    image: Str = ""
    model: Str = "clip"


class ProgressBody(Body):
    """`/internal/progress`: the task as `force_task_id` named it."""

    id_task: Str
    id_live_preview: Int = -1
    live_preview: Bool = True
