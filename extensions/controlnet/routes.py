"""`/controlnet/…`: what there is, and preprocessors without a generation; as sd-webui-controlnet answers."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from easel import BadRequest, Job

from . import preprocessors
from .detecting import annotator_files, detect
from .library import Library, control_types, default_model
from .pictures import decoded
from .poses import Poses, drawn
from .preprocessors import Preprocessor
from .steering import shown

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

_VERSION = 3  # of this API
_SPELLINGS = {"controlnet_images": "controlnet_input_images"}


class Detection(BaseModel):
    """The body of `POST /controlnet/detect`, and the arguments of the task behind it."""

    model_config = ConfigDict(extra="ignore")

    controlnet_module: str = "none"
    controlnet_input_images: list[str] = Field(default_factory=list)
    controlnet_processor_res: int = -1
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    controlnet_masks: list[str] = Field(default_factory=list)
    low_vram: bool = False

    @model_validator(mode="before")
    @classmethod
    def _spelled_anew(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {_SPELLINGS.get(key, key): value for key, value in given.items()}

    def check(self, files: frozenset[str]) -> Preprocessor:
        """The preprocessor. Errors: BadRequest in the words that clients know, NotAvailable."""
        name = self.controlnet_module
        known = next((one for one in preprocessors.ALL if name in (one.name, one.label)), None)
        if known is None:
            raise BadRequest("Module not available")
        if name in ("clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto"):
            raise BadRequest("Module not supported")
        if not self.controlnet_input_images:
            raise BadRequest("No image selected")
        if known.inpaints and len(self.controlnet_masks) != len(self.controlnet_input_images):
            raise BadRequest(f"Preprocessor {name} requires `controlnet_masks` param.")
        return preprocessors.find(name, files, "controlnet_module")


def routes(app: Any, library: Library, extension: str) -> APIRouter:
    """The routes; `detect` runs as a task of `extension` in a worker."""
    router = APIRouter(prefix="/controlnet", tags=["controlnet"])

    def runnable() -> list[Preprocessor]:
        return list(preprocessors.runnable(annotator_files(app.settings)))

    @router.get("/version")
    def version() -> dict[str, int]:
        """The version of this API."""
        return {"version": _VERSION}

    @router.get("/model_list")
    def model_list(update: bool = True) -> dict[str, list[str]]:
        """The ControlNets on disk; `update` looks again."""
        if update:
            library.refresh()
        return {"model_list": library.titles()}

    @router.get("/module_list")
    def module_list(alias_names: bool = False) -> dict[str, Any]:
        """The preprocessors that can run, with the values they take."""
        named = {one.label if alias_names else one.name: one for one in runnable()}
        return {"module_list": list(named), "module_detail": {name: _detail(one) for name, one in named.items()}}

    @router.get("/control_types")
    def types() -> dict[str, Any]:
        """The kinds of control, each with its preprocessors and ControlNets."""
        return {"control_types": {kind: _control_type(kind, runnable(), library) for kind in control_types()}}

    @router.get("/settings")
    def settings() -> dict[str, int]:
        """How many units a request may have."""
        return {"control_net_unit_count": int(app.options.get("control_net_unit_count"))}

    @router.post("/detect")
    async def detect_maps(body: Detection) -> dict[str, Any]:
        """The maps of pictures."""
        body.check(await asyncio.to_thread(annotator_files, app.settings))
        result = await app.run_task(extension, "detect", body.model_dump())
        return {"info": "Success", "images": [base64.b64encode(one.data).decode() for one in result.images]}

    @router.post("/render_openpose_json")
    def render_openpose_json(body: list[Poses]) -> dict[str, Any]:
        """Pictures of poses, from OpenPose's JSON."""
        if not body:
            return {"info": "No pose data detected."}
        if len(body) > app.settings.max_batch:
            allowed = f"up to {app.settings.max_batch}"
            raise BadRequest("too many pictures", field="body", value=len(body), allowed=allowed)
        for number, poses in enumerate(body):
            poses.check_size(app.settings.max_input_pixels, f"[{number}].canvas_width")
        return {"info": "Success", "images": [base64.b64encode(drawn(poses)).decode() for poses in body]}

    return router


def detected(body: Detection, app: Any, job: Job, read: Any) -> list[Pixels]:
    """The maps of a detection, in a worker. `read(text, field)` gives the bytes behind a picture's text."""
    one = body.check(annotator_files(app.settings))
    limit = app.settings.max_input_pixels
    resolution = int(one.resolution.within(body.controlnet_processor_res))
    a, b = one.a.within(body.controlnet_threshold_a), one.b.within(body.controlnet_threshold_b)
    found = []
    for number, text in enumerate(body.controlnet_input_images):
        field = f"controlnet_input_images[{number}]"
        pixels = decoded(read(text, field), field=field, max_pixels=limit)
        layers = detect(one, pixels, resolution, a, b, job.request.seed, job, app.settings)
        if one.inpaints:
            field = f"controlnet_masks[{number}]"
            mask = decoded(read(body.controlnet_masks[number], field), field=field, max_pixels=limit)
            if mask.shape != pixels.shape:
                raise BadRequest("another size than its picture's", field=field, value=mask.shape[1::-1])
            layers = masked(layers, mask)
        found.append(shown(layers))
    return found


def masked(layers: Any, mask: Any) -> Any:
    """(H, W, 3) with a mask as fourth channel."""
    import numpy as np

    return np.dstack([layers, mask[..., 0]])


def _detail(one: Preprocessor) -> dict[str, Any]:
    return {
        "model_free": one.model_free,
        "sliders": [
            {"name": slider.name, "value": slider.default, "min": slider.least, "max": slider.most, "step": slider.step}
            for slider in one.sliders
        ],
    }


def _control_type(kind: str, known: list[Preprocessor], library: Library) -> dict[str, Any]:
    labels = [one.label for one in known if kind == "All" or one.name == "none" or kind in one.types]
    titles = library.fitting(kind)
    return {
        "module_list": labels,
        "model_list": ["None", *titles],
        "default_option": labels[1] if len(labels) > 1 and kind != "All" else "none",
        "default_model": "None" if kind == "All" else default_model(titles),
    }
