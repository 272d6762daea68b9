"""Pictures that come with a request: base64 or a URL in a text becomes the checked bytes of a picture file."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from easel.errors import BadImage
from easel.imaging.decode import FORMATS, open_picture
from easel.values.request import EncodedPicture

if TYPE_CHECKING:
    from easel.app import Easel

_ALLOWED = f"base64, a data URI, or a URL of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"


def picture_bytes(app: Easel, text: object, *, field: str) -> bytes:
    """The bytes behind base64, a `data:` URI or a URL, which is fetched. Errors: BadImage, BadRequest, TooLarge."""
    if not isinstance(text, str):
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    if text[:8].lower().startswith(("http://", "https://")):
        return app.fetcher.fetch(text, field=field).data
    encoded = text.partition(",")[2] if text[:5].lower() == "data:" else text
    encoded = "".join(encoded.split()).rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED) from error
    if not data:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    return data


def read_picture(app: Easel, text: object, *, field: str) -> EncodedPicture:
    """The picture in a text of a request, readable to its last pixel. Errors: BadImage, BadRequest, TooLarge."""
    data = picture_bytes(app, text, field=field)
    open_picture(data, field=field, max_pixels=app.settings.max_input_pixels)
    return EncodedPicture(data)
