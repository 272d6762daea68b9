"""Outpainting mk2: side by side, the picture grows into noise that looks like it, which is then painted over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

from easel import Draft, GenerationRequest, Image, Inpaint, Job, encoded, grid_image

from .canvas import SIDES, Growth, margins

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

TITLE = "Outpainting mk2"
ORIGINAL = 1  # masked content
Direction = Literal["left", "right", "up", "down"]


class Arguments(BaseModel):
    """In A1111's order. The first is a text on A1111's page and a fixed word in PAI's calls; it may be left out."""

    info: str | None = Field("", title="Info", description="not used", json_schema_extra={"control": "hidden"})
    pixels: int = Field(128, title="Pixels to expand", ge=8, le=256)
    mask_blur: int = Field(8, title="Mask blur", ge=0, le=64)
    direction: list[Direction] = Field([*SIDES], title="Outpainting direction", min_length=1)
    noise_q: float = Field(1.0, title="Fall-off exponent (lower=higher detail)", ge=0, le=4)
    color_variation: float = Field(0.05, title="Color variation", ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _without_the_text(cls, given: Any) -> Any:
        """Five arguments that begin with the pixels are the last five."""
        names = list(cls.model_fields)
        if isinstance(given, dict) and list(given) == names[: len(given)] and len(given) < len(names):
            first = given.get("info")
            if isinstance(first, int | float) and not isinstance(first, bool):
                return dict(zip(names[1:], given.values(), strict=False))
        return given


def growths(request: GenerationRequest, arguments: Arguments, size: tuple[int, int]) -> list[Growth]:
    """The sides that grow, one after the other."""
    more = margins(size, arguments.pixels, arguments.direction)
    blur = (
        arguments.mask_blur if more["left"] or more["right"] else 0,
        arguments.mask_blur if more["up"] or more["down"] else 0,
    )
    found: list[Growth] = []
    for side in SIDES:
        if more[side]:
            growth = Growth(size, side, more[side], blur, (request.width, request.height))
            size = growth.grown
            found.append(growth)
    return found


def part(
    request: GenerationRequest, growth: Growth, canvas: Pixels | None = None, number: int = 0
) -> GenerationRequest:
    """The request that paints one side of picture `number`; without a canvas, only good for checking it."""
    assert request.init is not None
    init = request.init
    if canvas is not None:
        width, height = growth.seen
        inpaint = Inpaint(
            mask=encoded(growth.mask(growth.canvas, 1).crop(growth.box())),
            latent_mask=encoded(growth.mask((width, height), 2)),
            blur_x=growth.blur[0] * 4,
            blur_y=growth.blur[1] * 4,
            fill=ORIGINAL,
            full_res=False,
        )
        init = replace(init, pictures=(encoded(canvas.crop(growth.box())),), inpaint=inpaint)
    varied = request.subseed_strength != 0
    return replace(
        request,
        init=init,
        width=growth.seen[0],
        height=growth.seen[1],
        seed=request.seed + (0 if varied else number),
        subseed=request.subseed + number,
        batch_size=1,
        n_iter=1,
    )


def paint(job: Job, arguments: Arguments, start: Pixels) -> Draft:
    """All pictures grow together, each with a seed of its own. After an interrupt they stay as far as they came."""
    request = job.request
    steps = growths(request, arguments, start.size)
    pictures = [start] * request.image_count
    told: list[Image] = []
    drafts: list[Draft] = []
    for growth in steps:
        if drafts and job.interrupted:
            break
        canvases = [growth.noised(one, arguments.noise_q, arguments.color_variation) for one in _distinct(pictures)]
        canvases = canvases * len(pictures) if len(canvases) == 1 else canvases
        requests = [part(request, growth, canvas, number) for number, canvas in enumerate(canvases)]
        drafts = job.run_all(requests, total=len(steps) * len(pictures))
        made = [draft.images[0] for draft in drafts]
        told = told or made
        pictures = [growth.finished(canvas, image.pixels) for canvas, image in zip(canvases, made, strict=False)]
    return _draft(request, [replace(a, pixels=b) for a, b in zip(told, pictures, strict=False)], drafts[-1])


def _distinct(pictures: list[Pixels]) -> list[Pixels]:
    """At first all are the same one, whose noise need not be made again."""
    return pictures[:1] if all(one is pictures[0] for one in pictures) else pictures


def _draft(request: GenerationRequest, made: list[Image], last: Draft) -> Draft:
    """A grid first when there are several; the generation data are those of the first side's pass, as in A1111."""
    images = [replace(image, index=number) for number, image in enumerate(made)]
    seeds, subseeds = [image.seed for image in images], [image.subseed for image in images]
    several = len(images) > 1
    options = request.options
    if options.return_grid and (several or not options.grid_only_if_multiple):
        pixels = grid_image([image.pixels for image in images], rows=options.n_rows, batch_size=request.batch_size)
        images.insert(0, replace(images[0], kind="grid", pixels=pixels))
    same = {
        "batch_size": request.batch_size,
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": request.subseed,
        "all_subseeds": subseeds,
        "infotexts": [image.infotext for image in images],
    }
    return Draft(images=tuple(images), info={**last.info, **same})
