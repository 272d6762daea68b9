"""Easel: a self-hosted Stable Diffusion service. The public names for extension authors, nothing else.

Names are imported when first used, so that `import easel` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easel.errors import (
        BadRequest,
        Conflict,
        DiskFull,
        EaselError,
        Forbidden,
        JobCancelled,
        JobRefused,
        NotAvailable,
        NotFound,
        RefusedFile,
        TooLarge,
        UnknownName,
    )
    from easel.extensions.extension import Extension
    from easel.extensions.script import Script
    from easel.extensions.tab import Tab
    from easel.extensions.task import task
    from easel.files import FileEntry, ScopedFiles
    from easel.hookspecs import hookimpl
    from easel.imaging.decode import flatten, open_picture
    from easel.imaging.encode import encoded
    from easel.imaging.faces import FaceRestorer
    from easel.imaging.grid import grid_image
    from easel.imaging.labels import Label, labelled_grid
    from easel.imaging.metadata import GenerationData, generation_data_of
    from easel.imaging.received import picture_bytes
    from easel.imaging.resize import resize
    from easel.imaging.tiles import Tiles
    from easel.imaging.upscale import Upscaler, find_upscaler, hires_upscalers, upscale
    from easel.limits import check_count, check_request
    from easel.prompt.styles import Style, retyped, styles_of
    from easel.prompt.syntax import ExtraNetworkTag, extract_networks
    from easel.values.conditioning import Conditioning, Control, Crop, Hold, LatentMask, Reference, SoftBlend
    from easel.values.image import Image, SavedImage
    from easel.values.job import Job
    from easel.values.options import Options
    from easel.values.prompt import Adapter, Prompt
    from easel.values.request import (
        EncodedPicture,
        GenerationRequest,
        Hires,
        InitImages,
        Inpaint,
        Refiner,
        ScriptCall,
        StyleTexts,
    )
    from easel.values.result import Draft, ReportLine, Result
    from easel.values.sampling import find_sampler, find_scheduler, sampler_names
    from easel.values.step import Step
    from easel.values.user import User

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "BadRequest",
        "Conflict",
        "DiskFull",
        "EaselError",
        "Forbidden",
        "JobCancelled",
        "JobRefused",
        "NotAvailable",
        "NotFound",
        "RefusedFile",
        "TooLarge",
        "UnknownName",
    ),
    "extensions.extension": ("Extension",),
    "extensions.script": ("Script",),
    "extensions.tab": ("Tab",),
    "extensions.task": ("task",),
    "files": (
        "FileEntry",
        "ScopedFiles",
    ),
    "hookspecs": ("hookimpl",),
    "imaging.decode": (
        "flatten",
        "open_picture",
    ),
    "imaging.encode": ("encoded",),
    "imaging.faces": ("FaceRestorer",),
    "imaging.grid": ("grid_image",),
    "imaging.labels": (
        "Label",
        "labelled_grid",
    ),
    "imaging.metadata": (
        "GenerationData",
        "generation_data_of",
    ),
    "imaging.received": ("picture_bytes",),
    "imaging.resize": ("resize",),
    "imaging.tiles": ("Tiles",),
    "imaging.upscale": (
        "Upscaler",
        "find_upscaler",
        "hires_upscalers",
        "upscale",
    ),
    "limits": (
        "check_count",
        "check_request",
    ),
    "prompt.styles": (
        "Style",
        "retyped",
        "styles_of",
    ),
    "prompt.syntax": (
        "ExtraNetworkTag",
        "extract_networks",
    ),
    "values.conditioning": (
        "Conditioning",
        "Control",
        "Crop",
        "Hold",
        "LatentMask",
        "Reference",
        "SoftBlend",
    ),
    "values.image": (
        "Image",
        "SavedImage",
    ),
    "values.job": ("Job",),
    "values.options": ("Options",),
    "values.prompt": (
        "Adapter",
        "Prompt",
    ),
    "values.request": (
        "EncodedPicture",
        "GenerationRequest",
        "Hires",
        "InitImages",
        "Inpaint",
        "Refiner",
        "ScriptCall",
        "StyleTexts",
    ),
    "values.result": (
        "Draft",
        "ReportLine",
        "Result",
    ),
    "values.sampling": (
        "find_sampler",
        "find_scheduler",
        "sampler_names",
    ),
    "values.step": ("Step",),
    "values.user": ("User",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Adapter",
    "BadRequest",
    "Conditioning",
    "Conflict",
    "Control",
    "Crop",
    "DiskFull",
    "Draft",
    "EaselError",
    "EncodedPicture",
    "Extension",
    "ExtraNetworkTag",
    "FaceRestorer",
    "FileEntry",
    "Forbidden",
    "GenerationData",
    "GenerationRequest",
    "Hires",
    "Hold",
    "Image",
    "InitImages",
    "Inpaint",
    "Job",
    "JobCancelled",
    "JobRefused",
    "Label",
    "LatentMask",
    "NotAvailable",
    "NotFound",
    "Options",
    "Prompt",
    "Reference",
    "Refiner",
    "RefusedFile",
    "ReportLine",
    "Result",
    "SavedImage",
    "ScopedFiles",
    "Script",
    "ScriptCall",
    "SoftBlend",
    "Step",
    "Style",
    "StyleTexts",
    "Tab",
    "Tiles",
    "TooLarge",
    "UnknownName",
    "Upscaler",
    "User",
    "check_count",
    "check_request",
    "encoded",
    "extract_networks",
    "find_sampler",
    "find_scheduler",
    "find_upscaler",
    "flatten",
    "generation_data_of",
    "grid_image",
    "hires_upscalers",
    "hookimpl",
    "labelled_grid",
    "open_picture",
    "picture_bytes",
    "resize",
    "retyped",
    "sampler_names",
    "styles_of",
    "task",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
