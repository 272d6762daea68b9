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
    from easel.extensions.task import task
    from easel.files import FileEntry, ScopedFiles
    from easel.hookspecs import hookimpl
    from easel.imaging.decode import open_picture
    from easel.imaging.metadata import GenerationData, generation_data_of
    from easel.imaging.received import picture_bytes
    from easel.imaging.resize import resize
    from easel.imaging.upscale import Upscaler, find_upscaler, upscale
    from easel.prompt.syntax import ExtraNetworkTag, extract_networks
    from easel.values.conditioning import Conditioning, Control, Crop, Hold, LatentMask, Reference
    from easel.values.image import Image, SavedImage
    from easel.values.job import Job
    from easel.values.options import Options
    from easel.values.prompt import Adapter, Prompt
    from easel.values.request import EncodedPicture, GenerationRequest, Hires, InitImages, Inpaint, ScriptCall
    from easel.values.result import Draft, ReportLine, Result
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
    "extensions.task": ("task",),
    "files": ("FileEntry", "ScopedFiles"),
    "hookspecs": ("hookimpl",),
    "imaging.decode": ("open_picture",),
    "imaging.metadata": ("GenerationData", "generation_data_of"),
    "imaging.received": ("picture_bytes",),
    "imaging.resize": ("resize",),
    "imaging.upscale": ("Upscaler", "find_upscaler", "upscale"),
    "prompt.syntax": ("ExtraNetworkTag", "extract_networks"),
    "values.conditioning": ("Conditioning", "Control", "Crop", "Hold", "LatentMask", "Reference"),
    "values.image": ("Image", "SavedImage"),
    "values.job": ("Job",),
    "values.options": ("Options",),
    "values.prompt": ("Adapter", "Prompt"),
    "values.request": ("EncodedPicture", "GenerationRequest", "Hires", "InitImages", "Inpaint", "ScriptCall"),
    "values.result": ("Draft", "ReportLine", "Result"),
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
    "LatentMask",
    "NotAvailable",
    "NotFound",
    "Options",
    "Prompt",
    "Reference",
    "RefusedFile",
    "ReportLine",
    "Result",
    "SavedImage",
    "ScopedFiles",
    "Script",
    "ScriptCall",
    "Step",
    "TooLarge",
    "UnknownName",
    "Upscaler",
    "User",
    "extract_networks",
    "find_upscaler",
    "generation_data_of",
    "hookimpl",
    "open_picture",
    "picture_bytes",
    "resize",
    "task",
    "upscale",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
