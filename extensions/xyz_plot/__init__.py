"""X/Y/Z plot: pictures for every combination of the values of up to three settings, in labelled grids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image as Pillow
from pydantic import BaseModel, Field

from easel import Draft, Extension, Image, Job, Label, Script, grid_image, hookimpl, labelled_grid

from .axes import NOTHING, axes_of, shown
from .plot import Line, Place, Plot, plan

TITLE = "X/Y/Z plot"
_HIDDEN = {"control": "hidden"}  # on the page, where values are typed


class Arguments(BaseModel):
    """In A1111's order. Types are names, or numbers in the list of the tab."""

    x_type: int | str = Field("Seed", title="X type")
    x_values: str = Field("", title="X values")
    x_values_dropdown: list[str | int | float] | None = Field(None, title="X values", json_schema_extra=_HIDDEN)
    y_type: int | str = Field("Nothing", title="Y type")
    y_values: str = Field("", title="Y values")
    y_values_dropdown: list[str | int | float] | None = Field(None, title="Y values", json_schema_extra=_HIDDEN)
    z_type: int | str = Field("Nothing", title="Z type")
    z_values: str = Field("", title="Z values")
    z_values_dropdown: list[str | int | float] | None = Field(None, title="Z values", json_schema_extra=_HIDDEN)
    draw_legend: bool = Field(True, title="Draw legend")
    include_lone_images: bool = Field(False, title="Include Sub Images")
    include_sub_grids: bool = Field(False, title="Include Sub Grids")
    no_fixed_seeds: bool = Field(False, title="Keep -1 for seeds")
    vary_seeds_x: bool = Field(False, title="Vary seeds for X")
    vary_seeds_y: bool = Field(False, title="Vary seeds for Y")
    vary_seeds_z: bool = Field(False, title="Vary seeds for Z")
    margin_size: int = Field(0, title="Grid margins (px)", ge=0, le=500)
    csv_mode: bool = Field(False, title="Use text inputs instead of dropdowns", json_schema_extra=_HIDDEN)


class XyzPlot(Extension):
    """Cells are parts of the job: those that fit share the engine's forward passes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep what knows models, upscalers, styles and limits."""
        self._app = app

    @hookimpl
    def register_scripts(self) -> Script:
        """The script."""
        return Script(TITLE, Arguments, choices=_choices)

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse what cannot be plotted before the job waits. Errors: BadRequest and its kinds, NotAvailable."""
        arguments = job.script_args(Arguments)
        if arguments is not None:
            plan(self._app, job.request, arguments)

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """The grid, then the grids of each z and the cells' pictures where they are asked for."""
        arguments = job.script_args(Arguments)
        if arguments is None:
            return None
        plot = plan(self._app, job.request, arguments)
        drafts = dict(zip(plot.cells, job.run_all(list(plot.cells.values())), strict=False))
        return _draft(job, plot, arguments, drafts)


def _choices(tab: str) -> dict[str, list[str]]:
    """What a tab's pictures can differ in."""
    labels = [axis.label for axis in axes_of(tab) if axis.apply is not None or axis.label == NOTHING]
    return dict.fromkeys(("x_type", "y_type", "z_type"), labels)


def _draft(job: Job, plot: Plot, arguments: Arguments, drafts: Mapping[Place, Draft]) -> Draft:
    places = [place for place in plot.places() if place in drafts]
    cells = {place: _cell(drafts[place], number) for number, place in enumerate(places)}
    first = cells[places[0]]
    whole, parts = _grids(plot, arguments, {place: cell.pixels for place, cell in cells.items()})
    told = _told(plot, arguments)
    grids = [replace(first, kind="grid", index=0, pixels=whole, infotext=_with(first.infotext, told))]
    if arguments.include_sub_grids:
        grids += [
            replace(grids[0], index=number + 1, suffix=f"-{number}", pixels=pixels)
            for number, pixels in enumerate(parts)
        ]
    lone = list(cells.values())
    if not arguments.include_lone_images:  # they do not leave, but are saved where results are
        lone = [replace(image, kind="intermediate") for image in lone] if job.request.output.save else []
    info = {
        **drafts[places[0]].info,
        "all_prompts": [image.prompt for image in cells.values()],
        "all_negative_prompts": [image.negative_prompt for image in cells.values()],
        "all_seeds": [image.seed for image in cells.values()],
        "all_subseeds": [image.subseed for image in cells.values()],
        "index_of_first_image": 1,
        "infotexts": [image.infotext for image in (*grids, *cells.values())],
    }
    return Draft(images=(*grids, *lone), info=info)


def _cell(draft: Draft, number: int) -> Image:
    """A cell's picture; several pictures become one."""
    results = [image for image in draft.images if image.kind == "result"]
    pixels = results[0].pixels if len(results) == 1 else grid_image([image.pixels for image in results])
    return replace(results[0], index=number, pixels=pixels)


def _grids(plot: Plot, arguments: Arguments, pictures: Mapping[Place, Any]) -> tuple[Any, list[Any]]:
    """All of it, and the grid of each z. What an interrupt left out is grey."""
    x, y, z = plot.lines
    size = max(one.width for one in pictures.values()), max(one.height for one in pictures.values())
    blank = Pillow.new("RGB", size, "grey")
    parts = []
    for depth in range(len(z.values)):
        cells = [pictures.get((a, b, depth), blank) for b in range(len(y.values)) for a in range(len(x.values))]
        grid = grid_image(cells, rows=len(y.values))
        if arguments.draw_legend:
            grid = labelled_grid(grid, _labels(x), _labels(y), margin=arguments.margin_size)
        parts.append(grid)
    whole = grid_image(parts, rows=1)
    if arguments.draw_legend:
        whole = labelled_grid(whole, _labels(z), [[Label()]])
    return whole, parts


def _labels(line: Line) -> list[list[Label]]:
    return [[Label(shown(line.axis, value))] for value in line.values]


def _told(plot: Plot, arguments: Arguments) -> list[tuple[str, str]]:
    """What the grid's generation data say of the plot."""
    told = [("Script", TITLE)]
    for name, line in zip("XYZ", plot.lines, strict=True):
        if line.axis.label == NOTHING:
            continue
        told += [(f"{name} Type", line.axis.label), (f"{name} Values", line.written)]
        if line.seeds and not arguments.no_fixed_seeds:
            told.append((f"Fixed {name} Values", ", ".join(str(value) for value in line.values)))
    return told


def _with(infotext: str, told: list[tuple[str, str]]) -> str:
    """The infotext with more parameters, before the version that ends it."""
    written = ", ".join(f"{key}: {_quoted(value)}" for key, value in told)
    before, mark, version = infotext.rpartition(", Version: ")
    return f"{before}, {written}{mark}{version}" if mark else f"{infotext}, {written}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ",:\n") else value
