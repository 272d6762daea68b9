"""A unit with its names looked up: which preprocessor with which values, and which ControlNet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from easel import BadRequest, GenerationRequest, Hold, Reference

from . import preprocessors
from .preprocessors import Preprocessor, Slider

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .library import Library, ModelFile
    from .units import Unit, Units

Remark = Callable[[str, str], None]  # a key of a unit, and what is to be said about it
_SOFT = tuple(0.825 ** (12 - n) for n in range(13))  # layer by layer, the middle one last
_SOFT_IN_HIRES = ("canny", "mlsd")  # with these, hires passes are always softened


@dataclass(frozen=True, slots=True)
class Resolved:
    """One unit that is switched on. `number` counts such units, `field` names it in the request."""

    unit: Unit
    number: int
    field: str
    preprocessor: Preprocessor
    resolution: float
    a: float
    b: float
    model: ModelFile | None
    model_name: str  # as the request spells it

    @property
    def infotext(self) -> tuple[str, str]:
        """Key and value in the generation data, as sd-webui-controlnet writes them."""
        unit = self.unit
        values = {
            "Module": unit.module,
            "Model": self.model_name,
            "Weight": unit.weight,
            "Resize Mode": unit.resize_mode,
            "Processor Res": self.resolution,
            "Threshold A": self.a,
            "Threshold B": self.b,
            "Guidance Start": unit.guidance_start,
            "Guidance End": unit.guidance_end,
            "Pixel Perfect": unit.pixel_perfect,
            "Control Mode": unit.control_mode,
        }
        texts = {key: str(value) for key, value in values.items()}
        readable = not any(mark in text for text in texts.values() for mark in ",:")
        return f"ControlNet {self.number}", ", ".join(f"{key}: {text}" for key, text in texts.items()) * readable

    def acts_in(self, stage: str, request: GenerationRequest) -> bool:
        """Does it take part in this pass?"""
        option = self.unit.hr_option
        return request.hires is None or option == "Both" or (option == "High res only") == (stage == "hires")

    def layer_weights(self, stage: str) -> tuple[float, tuple[float, ...] | None]:
        """The weight of all layers, and each one's own share of it."""
        unit = self.unit
        if unit.advanced_weighting is not None:
            return 1.0, tuple(unit.advanced_weighting)
        softened = stage == "hires" and any(name in self.preprocessor.name for name in _SOFT_IN_HIRES)
        return unit.weight, _SOFT if softened or unit.control_mode != "Balanced" else None

    def reference(self, picture: NDArray[np.uint8], stage: str) -> Reference:
        """How the denoiser looks at a picture: with `reference_…` modules."""
        name = self.preprocessor.name
        return Reference(
            picture=picture,
            weight=self.unit.weight,
            fidelity=self.fidelity(stage),
            attention=name != "reference_adain",
            statistics=name != "reference_only",
            start=self.unit.guidance_start,
            end=self.unit.guidance_end,
        )

    def hold(self, found: NDArray[np.uint8], stage: str) -> Hold | None:
        """What every step is held to: the kept part with `inpaint_only`, the colours with `tile_colorfix`."""
        name, weight, picture = self.preprocessor.name, self.unit.weight, found[..., :3]
        if name == "inpaint_only":
            return Hold(picture=picture, mask=found[..., 3].astype(np.float32) / 255.0, weight=weight)
        if not name.startswith("tile_colorfix"):
            return None
        twice = 2 if stage == "hires" and self.unit.hr_option != "Low res only" else 1
        softened = self.b / 100 if name.endswith("+sharp") else 0.0
        return Hold(picture=picture, radius=int(self.a) * twice, softened=softened, weight=weight)

    def fidelity(self, stage: str) -> float:
        """How far the negative text looks away from a reference."""
        if self.unit.control_mode == "ControlNet is more important":
            return 1.0
        return self.a if stage == "first" and self.unit.control_mode == "Balanced" else 0.0


def resolve(
    units: Units, request: GenerationRequest, library: Library, files: Collection[str], remark: Remark
) -> Iterator[Resolved]:
    """The units of a request that are switched on. Errors: BadRequest and its kinds, NotAvailable, naming the key.

    `files`: what is in models/Annotators. `remark` hears of keys that change nothing and of values out of range.
    """
    limit = request.options.control_net_unit_count
    for number, (place, unit) in enumerate(_separate(units)):
        field = f"controlnet[{place}]"
        if place >= limit:
            reason = "too many units; the option control_net_unit_count allows more"
            raise BadRequest(reason, field=field, value=place + 1, allowed=f"{limit}")
        for key, reason in unit.without_effect():
            remark(f"{field}.{key}", reason)
        preprocessor = preprocessors.find(unit.module, files, f"{field}.module")
        preprocessor = _instead(preprocessor, request, field, remark)
        model, name = _model(unit, preprocessor, request, library, field, remark)
        sliders = {
            "processor_res": preprocessor.resolution,
            "threshold_a": preprocessor.a,
            "threshold_b": preprocessor.b,
        }
        resolution, a, b = (_value(unit, key, slider, field, remark) for key, slider in sliders.items())
        yield Resolved(unit, number, field, preprocessor, resolution, a, b, model, name)


def _separate(units: Units) -> Iterator[tuple[int, Unit]]:
    """With `input_mode` merge a unit becomes one for each of its pictures, which share its weight."""
    for place, unit in units.enabled():
        if unit.input_mode != "merge" or not isinstance(unit.image, list) or not unit.image:
            yield place, unit
            continue
        pictures = unit.image if not isinstance(unit.image[0], str) else [{"image": one} for one in unit.image]
        for picture in pictures:
            yield place, unit.model_copy(update={"image": picture, "weight": unit.weight / len(pictures)})


def _instead(preprocessor: Preprocessor, request: GenerationRequest, field: str, remark: Remark) -> Preprocessor:
    """Where img2img inpaints already, `inpaint_only` would do it twice."""
    masked = request.init is not None and request.init.inpaint is not None
    if preprocessor.name != "inpaint_only" or not masked:
        return preprocessor
    remark(f"{field}.module", "the request has a mask of its own: inpaint_global_harmonious was used")
    return next(one for one in preprocessors.ALL if one.name == "inpaint")


def _model(
    unit: Unit, preprocessor: Preprocessor, request: GenerationRequest, library: Library, field: str, remark: Remark
) -> tuple[ModelFile | None, str]:
    """The ControlNet's file, and its name for the generation data."""
    if preprocessor.model_free:
        if unit.model not in (None, "", "None"):
            remark(f"{field}.model", f"{preprocessor.name} works without one")
        return None, "None"
    where = f"{field}.model"
    name = unit.model
    if name is None:
        name = library.default(request)
    if name.lower() in ("", "none"):
        known = ", ".join(library.titles()) or "none is installed: put one into models/ControlNet"
        raise BadRequest("a ControlNet is needed", field=where, value=unit.model, allowed=known)
    file, said = library.find(name, where)
    if said:
        remark(where, said)
    return file, name


def _value(unit: Unit, key: str, slider: Slider, field: str, remark: Remark) -> float:
    given: float = getattr(unit, key)
    value = slider.within(given)
    if value != given and given != -1 and slider.name:
        remark(f"{field}.{key}", f"{given:g} is not within {slider.least:g} to {slider.most:g}; {value:g} was used")
    return value
