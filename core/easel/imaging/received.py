"""Pictures as texts: what stands in a request is base64, a data URI or a URL; never a path."""

from __future__ import annotations

import base64
import binascii

from easel.errors import BadImage
from easel.fetching import Fetcher
from easel.imaging.decode import FORMATS

_ALLOWED = f"base64, a data URI, or a URL of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"


def picture_bytes(fetcher: Fetcher, text: object, *, field: str) -> bytes:
    """The bytes behind base64, a `data:` URI or a URL, which is fetched (`app.fetcher`).

    Errors: BadImage, BadRequest, TooLarge. Whether they are a picture is not looked at: `open_picture` does.
    """
    if not isinstance(text, str):
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    if text[:8].lower().startswith(("http://", "https://")):
        return fetcher.fetch(text, field=field).data
    encoded = text.partition(",")[2] if text[:5].lower() == "data:" else text
    encoded = "".join(encoded.split()).rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED) from error
    if not data:
        raise BadImage("Invalid encoded image", field=field, value=text, allowed=_ALLOWED)
    return data
