"""ControlNets in a pass: which act on an evaluation and how strongly, and what they add to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from easel.models.checkpoint import Residuals
from easel.models.controlnet import add

if TYPE_CHECKING:
    from easel.models.controlnet import ControlNet
    from easel.values.conditioning import Control

Nets = Callable[[Path], "ControlNet"]


@dataclass(frozen=True, slots=True)
class RowControl:
    """One ControlNet's part in one row. `hint` (1, c, h, w) is encoded; `weights`: one, or one per residual."""

    model: Path
    hint: Tensor
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PictureControl:
    """A control of a pass with its encoded hint."""

    control: Control
    hint: Tensor

    def at(self, done: float, *, negative: bool) -> RowControl | None:
        """Its part in a row when the fraction `done` of the steps lies behind; None outside of its window."""
        control = self.control
        if not control.start <= done <= control.end:
            return None
        weights = tuple(control.weight * soft for soft in control.soft_weights or (1.0,))
        if negative and control.on_cond_only:
            weights = (0.0,)
        return RowControl(Path(control.model), self.hint, weights)


def encode(control: Control, nets: Nets) -> PictureControl:
    """Run a control's map through its ControlNet's encoder, once for the whole pass."""
    hint = torch.tensor(control.hint, dtype=torch.float32).permute(2, 0, 1)[None]
    return PictureControl(control, nets(Path(control.model)).encode_hint(hint))


def residuals(
    nets: Nets,
    controls: Sequence[tuple[RowControl, ...]],
    x: Tensor,
    timesteps: Tensor,
    context: Tensor,
    vector: Tensor | None,
) -> Residuals | None:
    """What all ControlNets add to a batch; `controls` has one entry per row, all of the same ControlNets."""
    found = [
        _weighted(
            nets(column[0].model).residuals(x, timesteps, context, torch.cat([one.hint for one in column]), vector),
            [one.weights for one in column],
        )
        for column in zip(*controls, strict=True)
    ]
    return reduce(add, found) if found else None


def _weighted(plain: Residuals, weights: Sequence[tuple[float, ...]]) -> Residuals:
    """Each row's residuals times that row's weights: those on the way down first, the middle one last."""
    count = len(plain.down) + 1
    rows = [one * count if len(one) == 1 else one for one in weights]
    table = torch.tensor(rows, dtype=plain.middle.dtype, device=plain.middle.device).T[..., None, None, None]
    *down, middle = table.unbind()
    pairs = zip(plain.down, down, strict=True)
    return Residuals(tuple(tensor * weight for tensor, weight in pairs), plain.middle * middle)
