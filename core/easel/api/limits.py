"""What numbers of a request may be: below, above or not a number names the field, the value and what is allowed."""

from __future__ import annotations

from easel.api.describe import INFINITE, RANGES
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest
from easel.settings import Settings

MAX_PROMPT = 1 << 16  # characters


def check_numbers(body: Txt2ImgBody | Img2ImgBody, settings: Settings) -> None:
    """Check every number and text length of a request on its own. Errors: BadRequest."""
    for field, (low, high) in RANGES.items():
        value = getattr(body, field, None)
        if value is not None and not low <= value <= high:
            allowed = f"{low:g} to {high:g}" if high < INFINITE else f"at least {low:g}"
            raise BadRequest("out of range", field=field, value=value, allowed=allowed)
    for field in ("steps", "hr_second_pass_steps"):
        if getattr(body, field, 0) > settings.max_steps:
            raise BadRequest(
                "too many steps", field=field, value=getattr(body, field), allowed=f"up to {settings.max_steps}"
            )
    for field in ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt"):
        if len(getattr(body, field, "")) > MAX_PROMPT:
            value = f"{len(getattr(body, field))} characters"
            raise BadRequest("the text is too long", field=field, value=value, allowed=f"up to {MAX_PROMPT} characters")
    if body.batch_size * body.n_iter > settings.max_batch:
        field = "batch_size" if body.batch_size > body.n_iter else "n_iter"
        allowed = f"batch_size x n_iter up to {settings.max_batch}"
        raise BadRequest("too many pictures", field=field, value=getattr(body, field), allowed=allowed)


def check_size(width: int, height: int, settings: Settings, fields: tuple[str, str]) -> None:
    """Refuse a picture of too many pixels; `fields` are the names of the two sides."""
    if width * height > settings.max_pixels:
        field, value = (fields[0], width) if width >= height else (fields[1], height)
        allowed = f"width x height up to {settings.max_pixels} pixels"
        raise BadRequest("the picture would be too large", field=field, value=value, allowed=allowed)
