"""From units to what steers a pass: controls, references, the maps to show, and what the generation data say."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image as Pillow

from easel import Conditioning, Control, Job, picture_bytes

from .detecting import detect
from .fitting import fit, perfect_resolution
from .pictures import Pixels, Source, cropped, decoded, from_start, from_unit
from .resolved import Resolved

T = TypeVar("T")


class Recent:
    """Keeps what was made lately, so that the passes and batches of a job need not make it again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What belongs to `key`, made if need be. Two threads may make it both; the later one stays."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: T = self._kept[key]
                return found
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


class Steering:
    """Makes maps and what the engine is to do with them. `app`: what the service gives extensions."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._recent = Recent(app.settings.controlnet_preprocessor_cache_size)

    def steer(self, resolved: Resolved, conditioning: Conditioning, job: Job) -> Conditioning | None:
        """The conditioning with one more unit; None when the unit has no picture. Errors: BadRequest and its kinds."""
        source = self.source(resolved, conditioning, job)
        if source is None:
            return None
        unit, request, stage = resolved.unit, job.request, conditioning.stage
        found = self.map(resolved, source, conditioning.width, conditioning.height, job)
        if unit.save_detected_map and not request.options.control_net_no_detectmap:
            conditioning = replace(conditioning, maps=(*conditioning.maps, shown(found)))
        if stage == "first":
            conditioning = replace(conditioning, infotext=(*conditioning.infotext, resolved.infotext))
        if hold := resolved.hold(found, stage):
            conditioning = replace(conditioning, holds=(*conditioning.holds, hold))
        if not resolved.acts_in(stage, request):
            return conditioning
        if resolved.model is None:
            reference = resolved.reference(found[..., :3], stage)
            return replace(conditioning, references=(*conditioning.references, reference))
        weight, shares = resolved.layer_weights(stage)
        control = Control(
            model=str(resolved.model.path),
            hint=_hint(found),
            weight=weight,
            start=unit.guidance_start,
            end=unit.guidance_end,
            soft_weights=shares,
            on_cond_only=unit.control_mode == "ControlNet is more important",
            pooled="shuffle" in resolved.model.name.lower(),
            region=self._region(resolved, job),
        )
        return replace(conditioning, controls=(*conditioning.controls, control))

    def source(self, resolved: Resolved, conditioning: Conditioning, job: Job) -> Source | None:
        """The unit's picture, or the one that img2img starts from."""
        limit = self._app.settings.max_input_pixels
        source = from_unit(
            resolved.unit,
            resolved.preprocessor,
            lambda text, field: self._read(text, field, job),
            resolved.field,
            ignore_mask=job.request.options.controlnet_ignore_noninpaint_mask,
        ) or from_start(job.request, resolved.preprocessor, limit)
        if source is None or resolved.preprocessor.model_free or not resolved.unit.inpaint_crop_input_image:
            return source
        return cropped(source, conditioning)

    def map(self, resolved: Resolved, source: Source, width: int, height: int, job: Job) -> Pixels:
        """The preprocessor's map at width x height; (H, W, 3), or (H, W, 4) with an inpainting mask."""
        resolution = int(resolved.resolution)
        if resolved.unit.pixel_perfect:
            resolution = perfect_resolution(width, height, source.pixels, source.resize_mode)
        found = self.detected(resolved, source, resolution, job)
        return fit(found, width, height, source.resize_mode)

    def detected(self, resolved: Resolved, source: Source, resolution: int, job: Job) -> Pixels:
        """The preprocessor's map as it makes it."""
        one, seed = resolved.preprocessor, job.request.seed + job.request.subseed
        digest = hashlib.sha256(source.layers.tobytes()).digest()
        key = (
            digest,
            source.pixels.shape,
            one.name,
            resolution,
            resolved.a,
            resolved.b,
            seed * (one.name == "shuffle"),
        )
        found = self._recent.get(
            key, lambda: detect(one, source.pixels, resolution, resolved.a, resolved.b, seed, job, self._app.settings)
        )
        return found if source.mask is None else np.dstack([found, source.mask])

    def _read(self, text: object, field: str, job: Job) -> Pixels:
        """The picture behind a text of the request; what a URL names is fetched once for a job."""
        data = self._recent.get((job.id, str(text)), lambda: picture_bytes(self._app.fetcher, text, field=field))
        return decoded(data, field=field, max_pixels=self._app.settings.max_input_pixels)

    def _region(self, resolved: Resolved, job: Job) -> Any:
        text = resolved.unit.effective_region_mask
        if text is None:
            return None
        mask = self._read(text, f"{resolved.field}.effective_region_mask", job)
        return mask[..., 0].astype(np.float32) / 255.0


def shown(found: Pixels) -> Pillow.Image:
    """A map as a picture; what is to be painted is half transparent."""
    if found.shape[2] == 4:
        found = np.dstack([found[..., :3], 255 - found[..., 3] // 2])
    return Pillow.fromarray(found)


def _hint(found: Pixels) -> Any:
    """What the ControlNet reads: 0…1, and -1 where it is to invent."""
    levels = found[..., :3].astype(np.float32) / 255.0
    return levels if found.shape[2] == 3 else np.where(found[..., 3:] > 127, np.float32(-1.0), levels)
