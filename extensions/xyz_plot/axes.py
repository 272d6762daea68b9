"""The axes: what each varies, in A1111's order for each tab, which requests count in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from easel import (
    BadRequest,
    GenerationRequest,
    Refiner,
    StyleTexts,
    find_sampler,
    find_scheduler,
    hires_upscalers,
    retyped,
    styles_of,
)

from .values import Kind

Request = GenerationRequest
Apply = Callable[[Any, Request, Any, Sequence[Any]], Request]  # app, request, the value, all values
NOTHING = "Nothing"


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing to vary. Values of a `costly` one change as seldom as possible; `missing` says why there is none."""

    label: str
    kind: Kind = "text"
    apply: Apply | None = None
    tab: Literal["txt2img", "img2img"] | None = None  # None: both
    bare: bool = False  # labels are the values alone
    costly: float = 0.0
    choices: bool = False  # A1111's page has a list of them
    missing: str = ""

    def title(self, value: Any) -> str:
        """The label of one value."""
        if self.label == NOTHING:
            return ""
        if self.kind == "order":
            return ", ".join(value)
        if isinstance(value, float):
            value = round(value, 8)
        return str(value) if self.bare else f"{self.label}: {value}"


def _field(name: str) -> Apply:
    return lambda app, request, value, values: replace(request, **{name: value})


def _option(name: str, read: Callable[[Any], Any] = lambda value: value) -> Apply:
    def apply(app: Any, request: Request, value: Any, values: Sequence[Any]) -> Request:
        options = replace(request.options, **{name: read(value)})
        return replace(request, options=options, overridden=tuple(dict.fromkeys((*request.overridden, name))))

    return apply


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not low <= value <= high:
            raise BadRequest("out of range", field="values", value=value, allowed=f"{low} to {high}")
        return int(value)

    return read


