"""Generation data inside picture files: PNG text `parameters`, EXIF UserComment (JPEG, WebP), GIF comment, NovelAI."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from easel.errors import UnknownName
from easel.imaging.decode import open_picture
from easel.values.sampling import find_sampler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.Image import Image as Pixels

EXIF_FOLDER = 0x8769  # the tag whose value is the EXIF directory
USER_COMMENT = 0x9286
# The eight bytes that say how a UserComment is written (EXIF 2.32, 4.6.5).
_UNICODE, _ASCII, _JIS, _UNDEFINED = b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8


@dataclass(frozen=True, slots=True)
class GenerationData:
    """What a file says about itself: `infotext` ("" if nothing) and its other text fields."""

    infotext: str = ""
    items: Mapping[str, str] = field(default_factory=dict)


def read_generation_data(data: bytes, *, field: str = "image") -> GenerationData:
    """The generation data in a picture file. Errors: BadImage, TooLarge."""
    return generation_data_of(open_picture(data, field=field))


def generation_data_of(picture: Pixels) -> GenerationData:
    """The same of an opened picture."""
    # PNG text chunks come as strings; what else Pillow puts into `.info` does not.
    items = {str(key): str(value) for key, value in picture.info.items() if isinstance(value, str)}
    infotext = items.pop("parameters", "")
    comment = picture.getexif().get_ifd(EXIF_FOLDER).get(USER_COMMENT)
    if comment:
        infotext = decode_user_comment(comment)
    elif not infotext and isinstance(comment := picture.info.get("comment"), bytes):
        infotext = comment.decode("utf-8", errors="replace")
    elif not infotext and items.get("Software") == "NovelAI":
        infotext = _novelai(items, picture.size)
    return GenerationData(infotext, items)


def encode_user_comment(text: str) -> bytes:
    """An EXIF UserComment in Unicode."""
    return _UNICODE + text.encode("utf-16-be", errors="replace")


def decode_user_comment(value: bytes | str) -> str:
    """The text of an EXIF UserComment; Unicode is big-endian unless it can only be the other way round."""
    if isinstance(value, str):
        return value
    code, text = value[:8], value[8:]
    if code == _UNICODE:
        # Writers disagree on the byte order; Latin letters betray it.
        little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", errors="replace")
    if code == _JIS:
        return text.decode("iso2022_jp", errors="replace")
    return (text if code in (_ASCII, _UNDEFINED) else value).decode("utf-8", errors="replace").strip("\0")


def _novelai(items: Mapping[str, str], size: tuple[int, int]) -> str:
    """NovelAI's JSON as infotext; "" where it is not what NovelAI writes. CLIP skip and ENSD are always these there."""
    try:
        made = json.loads(items["Comment"])
        return (
            f"{items['Description']}\nNegative prompt: {made['uc']}\nSteps: {made['steps']}, "
            f"Sampler: {_sampler(str(made['sampler']))}, CFG scale: {made['scale']}, Seed: {made['seed']}, "
            f"Size: {size[0]}x{size[1]}, Clip skip: 2, ENSD: 31337"
        )
    except (KeyError, TypeError, ValueError):
        return ""


def _sampler(name: str) -> str:
    try:
        return find_sampler(name)[0].name
    except UnknownName:  # A1111's answer to NovelAI's own samplers
        return "Euler a"
