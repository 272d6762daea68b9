"""One unit of a request, as `alwayson_scripts.controlnet.args[]` has it: every key, and how old clients spell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ResizeMode = Literal["Just Resize", "Crop and Resize", "Resize and Fill"]
ControlMode = Literal["Balanced", "My prompt is more important", "ControlNet is more important"]
HiresOption = Literal["Both", "Low res only", "High res only"]

ALIASES = {
    "lowvram": "low_vram",
    "guidance": "guidance_end",
    "input_image": "image",
    "image_link": "image",
    "mask_image": "mask",
}
_RESIZE: Mapping[object, ResizeMode] = {
    0: "Just Resize",
    1: "Crop and Resize",
    2: "Resize and Fill",
    3: "Just Resize",  # img2img's "latent upscale"
    "Inner Fit (Scale to Fit)": "Crop and Resize",
    "Scale to Fit (Inner Fit)": "Crop and Resize",
    "Outer Fit (Shrink to Fit)": "Resize and Fill",
    "Envelope (Outer Fit)": "Resize and Fill",
}
_MODES: Mapping[object, ControlMode] = {
    0: "Balanced",
    1: "My prompt is more important",
    2: "ControlNet is more important",
}
_WITHOUT_EFFECT = {
    "low_vram": "models are kept as memory allows, whatever a unit says",
    "batch_images": "it belongs to the page's batches",
    "output_dir": "it belongs to the page's batches; a request says save_dir",
    "loopback": "it belongs to the page's batches",
    "is_ui": "it belongs to a page",
    "batch_mask_dir": "it belongs to AnimateDiff",
    "animatediff_batch": "it belongs to AnimateDiff",
    "batch_modifiers": "it belongs to AnimateDiff",
    "batch_image_files": "it belongs to AnimateDiff",
    "batch_keyframe_idx": "it belongs to AnimateDiff",
    "pulid_mode": "PuLID is not available",
    "union_control_type": "union ControlNets are not available",
    "guessmode": "older than control_mode, which says it now",
}
_PICTURE: dict[str, Any] = {"control": "picture"}
_HIDDEN: dict[str, Any] = {"control": "hidden"}  # on the page
_USUAL = {"pulid_mode": "Fidelity", "union_control_type": "Unknown"}


class Unit(BaseModel):
    """A ControlNet unit. A key with null is as good as not sent."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    enabled: bool = Field(True, description="false: as if it were not there")
    module: str = Field("none", description="the preprocessor, by name or label")
    model: str | None = Field(None, description="`name` or `name [hash]`; absent: the starter's own, with the starter")
    weight: Annotated[float, Field(ge=0, le=2, description="how strongly it acts")] = 1.0
    image: Any = Field(
        None,
        description="base64, data URI, URL, {image, mask}, or a list; absent: the start picture",
        json_schema_extra=_PICTURE,
    )
    mask: str | None = Field(
        None, description="for the inpaint modules: white is to be painted", json_schema_extra=_PICTURE
    )
    resize_mode: ResizeMode = Field("Crop and Resize", description="how the picture comes to the size")
    processor_res: int = Field(-1, description="the preprocessor's short side; -1: its default")
    threshold_a: float = Field(-1, description="the preprocessor's first value; -1: its default")
    threshold_b: float = Field(-1, description="the preprocessor's second value; -1: its default")
    guidance_start: Annotated[float, Field(ge=0, le=1, description="acts from this fraction of the steps")] = 0.0
    guidance_end: Annotated[float, Field(ge=0, le=1, description="… to this one")] = 1.0
    pixel_perfect: bool = Field(False, description="processor_res by the size of the result")
    control_mode: ControlMode = Field("Balanced", description="who is more important")
    hr_option: HiresOption = Field("Both", description="in which pass of a hires fix it acts")
    inpaint_crop_input_image: bool = Field(True, description="with img2img's `only masked`: crop the picture too")
    save_detected_map: bool = Field(True, description="the map comes back with the results")
    advanced_weighting: list[float] | None = Field(
        None, description="one weight per layer, instead of `weight`", json_schema_extra=_HIDDEN
    )
    effective_region_mask: str | None = Field(None, description="where it acts: white", json_schema_extra=_HIDDEN)
    input_mode: Literal["simple", "merge", "batch"] = Field(
        "simple", description="merge: one unit for each picture", json_schema_extra=_HIDDEN
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled_anew(cls, given: object) -> object:
        """Old spellings become today's; nulls and empty pictures are taken out."""
        if not isinstance(given, Mapping):
            raise ValueError('a unit is an object, like {"module": "canny", "image": "…"}')
        said = {str(key): value for key, value in given.items() if value is not None}
        said = {key: value for key, value in said.items() if value != "" or key not in _PICTURES}
        for old, new in ALIASES.items():
            if old in said:
                if new in said:
                    raise ValueError(f"{old} and {new} say the same; send one of them")
                said[new] = said.pop(old)
        if said.get("ipadapter_input"):
            raise ValueError("ipadapter_input: IP-adapters are not available")
        return said

    @field_validator("module", mode="before")
    @classmethod
    def _module(cls, value: object) -> object:
        return "none" if value in ("None", "") else value

    @field_validator("resize_mode", mode="before")
    @classmethod
    def _resize_mode(cls, value: object) -> object:
        return _known(_RESIZE, value)

    @field_validator("control_mode", mode="before")
    @classmethod
    def _control_mode(cls, value: object) -> object:
        return _known(_MODES, value)

    @model_validator(mode="after")
    def _window(self) -> Unit:
        if self.guidance_start > self.guidance_end:
            raise ValueError(f"guidance_start ({self.guidance_start}) is after guidance_end ({self.guidance_end})")
        return self

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Keys that were sent with more than their default and change nothing, each with the reason."""
        for key, value in (self.model_extra or {}).items():
            if not value or value == _USUAL.get(key):
                continue
            if key in _WITHOUT_EFFECT:
                yield key, _WITHOUT_EFFECT[key]
            elif key != "ipadapter_input":
                near = get_close_matches(key[:80], [*type(self).model_fields, *ALIASES], n=1, cutoff=0.7)
                yield key, "unknown key" + (f"; did you mean {near[0]}?" if near else "")
        if self.input_mode == "batch":
            yield "input_mode", "it belongs to the page's batches"

    def pictures(self) -> list[tuple[object, object]]:
        """(picture, mask or None) pairs, as texts. Errors: ValueError for another form."""
        given = self.image
        match given:
            case None:
                return []
            case [str() as picture, str() | None as mask]:
                return [(picture, mask)]
            case list() if given and all(isinstance(one, Mapping) for one in given):
                pairs = [(one.get("image"), one.get("mask")) for one in given]
            case {"image": picture, **rest}:
                pairs = [(picture, rest.get("mask"))]
            case str():
                return [(given, self.mask)]
            case _:
                raise ValueError("not a form a picture may have")
        return [(picture, mask or None) for picture, mask in pairs if picture]


_PICTURES = ("image", "input_image", "image_link", "mask", "mask_image", "effective_region_mask")


class Units(BaseModel):
    """What the script takes: any number of units, as many as the option `control_net_unit_count` allows."""

    units: list[Unit | None] = Field(default_factory=list)

    def enabled(self) -> list[tuple[int, Unit]]:
        """Those that are switched on, with their place in the request."""
        return [(place, unit) for place, unit in enumerate(self.units) if unit is not None and unit.enabled]


def _known(table: Mapping[object, str], value: object) -> object:
    return table.get(value, value) if isinstance(value, int | str) and not isinstance(value, bool) else value


class Movie(BaseModel):
    """ "controlnet m2m" takes nothing here: clients only look whether it is listed, to know that units can be sent."""
