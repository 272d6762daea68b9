"""A plot: its axes with their values, and the request of each cell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from easel import BadRequest, GenerationRequest, NotAvailable, UnknownName, check_count, check_request

from .axes import NOTHING, Axis, axes_of
from .values import read, split

if TYPE_CHECKING:
    from . import Arguments

Place = tuple[int, int, int]
MOST_PIXELS = 200_000_000  # of a grid: A1111's limit


@dataclass(frozen=True, slots=True)
class Line:
    """One axis of a plot: what varies, its values, and what was written for them."""

    axis: Axis
    values: tuple[Any, ...]
    written: str

    @property
    def seeds(self) -> bool:
        """Its values are seeds."""
        return self.axis.label in ("Seed", "Var. seed")


@dataclass(frozen=True, slots=True)
class Plot:
    """Three lines, x, y and z; `cells` in the order they are made: what is costly to change changes last."""

    lines: tuple[Line, Line, Line]
    cells: Mapping[Place, GenerationRequest]

    @property
    def counts(self) -> Place:
        """Values of each line."""
        x, y, z = (len(line.values) for line in self.lines)
        return x, y, z

    def places(self) -> list[Place]:
        """All places in the order they are told: x runs fastest."""
        x, y, z = self.counts
        return [(a, b, c) for c in range(z) for b in range(y) for a in range(x)]


def plan(app: Any, request: GenerationRequest, arguments: Arguments) -> Plot:
    """The whole plot, every cell checked. Errors: BadRequest and its kinds, NotAvailable."""
    x, y, z = (_line(app, request, arguments, name) for name in "xyz")
    count = len(x.values) * len(y.values) * len(z.values)
    check_count(count * request.image_count, app.settings, "script_args")
    if count * request.width * request.height > MOST_PIXELS:
        allowed = f"up to {MOST_PIXELS} pixels together"
        raise BadRequest("the grid would be too large", field="script_args", value=f"{count} cells", allowed=allowed)
    by_cost = sorted((2, 1, 0), key=lambda n: -(x, y, z)[n].axis.costly)  # the outermost loop first
    cells = {}
    for indices in product(*(range(len((x, y, z)[n].values)) for n in by_cost)):
        place = tuple(indices[by_cost.index(n)] for n in range(3))
        cells[place] = _cell(app, request, arguments, (x, y, z), place)
    return Plot((x, y, z), cells)


def _line(app: Any, request: GenerationRequest, arguments: Arguments, name: str) -> Line:
    number = "xyz".index(name) * 3
    axis = _axis(getattr(arguments, f"{name}_type"), request.kind, f"script_args[{number}]")
    if axis.label == NOTHING:
        return Line(axis, (0,), "")
    if axis.apply is None:
        raise NotAvailable(f"{axis.label}: {axis.missing}")
    text, chosen = getattr(arguments, f"{name}_values"), getattr(arguments, f"{name}_values_dropdown")
    listed = bool(chosen) and axis.choices and not arguments.csv_mode
    field = f"script_args[{number + (2 if listed else 1)}]"
    texts = [str(value) for value in chosen] if listed else split(text)
    values = read(texts, axis.kind, field, lambda count: check_count(count, app.settings, field))
    if not values:
        raise BadRequest(f"{axis.label} has no values", field=field, value=text, allowed="at least one")
    line = Line(axis, tuple(values), ", ".join(texts) if listed else text)
    if line.seeds and not arguments.no_fixed_seeds:
        values = [_drawn(request, name, n) if value in (None, -1) else value for n, value in enumerate(values)]
        line = replace(line, values=tuple(values))
    if not line.seeds and None in line.values:
        raise BadRequest("a number is missing", field=field, value=text)
    return line


def _axis(asked: int | str, tab: str, field: str) -> Axis:
    axes = axes_of(tab)
    for number, axis in enumerate(axes):
        if asked == number or str(asked).casefold() == axis.label.casefold():
            return axis
    raise UnknownName.among(field, str(asked), [axis.label for axis in axes])


def _cell(
    app: Any, request: GenerationRequest, arguments: Arguments, lines: tuple[Line, Line, Line], place: Place
) -> GenerationRequest:
    cell = request
    if arguments.no_fixed_seeds and request.seed_drawn:
        cell = replace(cell, seed=_drawn(request, "cell", *place))
    for line, index in zip(lines, place, strict=True):
        value = line.values[index]
        if value in (None, -1) and line.seeds:  # kept open: another one in every cell
            value = _drawn(request, line.axis.label, *place)
        assert line.axis.apply is not None
        try:
            cell = line.axis.apply(app, cell, value, line.values)
        except BadRequest as error:
            raise type(error)(f"{line.axis.label}: {error.message}") from None
    x, y, z = place
    across = len(lines[0].values) if arguments.vary_seeds_x else 1
    down = len(lines[1].values) if arguments.vary_seeds_y else 1
    more = x * arguments.vary_seeds_x + y * arguments.vary_seeds_y * across
    cell = replace(cell, seed=cell.seed + more + z * arguments.vary_seeds_z * across * down)
    check_request(cell, app.settings)
    return cell


def _drawn(request: GenerationRequest, *what: object) -> int:
    """A seed that nobody chose; the same whenever this request runs."""
    return int.from_bytes(hashlib.sha256(repr((request.seed, what)).encode()).digest()[:4], "big")
