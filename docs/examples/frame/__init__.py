"""A border around finished pictures."""

from dataclasses import replace
from typing import Literal

from easel import Extension, Image, Job, Script, hookimpl
from PIL import ImageOps
from pydantic import BaseModel, Field


class Border(BaseModel):
    """What a request may ask for, in the order of A1111's script arguments."""

    width: int = Field(default=0, ge=0, le=64, description="pixels; 0: no border")
    color: Literal["black", "white", "red"] = "black"


class Frame(Extension):
    """Draws the border."""

    @hookimpl
    def register_scripts(self) -> Script:
        """An always-on script: requests that do not mention it get its defaults."""
        return Script("Frame", Border, always_on=True)

    @hookimpl
    def process_images(self, images: tuple[Image, ...], job: Job) -> tuple[Image, ...] | None:
        """Every picture of the batch with its border; None leaves them as they are."""
        border = job.script_args(Border)
        if border is None or border.width == 0:
            return None
        return tuple(replace(one, pixels=ImageOps.expand(one.pixels, border.width, border.color)) for one in images)
