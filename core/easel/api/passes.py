"""What all ways of showing who one is have in common."""

from __future__ import annotations

import base64
import binascii

from easel.errors import Unauthorized

WRONG = "Incorrect username or password"


def basic(encoded: str) -> tuple[str, str]:
    """Name and password of HTTP Basic. Errors: Unauthorized."""
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized from None
    if not colon:
        raise Unauthorized
    return name, password
