"""Prompt matrix: `a|b|c` makes a picture of a, of a and b, of a and c, and of all three."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field

from easel import (
    Draft,
    Extension,
    GenerationRequest,
    Image,
    Job,
    Label,
    Script,
    check_count,
    grid_image,
    hookimpl,
    labelled_grid,
    retyped,
)

TITLE = "Prompt matrix"
_LISTS = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")


class Arguments(BaseModel):
    """In A1111's order."""

    put_at_start: bool = Field(False, title="Put variable parts at start of prompt")
    different_seeds: bool = Field(False, title="Use different seed for each picture")
    prompt_type: Literal["positive", "negative"] = Field("positive", title="Select prompt")
    delimiter: Literal["comma", "space"] = Field("comma", title="Select joining char")
    margin: int = Field(0, title="Grid margins (px)", ge=0, le=500)

    def combinations(self, parts: list[str]) -> list[str]:
        """The texts: the first part with each choice of the others, which count up in binary."""
        texts = []
        for number in range(1 << len(parts) - 1):
            chosen = [text.strip().strip(",") for n, text in enumerate(parts[1:]) if number >> n & 1]
            chosen = [*chosen, parts[0]] if self.put_at_start else [parts[0], *chosen]
            texts.append((", " if self.delimiter == "comma" else " ").join(chosen))
        return texts


class PromptMatrix(Extension):
    """The combinations are parts of the job: they share the engine's forward passes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep the limits."""
        self._settings = app.settings

    @hookimpl
    def register_scripts(self) -> Script:
        """The script."""
        return Script(TITLE, Arguments)

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse too many combinations before they are made. Errors: BadRequest."""
        arguments = job.script_args(Arguments)
        if arguments is not None:
            check_count(1 << len(_parts(job.request, arguments)) - 1, self._settings, "prompt")

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """A labelled grid, then the pictures."""
        arguments, request = job.script_args(Arguments), job.request
        if arguments is None:
            return None
        parts = _parts(request, arguments)
        requests = [_one(request, text, number, arguments) for number, text in enumerate(arguments.combinations(parts))]
        drafts = job.run_all(requests)
        images = [replace(draft.images[0], index=number) for number, draft in enumerate(drafts)]
        info = {**drafts[0].info, **{key: [draft.info[key][0] for draft in drafts] for key in _LISTS}}
        info["batch_size"] = request.batch_size
        grid = _grid(images, parts, arguments)
        told = [image.infotext for image in (grid, *images)]
        return Draft(images=(grid, *images), info={**info, "index_of_first_image": 1, "infotexts": told})


def _parts(request: GenerationRequest, arguments: Arguments) -> list[str]:
    typed = request.typed or request
    return (typed.prompt if arguments.prompt_type == "positive" else typed.negative_prompt).split("|")


def _one(request: GenerationRequest, text: str, number: int, arguments: Arguments) -> GenerationRequest:
    key = "prompt" if arguments.prompt_type == "positive" else "negative_prompt"
    init = request.init
    if init is not None and len(init.pictures) > 1:
        init = replace(init, pictures=(init.pictures[number % len(init.pictures)],))
    return replace(
        retyped(request, **{key: text}),
        seed=request.seed + (number if arguments.different_seeds else 0),
        subseed=request.subseed + number,
        init=init,
        batch_size=1,
        n_iter=1,
    )


def _grid(images: list[Image], parts: list[str], arguments: Arguments) -> Image:
    """Half of the parts vary from left to right, the others downwards; what is not in a picture is struck out.

    Pictures that an interrupt left out are grey.
    """
    across, down = parts[1 : 1 + math.ceil((len(parts) - 1) / 2)], parts[1 + math.ceil((len(parts) - 1) / 2) :]
    missing = (1 << len(parts) - 1) - len(images)
    blank = images[0].pixels.point(lambda level: 128)
    pixels = grid_image([*(image.pixels for image in images), *[blank] * missing], rows=1 << len(down))
    pixels = labelled_grid(pixels, _labels(across), _labels(down), margin=arguments.margin)
    return replace(images[0], kind="grid", pixels=pixels)


def _labels(parts: list[str]) -> list[list[Label]]:
    return [
        [Label(part, bool(number >> n & 1)) for n, part in enumerate(parts)] or [Label()]
        for number in range(1 << len(parts))
    ]
