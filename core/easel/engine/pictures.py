"""One picture on its way through a pass, and the rows it wants computed by the model.

A picture asks (`rows`) and is answered (`Row.output`); when the last row has come, `advance` guides, blends, and moves
its sampler on to the next evaluation. Which rows are computed together is the business of `ticks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from easel.engine.samplers.protocol import Evaluation, Prediction

if TYPE_CHECKING:
    from easel.engine.controls import PictureControl, RowControl
    from easel.engine.guidance import Guidance
    from easel.engine.holds import PictureHold
    from easel.engine.latents import Blend, DegreeBlend
    from easel.engine.levels import Levels
    from easel.engine.references import PictureReference, RowReference
    from easel.engine.samplers.protocol import SamplerRun
    from easel.engine.texts import Encoded, PictureTexts
    from easel.engine.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that denoises a picture, and what it is told. `extra`: (1, c, h, w) channels of inpainting models."""

    weights: Weights
    levels: Levels
    texts: PictureTexts
    extra: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The refiner: another model takes over when `at` (0…1) of the noise levels, or of the calls, is behind.

    `target` loads it.
    """

    target: Callable[[], Target]
    at: float
    by_calls: bool = False


@dataclass(slots=True, eq=False)
class Row:
    """One row of a batch: an input and a text. Rows with equal `group` may share a forward pass."""

    x: Tensor  # (1, C, h, w)
    timestep: float
    text: Encoded
    extra: Tensor | None  # (1, c, h, w), see Target
    controls: tuple[RowControl, ...]
    group: tuple[object, ...]
    references: tuple[RowReference, ...] = ()
    output: Tensor | None = None  # (1, C, h, w)


@dataclass(slots=True, eq=False, kw_only=True)
class Picture:
    """The state of one picture; `latents` is the picture so far, or the finished one."""

    sampler: SamplerRun
    sigma_space: bool
    guidance: Guidance
    target: Target
    start: Tensor
    steps: int
    controls: tuple[PictureControl, ...] = ()
    references: tuple[PictureReference, ...] = ()
    holds: tuple[PictureHold, ...] = ()
    switch: Switch | None = None
    blend: Blend | DegreeBlend | None = None
    rows: list[Row] = field(default_factory=list)  # what the pending evaluation needs
    step: int = 0  # steps finished
    shown: int = 0  # the step that A1111 would show by now, one behind at a step's first evaluation
    finished: bool = False
    call: int = 0  # denoiser calls answered
    estimate: Callable[[], Tensor] = field(init=False)  # makes the picture so far, or the finished one
    _evaluation: Evaluation = field(init=False)
    _x: Tensor = field(init=False)  # what the model sees, before scaling
    _weights: list[float] = field(default_factory=list)  # of the parts that AND joins

    def __post_init__(self) -> None:
        self.estimate = partial(_itself, self.start)

    def begin(self) -> None:
        """Ask for the first evaluation."""
        self._move(lambda: next(self.sampler))

    @property
    def waiting(self) -> bool:
        """Some of its rows are not computed yet."""
        return any(row.output is None for row in self.rows)

    def advance(self) -> None:
        """All rows are there: guide, blend, and let the sampler go on to its next evaluation or its end."""
        prediction = self._prediction()
        self.call += 1
        self._move(lambda: self.sampler.send(prediction))

    def drop(self) -> None:
        """Stop here; `estimate` is the picture so far."""
        self.sampler.close()
        self.rows = []
        self.finished = True

    def _move(self, on: Callable[[], Evaluation]) -> None:
        try:
            evaluation = on()
        except StopIteration as end:
            self.rows = []
            self.finished = True
            self.estimate = partial(_itself, self._blended(end.value, None))
            return
        self.shown = max(evaluation.step - 1, 0) if evaluation.step > self.step else evaluation.step
        self.step = evaluation.step
        self._evaluation = evaluation
        self._ask(evaluation)

    def _ask(self, evaluation: Evaluation) -> None:
        self._switch_if_due(evaluation)
        target, call, at = self.target, self.call, evaluation.at
        if self.sigma_space:
            self._x = evaluation.x
            scaled = target.levels.scaled(self._x, at)
            timestep = target.levels.schedule.timestep_of(at) if evaluation.timestep is None else evaluation.timestep
        else:
            self._x = scaled = self._blended(evaluation.x, evaluation.at)
            timestep = at
        parts = target.texts.parts_at(call)
        self._weights = [weight for weight, _ in parts]
        texts = [text for _, text in parts]
        if self.guidance.needs_negative(call, at):
            texts.append(target.texts.negative_at(call))
        self.rows = [self._row(scaled, timestep, text, negative=n >= len(parts)) for n, text in enumerate(texts)]
        if self.guidance.picture_scale is not None and target.extra is not None and len(texts) > len(parts):
            blind = torch.zeros_like(target.extra)
            self.rows.append(replace(self.rows[-1], extra=blind))
        if self.references:
            self._look(timestep, [n >= len(parts) for n in range(len(self.rows))])

    def _look(self, timestep: float, negative: list[bool]) -> None:
        """Let the rows look at the references that count now."""
        found = [one.at(self.shown / self.steps, timestep, negative) for one in self.references]
        columns = [column for column in found if column]
        kinds = tuple(column[0].kind for column in columns)
        for n, row in enumerate(self.rows):
            row.references = tuple(column[n] for column in columns)
            row.group = (*row.group, kinds)

    def _row(self, x: Tensor, timestep: float, text: Encoded, *, negative: bool) -> Row:
        done = self.shown / self.steps
        found = (control.at(done, negative=negative) for control in self.controls)
        controls = tuple(control for control in found if control is not None)
        nets = tuple(control.model for control in controls)
        group = (self.target.weights, x.shape, text.context.shape[1], text.vector is None, nets)
        return Row(x, timestep, text, self.target.extra, controls, group)

    def _prediction(self) -> Prediction:
        outputs = [self._held(n, row) for n, row in enumerate(self.rows)]
        parts = list(zip(self._weights, outputs, strict=False))
        negative, blind = (*outputs[len(parts) :], None, None)[:2]
        guided, base = self.guidance.combine(parts, negative, blind)
        levels, x, at = self.target.levels, self._x, self._evaluation.at
        if not self.sigma_space:
            noise = levels.noise(guided, x, at)
            self.estimate = partial(self._blended_clean, levels, noise, x, at)
            return Prediction(noise, noise if guided is base else levels.noise(base, x, at))
        denoised = self._blended(levels.denoised(guided, x, at), at)
        self.estimate = partial(_itself, denoised)
        return Prediction(denoised, denoised if guided is base else levels.denoised(base, x, at))

    def _held(self, n: int, row: Row) -> Tensor:
        """A row's output, mended by what the picture is held to."""
        assert row.output is not None
        output = row.output
        for hold in self.holds:
            output = hold(output, row.x, row.timestep, negative=n >= len(self._weights))
        return output

    def _blended(self, x: Tensor, at: float | None) -> Tensor:
        return x if self.blend is None else self.blend(x, at)

    def _blended_clean(self, levels: Levels, noise: Tensor, x: Tensor, at: float) -> Tensor:
        return self._blended(levels.clean(noise, x, at), None)

    def _switch_if_due(self, evaluation: Evaluation) -> None:
        if (switch := self.switch) is None:
            return
        if switch.by_calls:
            behind = self.call / self.guidance.calls
        elif self.sigma_space:
            behind = self.target.levels.progress(evaluation.at)
        else:
            behind = (999 - int(evaluation.at)) / 1000
        if behind >= switch.at:
            self.target, self.switch = switch.target(), None


def _itself(x: Tensor) -> Tensor:
    return x