def _one_of(*known: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in known:
            raise BadRequest("unknown", field="values", value=value, allowed=", ".join(known))
        return value

    return read


def _yes(value: str) -> bool:
    return value.lower() == "true"


def _hires(name: str, read: Callable[[Any, Any], Any] = lambda app, value: value) -> Apply:
    def apply(app: Any, request: Request, value: Any, values: Sequence[Any]) -> Request:
        if request.hires is None:
            raise BadRequest("there is no hires pass", field="enable_hr", value=False, allowed="true")
        return replace(request, hires=replace(request.hires, **{name: read(app, value)}))

    return apply


def _hires_upscaler(app: Any, value: str) -> str:
    return _one_of(*hires_upscalers(app.upscalers))(value)


def _hires_sampler(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    scheduler = None if request.hires is None else request.hires.scheduler or request.scheduler
    sampler, own = find_sampler(value, scheduler, field="values")
    return _hires("scheduler")(app, _hires("sampler")(app, request, sampler.name, values), own, values)


def _sampler(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    sampler, scheduler = find_sampler(value, request.scheduler, field="values")
    return replace(request, sampler=sampler.name, scheduler=scheduler)


def _scheduler(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    return replace(request, scheduler=find_scheduler(value, field="values").label)


def _checkpoint(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    return replace(request, checkpoint=app.store.checkpoint(value).title)


def _refiner(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    if value in ("", "None", "none"):
        return replace(request, refiner=None)
    at = 0.8 if request.refiner is None else request.refiner.switch_at
    return replace(request, refiner=Refiner(checkpoint=app.store.checkpoint(value).title, switch_at=at))


def _refiner_at(app: Any, request: Request, value: float, values: Sequence[Any]) -> Request:
    if request.refiner is None or not 0 <= value <= 1:
        raise BadRequest("needs a refiner_checkpoint, and 0 to 1", field="values", value=value)
    return replace(request, refiner=replace(request.refiner, switch_at=value))


def _vae(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    """A name may be a part of the file's, as in A1111; the shortest that fits."""
    name = {"auto": "Automatic", "automatic": "Automatic", "none": "None"}.get(value.lower())
    if name is None:
        known = sorted((file.filename for file in app.store.files("vae")), key=len)
        name = next((one for one in known if value.lower() in one.lower()), value)
        app.store.vae(name, app.store.checkpoint(request.checkpoint))  # refuses unknown ones
    return replace(request, vae=name)


def _styles(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    known = {style.name: style.texts for style in styles_of(app.settings)}
    added = [known.get(name, StyleTexts(name)) for name in value.split(",")]
    if missing := [style.name for style in added if style.name not in known]:
        raise BadRequest("there is no such style", field="values", value=missing[0], allowed=", ".join(known))
    return retyped(request, styles=(*(request.typed.styles if request.typed else ()), *added))


def _search(app: Any, request: Request, value: str, values: Sequence[str]) -> Request:
    typed = request.typed or request
    if values[0] not in typed.prompt and values[0] not in typed.negative_prompt:
        raise BadRequest("is in neither prompt", field="values", value=values[0])
    return retyped(
        request,
        prompt=typed.prompt.replace(values[0], value),
        negative_prompt=typed.negative_prompt.replace(values[0], value),
    )


def _order(app: Any, request: Request, value: Sequence[str], values: Sequence[Any]) -> Request:
    """The places of the parts stay; the parts change places."""
    prompt = (request.typed or request).prompt
    for part in value:
        if part not in prompt:
            raise BadRequest("is not in the prompt", field="values", value=part)
    made, rest = "", prompt
    for place, part in enumerate(sorted(value, key=prompt.find)):
        head, _, rest = rest.partition(part)
        made += head + value[place]
    return retyped(request, prompt=made + rest)


def _denoising(app: Any, request: Request, value: float, values: Sequence[Any]) -> Request:
    request = replace(request, denoising_strength=value)
    if request.init is not None:
        return request
    return _hires("denoising_strength")(app, request, value, values)


def _picture_guidance(app: Any, request: Request, value: float, values: Sequence[Any]) -> Request:
    assert request.init is not None
    return replace(request, init=replace(request.init, image_cfg_scale=value))


def _size(app: Any, request: Request, value: str, values: Sequence[Any]) -> Request:
    width, _, height = value.lower().partition("x")
    if not (width.strip().isdecimal() and height.strip().isdecimal()):
        raise BadRequest("no size", field="values", value=value, allowed="e.g. 512x768")
    return replace(request, width=int(width), height=int(height))


_NO_MERGING = "token merging is not part of this service"

AXES = (
    Axis(NOTHING, apply=lambda app, request, value, values: request),
    Axis("Seed", "int", _field("seed")),
    Axis("Var. seed", "int", _field("subseed")),
    Axis("Var. strength", "float", _field("subseed_strength")),
    Axis("Steps", "int", _field("steps")),
    Axis("Hires steps", "int", _hires("steps"), tab="txt2img"),
    Axis("CFG Scale", "float", _field("cfg_scale")),
    Axis("Image CFG Scale", "float", _picture_guidance, tab="img2img"),
    Axis("Prompt S/R", "text", _search, bare=True),
    Axis("Prompt order", "order", _order),
    Axis("Sampler", "text", _sampler, bare=True, choices=True),
    Axis("Hires sampler", "text", _hires_sampler, tab="txt2img", choices=True),
    Axis("Checkpoint name", "text", _checkpoint, bare=True, costly=1.0, choices=True),
    Axis("Negative Guidance minimum sigma", "float", _field("s_min_uncond")),
    Axis("Sigma Churn", "float", _field("s_churn")),
    Axis("Sigma min", "float", _field("s_tmin")),
    Axis("Sigma max", "float", _field("s_tmax")),
    Axis("Sigma noise", "float", _field("s_noise")),
    Axis("Schedule type", "text", _scheduler, choices=True),
    Axis("Schedule min sigma", "float", _option("sigma_min")),
    Axis("Schedule max sigma", "float", _option("sigma_max")),
    Axis("Schedule rho", "float", _option("rho")),
    Axis("Beta schedule alpha", "float", _option("beta_dist_alpha")),
    Axis("Beta schedule beta", "float", _option("beta_dist_beta")),
    Axis("Eta", "float", _field("eta")),
    Axis("Clip skip", "int", _option("CLIP_stop_at_last_layers", _whole(1, 12))),
    Axis("Denoising", "float", _denoising),
    Axis("Initial noise multiplier", "float", _option("initial_noise_multiplier")),
    Axis("Extra noise", "float", _option("img2img_extra_noise")),
    Axis("Hires upscaler", "text", _hires("upscaler", _hires_upscaler), tab="txt2img", choices=True),
    Axis("Cond. Image Mask Weight", "float", _option("inpainting_mask_weight"), tab="img2img"),
    Axis("VAE", "text", _vae, costly=0.7, choices=True),
    Axis("Styles", "text", _styles, choices=True),
    Axis("UniPC Order", "int", _option("uni_pc_order", _whole(1, 50)), costly=0.5),
    Axis("Face restore", bare=True, missing="no face restorer takes part in generation here"),
    Axis("Token merging ratio", "float", missing=_NO_MERGING),
    Axis("Token merging ratio high-res", "float", missing=_NO_MERGING),
    Axis("Always discard next-to-last sigma", apply=_option("always_discard_next_to_last_sigma", _yes), choices=True),
    Axis("SGM noise multiplier", apply=_option("sgm_noise_multiplier", _yes), choices=True),
    Axis("Refiner checkpoint", "text", _refiner, bare=True, costly=1.0, choices=True),
    Axis("Refiner switch at", "float", _refiner_at),
    Axis("RNG source", "text", _option("randn_source", _one_of("GPU", "CPU", "NV")), choices=True),
    Axis("FP8 mode", missing="weights are not stored as FP8 here", choices=True),
    Axis("Size", "text", _size),
)


def axes_of(tab: str) -> tuple[Axis, ...]:
    """The axes of a tab, in the order that numbers count."""
    return tuple(axis for axis in AXES if axis.tab in (None, tab))


def shown(axis: Axis, value: Any) -> str:
    """A value in a label: files without their folders."""
    return axis.title(PurePosixPath(value).name if axis.costly == 1.0 and isinstance(value, str) else value)
