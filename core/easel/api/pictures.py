"""Pictures that come with a request: base64 or a URL in a text becomes the checked bytes of a picture file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from easel.imaging.decode import open_picture
from easel.imaging.received import picture_bytes
from easel.values.request import EncodedPicture

if TYPE_CHECKING:
    from easel.app import Easel


def read_picture(app: Easel, text: object, *, field: str) -> EncodedPicture:
    """The picture in a text of a request, readable to its last pixel. Errors: BadImage, BadRequest, TooLarge."""
    data = picture_bytes(app.fetcher, text, field=field)
    open_picture(data, field=field, max_pixels=app.settings.max_input_pixels)
    return EncodedPicture(data)
