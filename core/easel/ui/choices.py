"""What the page's pickers offer, and where they stand at first: asked of the service, each time anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easel.api.requests import suggestions
from easel.imaging.upscale import all_upscalers, hires_upscalers
from easel.models.families import FAMILIES
from easel.prompt.styles import styles_of
from easel.values.sampling import SAMPLERS, SCHEDULERS

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.models.store import CheckpointInfo

_USUAL = {"steps": 20, "cfg_scale": 7.0, "sampler_name": "DPM++ 2M", "scheduler": "Automatic"}


def checkpoints(app: Easel) -> list[str]:
    """Titles of the checkpoints that can be used."""
    return [one.title for one in app.store.checkpoints() if one.refused_reason is None]


def vaes(app: Easel) -> list[str]:
    """What the option `sd_vae` may be."""
    return ["Automatic", "None", *(one.filename for one in app.store.files("vae") if one.refused_reason is None)]


def samplers() -> list[str]:
    """Names of the samplers."""
    return list(SAMPLERS)


def schedulers() -> list[str]:
    """Labels of the noise schedules."""
    return [one.label for one in SCHEDULERS]


def upscalers(app: Easel) -> list[str]:
    """Names of what enlarges pictures."""
    return [one.name for one in app.upscalers]


def hires(app: Easel) -> list[str]:
    """Names of what the hires pass may begin with."""
    return list(hires_upscalers(all_upscalers(owned.value for owned in app.extensions.hooks.upscalers)))


def styles(app: Easel) -> list[str]:
    """Names of the prompt styles."""
    return [one.name for one in styles_of(app.settings) if one.prompt is not None]


def first_values(checkpoint: CheckpointInfo) -> dict[str, Any]:
    """Steps, CFG scale, sampler, schedule and size that suit a checkpoint, by field of the request."""
    width, height = native_size(checkpoint)
    return {**_USUAL, "width": width, "height": height, **suggestions(checkpoint)}


def native_size(checkpoint: CheckpointInfo) -> tuple[int, int]:
    """The size in pixels that a checkpoint was made for."""
    suggested = suggestions(checkpoint)
    if suggested:
        return suggested["width"], suggested["height"]
    return next((one.native_size for one in FAMILIES if one.name == checkpoint.family), (512, 512))
