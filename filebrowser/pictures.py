"""Pictures: small ones for galleries, and what they say of how they were made."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from PIL import Image as Pillow

from easel import BadRequest, EaselError, GenerationData, NotFound, ScopedFiles, generation_data_of, open_picture

T = TypeVar("T")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_LARGEST = 128 << 20  # bytes of a file that is looked into
_AT_ONCE = 2  # pictures being decoded
_FOLDER = "thumbnails"
_OLD = 30 * 24 * 3600.0  # seconds after which a small picture is made anew


@dataclass(frozen=True)
class Facts:
    """What a picture file says: its size in pixels, and its generation data."""

    width: int
    height: int
    data: GenerationData


def is_picture(name: str) -> bool:
    """By its ending; what is in it shows when it is opened."""
    return name.lower().endswith(ENDINGS)


class Thumbnails:
    """Small pictures, kept in the extension's own folder. Pictures of more than `max_pixels` are refused."""

    def __init__(self, kept: ScopedFiles, max_pixels: int) -> None:
        self._kept, self._max_pixels = kept, max_pixels
        self._turns = CapacityLimiter(_AT_ONCE)

    async def in_turn(self, work: Callable[[], T]) -> T:
        """Run one of the others in a thread, few at once; who waits holds neither a thread nor a picture."""
        return await to_thread.run_sync(work, limiter=self._turns)

    def facts(self, files: ScopedFiles, path: str) -> Facts:
        """Errors: BadImage, TooLarge, and those of files."""
        data = files.read(path, _LARGEST)
        picture = open_picture(data, field="path", max_pixels=self._max_pixels)
        return Facts(*picture.size, generation_data_of(picture))

    def thumbnail(self, files: ScopedFiles, path: str, side: int) -> bytes:
        """A WebP file of at most `side` x `side` pixels. Errors: BadImage, TooLarge, and those of files."""
        if not is_picture(path):
            raise BadRequest("not a picture", field="path", value=path, allowed=", ".join(ENDINGS))
        entry = files.stat(path)
        key = f"{files.root}\0{files.relative(path)}\0{entry.size}\0{entry.modified}\0{side}"
        name = hashlib.sha256(key.encode()).hexdigest()
        place = f"{_FOLDER}/{name[:2]}/{name}.webp"
        with suppress(NotFound):
            return self._kept.read(place, _LARGEST)
        data = files.read(path, _LARGEST)
        picture = open_picture(data, field="path", max_pixels=self._max_pixels)
        small = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
        small.thumbnail((side, side), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
        file = BytesIO()
        small.save(file, "WEBP", quality=80)
        with suppress(EaselError):  # shown all the same where nothing can be kept
            self._kept.write(place, file.getvalue())
        return file.getvalue()

    def sweep(self) -> None:
        """Throw away what was made long ago."""
        with suppress(NotFound):
            for path, entry in list(self._kept.walk(_FOLDER)):
                if not entry.folder and time.time() - entry.modified > _OLD:
                    with suppress(EaselError):
                        self._kept.delete(path)
