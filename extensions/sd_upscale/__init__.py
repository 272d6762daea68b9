"""SD upscale: enlarge the start picture, paint every tile of it anew, and put the tiles together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, Field

from easel import (
    BadRequest,
    Draft,
    EncodedPicture,
    Extension,
    GenerationRequest,
    Image,
    Job,
    Script,
    Tiles,
    TooLarge,
    UnknownName,
    Upscaler,
    check_count,
    encoded,
    flatten,
    hookimpl,
    open_picture,
    upscale,
)

TITLE = "SD upscale"


class Arguments(BaseModel):
    """In A1111's order; the first is a text on its page."""

    info: str | None = Field("", title="Info", json_schema_extra={"control": "hidden"})
    overlap: int = Field(64, title="Tile overlap", ge=0, le=256)
    upscaler: int | str = Field("None", title="Upscaler", description="by name or by its number in the list")
    scale: int | float = Field(2.0, title="Scale Factor", ge=1, le=4)


@dataclass(frozen=True, slots=True)
class Part:
    """One tile to paint: of which run, and which place of it."""

    run: int
    place: tuple[int, int]
    request: GenerationRequest


class SdUpscale(Extension):
    """All tiles are parts of the job: they share the engine's forward passes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep what knows the upscalers."""
        self._app = app

    @hookimpl
    def register_scripts(self) -> Script:
        """The script, for img2img."""
        return Script(TITLE, Arguments, tabs=("img2img",), choices=self._choices)

    def _choices(self, tab: str) -> dict[str, list[str]]:
        return {"upscaler": [one.name for one in self._app.upscalers]}

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse what cannot be done before it waits. Errors: UnknownName, BadRequest, TooLarge."""
        arguments = job.script_args(Arguments)
        if arguments is None:
            return
        request = job.request
        self._upscaler(arguments)
        if min(request.width, request.height) <= arguments.overlap:
            allowed = f"less than the tiles' sides, {request.width}x{request.height}"
            raise BadRequest("too much", field="script_args[1]", value=arguments.overlap, allowed=allowed)
        width, height = _start(request).size
        factor = 1 if self._upscaler(arguments).name == "None" else arguments.scale
        target = int(width * factor), int(height * factor)
        most = self._app.settings.max_input_pixels
        if target[0] * target[1] > most:
            size = f"{target[0]}x{target[1]}"
            raise TooLarge("too large a picture", field="script_args[3]", value=size, allowed=f"up to {most} pixels")
        tiles = Tiles.of(target, (request.width, request.height), arguments.overlap)
        check_count(len(tiles.places) * request.n_iter, self._app.settings)

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """One picture for each run (`n_iter`)."""
        arguments, request = job.script_args(Arguments), job.request
        if arguments is None:
            return None
        upscaler, start = self._upscaler(arguments), _start(request)
        if upscaler.name != "None":
            start = upscale(start, arguments.scale, upscaler)
        tiles = Tiles.of(start.size, (request.width, request.height), arguments.overlap)
        told = (("SD upscale overlap", arguments.overlap), ("SD upscale upscaler", upscaler.name))
        pieces = {place: encoded(tiles.cut(start, place)) for place in tiles.places}
        parts = [part for run in range(request.n_iter) for part in _parts(request, run, pieces, told)]
        drafts = job.run_all([part.request for part in parts])
        painted = {(part.run, part.place): draft.images[0] for part, draft in zip(parts, drafts, strict=False)}
        first = drafts[0].images[0]
        images = [
            replace(
                first,
                pixels=tiles.join(
                    [
                        painted[run, place].pixels if (run, place) in painted else tiles.cut(start, place)
                        for place in tiles.places
                    ]
                ),
                index=run,
                seed=request.seed + run,
            )
            for run in range(request.n_iter)
            if run <= parts[len(drafts) - 1].run
        ]
        return Draft(images=tuple(images), info=_info(request, drafts[-1], parts[len(drafts) - 1], images))

    def _upscaler(self, arguments: Arguments) -> Upscaler:
        """The upscaler by name, any case, or number. Errors: UnknownName."""
        known: tuple[Upscaler, ...] = self._app.upscalers
        asked = arguments.upscaler
        for number, upscaler in enumerate(known):
            if asked == number or str(asked).casefold() == upscaler.name.casefold():
                return upscaler
        raise UnknownName.among("script_args[2]", str(asked), [upscaler.name for upscaler in known])


def _start(request: GenerationRequest) -> Any:
    """The picture to enlarge."""
    assert request.init is not None
    picture = open_picture(request.init.pictures[0].data, field="init_images[0]")
    return flatten(picture, request.options.img2img_background_color)


def _parts(
    request: GenerationRequest,
    run: int,
    pieces: dict[tuple[int, int], EncodedPicture],
    told: tuple[tuple[str, Any], ...],
) -> list[Part]:
    """The tiles of one run. Seeds as A1111 has them: each batch begins one above the last, whatever its size."""
    assert request.init is not None
    parts = []
    for number, (place, piece) in enumerate(pieces.items()):
        batch, k = divmod(number, request.batch_size)
        varied = request.subseed_strength != 0
        part = replace(
            request,
            seed=request.seed + run + batch + (0 if varied else k),
            subseed=request.subseed + k,
            init=replace(request.init, pictures=(piece,)),
            batch_size=1,
            n_iter=1,
            infotext=(*request.infotext, *told),
        )
        parts.append(Part(run, place, part))
    return parts


def _info(request: GenerationRequest, last: Draft, part: Part, images: list[Image]) -> dict[str, Any]:
    """A1111 tells the seeds of the batch of tiles that came last."""
    same = {"batch_size": request.batch_size, "seed": request.seed, "infotexts": [image.infotext for image in images]}
    return {**last.info, **same}
