"""Pictures that come with a request: a text of base64 becomes the checked bytes of a picture file."""

from __future__ import annotations

import base64
import binascii

from easel.errors import BadImage, NotAvailable
from easel.imaging.decode import FORMATS, open_picture
from easel.values.request import EncodedPicture

_ALLOWED = f"base64, or a data URI, of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"


def decode_base64(text: object, *, field: str) -> bytes:
    """The bytes behind base64 or a `data:` URI. Errors: BadImage; NotAvailable for a URL."""
    if not isinstance(text, str):
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    if text[:8].lower().startswith(("http://", "https://")):
        raise NotAvailable(f"{field}: pictures by URL are not available yet; send {_ALLOWED}")
    encoded = text.partition(",")[2] if text[:5].lower() == "data:" else text
    encoded = "".join(encoded.split()).rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED) from error
    if not data:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    return data


def read_picture(text: object, *, field: str, max_pixels: int) -> EncodedPicture:
    """The picture in a text of a request, readable to its last pixel. Errors: BadImage, TooLarge, NotAvailable."""
    data = decode_base64(text, field=field)
    open_picture(data, field=field, max_pixels=max_pixels)
    return EncodedPicture(data)
