"""Poor man's outpainting: the picture on a larger canvas, the tiles at its edges painted like any masked picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image as Pillow
from pydantic import BaseModel, Field, field_validator

from easel import BadRequest, Draft, GenerationRequest, Inpaint, Job, Tiles, encoded

from .canvas import SIDES, margins, masked
from .mk2 import Direction

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

TITLE = "Poor man's outpainting"
CONTENTS = ("fill", "original", "latent noise", "latent nothing")


class Arguments(BaseModel):
    """In A1111's order; masked content by name or, as A1111's page sends it, by number."""

    pixels: int = Field(128, title="Pixels to expand", ge=8, le=256)
    mask_blur: int = Field(4, title="Mask blur", ge=0, le=64)
    inpainting_fill: Literal["fill", "original", "latent noise", "latent nothing"] = Field(
        "fill", title="Masked content"
    )
    direction: list[Direction] = Field([*SIDES], title="Outpainting direction", min_length=1)

    @field_validator("inpainting_fill", mode="before")
    @classmethod
    def _by_number(cls, given: Any) -> Any:
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(CONTENTS):
            return CONTENTS[given]
        return given


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the tiles lie, and which of them are painted."""

    more: dict[str, int]
    tiles: Tiles
    painted: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, request: GenerationRequest, arguments: Arguments, size: tuple[int, int]) -> Plan:
        """For a picture of `size`. Errors: BadRequest where tiles would be all overlap."""
        if min(request.width, request.height) <= arguments.pixels:
            allowed = f"less than the tiles' sides, {request.width}x{request.height}"
            raise BadRequest("too much", field="script_args[0]", value=arguments.pixels, allowed=allowed)
        more = margins(size, arguments.pixels, arguments.direction)
        whole = size[0] + more["left"] + more["right"], size[1] + more["up"] + more["down"]
        tiles = Tiles.of(whole, (request.width, request.height), arguments.pixels)

        def kept(left: int, top: int) -> bool:
            right, bottom = left + request.width, top + request.height
            inside = left >= more["left"] and right <= whole[0] - more["right"]
            return inside and top >= more["up"] and bottom <= whole[1] - more["down"]

        return cls(more, tiles, tuple(place for place in tiles.places if not kept(*place)))

    def mask(self, over: int) -> Pixels:
        """White around the picture, and over its growing edges by `over` pixels."""
        width, height = self.tiles.size
        more = {side: pixels + over if pixels else 0 for side, pixels in self.more.items()}
        return masked((width, height), (more["left"], more["up"], width - more["right"], height - more["down"]))


def paint(job: Job, arguments: Arguments, start: Pixels) -> Draft:
    """One picture; what an interrupt left out stays empty."""
    request = job.request
    if request.image_count > 1:
        job.warn(f"{TITLE}: makes one picture, whatever batch_size and n_iter say")
    plan = Plan.of(request, arguments, start.size)
    canvas = Pillow.new("RGB", plan.tiles.size)
    canvas.paste(start, (plan.more["left"], plan.more["up"]))
    mask, latent_mask = plan.mask(arguments.mask_blur * 2), plan.mask(arguments.mask_blur // 2)
    assert request.init is not None
    requests = []
    for number, place in enumerate(plan.painted):
        inpaint = Inpaint(
            mask=encoded(plan.tiles.cut(mask, place)),
            latent_mask=encoded(plan.tiles.cut(latent_mask, place)),
            blur_x=arguments.mask_blur * 2,
            blur_y=arguments.mask_blur * 2,
            fill=CONTENTS.index(arguments.inpainting_fill),
            full_res=False,
        )
        init = replace(request.init, pictures=(encoded(plan.tiles.cut(canvas, place)),), inpaint=inpaint)
        requests.append(replace(request, init=init, seed=request.seed + number, batch_size=1, n_iter=1))
    drafts = job.run_all(requests)
    made = {place: draft.images[0].pixels for place, draft in zip(plan.painted, drafts, strict=False)}
    whole = plan.tiles.join([made.get(place) or plan.tiles.cut(canvas, place) for place in plan.tiles.places])
    image = replace(drafts[0].images[0], pixels=whole)
    info = {**drafts[-1].info, "seed": request.seed, "infotexts": [image.infotext]}
    return Draft(images=(image,), info=info)
