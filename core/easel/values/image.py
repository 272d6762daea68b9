"""Pictures on their way out: decoded pixels with what they were made from, and the encoded, saved form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from easel.values.wire import BASE64_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

ImageKind = Literal["result", "grid", "control", "mask", "intermediate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture. `index` counts results over the whole job from 0; `infotext` is A1111's generation data."""

    pixels: Pixels
    kind: ImageKind = "result"
    index: int = 0
    seed: int = -1
    subseed: int = -1
    prompt: str = ""
    negative_prompt: str = ""
    infotext: str = ""
    texts: tuple[tuple[str, str], ...] = ()  # further texts for a PNG file, e.g. ("postprocessing", …)
    suffix: str = ""  # of the file name, e.g. "-before-highres-fix"
    flags: tuple[str, ...] = field(default=())  # what review_images found, e.g. "nsfw"
    scores: Mapping[str, float] = field(default_factory=dict)  # how sure it was, 0…1, by flag


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """One picture encoded as `format` (png, jpeg, webp); `path` is relative to the data folder, None if not saved."""

    __pydantic_config__ = BASE64_BYTES

    data: bytes
    format: str
    kind: ImageKind = "result"
    seed: int = -1
    subseed: int = -1
    prompt: str = ""
    negative_prompt: str = ""
    infotext: str = ""
    path: str | None = None
    flags: tuple[str, ...] = field(default=())
    scores: Mapping[str, float] = field(default_factory=dict)
