"""ControlNets in a pass: which act on an evaluation and how strongly, and what they add to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from easel.errors import BadRequest
from easel.models.checkpoint import Residuals
from easel.models.controlnet import add

if TYPE_CHECKING:
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.models.controlnet import ControlNet
    from easel.values.conditioning import Control

Nets = Callable[[Path], "ControlNet"]


@dataclass(frozen=True, slots=True)
class RowControl:
    """One ControlNet's part in one row. `hint` (1, c, h, w) is encoded; `weights`: one, or one per residual."""

    model: Path
    hint: Tensor
    weights: tuple[float, ...]
    pooled: bool = False
    region: Tensor | None = None  # (1, 1, h, w) in 0…1


@dataclass(frozen=True, slots=True)
class PictureControl:
    """A control of a pass with its encoded hint."""

    control: Control
    hint: Tensor
    region: Tensor | None = None

    def at(self, done: float, *, negative: bool) -> RowControl | None:
        """Its part in a row when the fraction `done` of the steps lies behind; None outside of its window."""
        control = self.control
        if not control.start <= done <= control.end:
            return None
        weights = tuple(control.weight * soft for soft in control.soft_weights or (1.0,))
        if negative and (control.on_cond_only or control.pooled):
            weights = (0.0,)
        return RowControl(Path(control.model), self.hint, weights, control.pooled, self.region)


def encode(control: Control, nets: Nets, model: LoadedCheckpoint, width: int, height: int) -> PictureControl:
    """Run a control's map through its ControlNet's encoder, once for the whole pass of width x height pixels.

    A map smaller than the model's grid is continued on the right and below, as pictures are. Errors: BadRequest when
    the ControlNet belongs to another family than the checkpoint, or has not as many layers as weights were given.
    """
    net = nets(Path(control.model))
    _check(control, net, model)
    below, right = max(0, height - control.hint.shape[0]), max(0, width - control.hint.shape[1])
    padded = np.pad(control.hint, ((0, below), (0, right), (0, 0)), mode="edge")
    hint = torch.tensor(padded, dtype=torch.float32).permute(2, 0, 1)[None]
    region = None if control.region is None else torch.tensor(control.region, device=model.device)[None, None]
    return PictureControl(control, net.encode_hint(hint), region)


def _check(control: Control, net: ControlNet, model: LoadedCheckpoint) -> None:
    name = Path(control.model).stem
    for what in ("cross_attention_dim", "block_out_channels"):
        if net.net.config[what] != model.unet.config[what]:
            reason = f"it is made for another family of checkpoints than {model.info.title} ({model.family.name})"
            raise BadRequest(reason, field="ControlNet model", value=name)
    layers = len(net.net.controlnet_down_blocks) + 1
    if control.soft_weights is not None and len(control.soft_weights) < layers:
        given = len(control.soft_weights)
        raise BadRequest("one weight per layer is needed", field="advanced_weighting", value=given, allowed=f"{layers}")


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
            column,
        )
        for column in zip(*controls, strict=True)
    ]
    return reduce(add, found) if found else None


def _weighted(plain: Residuals, column: Sequence[RowControl]) -> Residuals:
    """Each row's residuals times that row's weights: those on the way down first, the middle one last."""
    count = len(plain.down) + 1
    rows = [one.weights * count if len(one.weights) == 1 else one.weights[:count] for one in column]
    table = torch.tensor(rows, dtype=plain.middle.dtype, device=plain.middle.device).T[..., None, None, None]
    regions = [one.region for one in column]

    def weighted(tensor: Tensor, weight: Tensor) -> Tensor:
        if any(region is not None for region in regions):
            weight = weight * torch.cat([_at_size(region, tensor) for region in regions])
        tensor = tensor * weight
        if not any(one.pooled for one in column):
            return tensor
        pooled = torch.tensor([one.pooled for one in column], device=tensor.device)[:, None, None, None]
        return torch.where(pooled, tensor.mean((2, 3), keepdim=True), tensor)

    *down, middle = map(weighted, (*plain.down, plain.middle), table)
    return Residuals(tuple(down), middle)


def _at_size(region: Tensor | None, tensor: Tensor) -> Tensor:
    """A region's mask on a residual's grid, ones without a region; (1, 1, h, w)."""
    size = tensor.shape[-2:]
    if region is None:
        return tensor.new_ones(1, 1, *size)
    return functional.interpolate(region.to(tensor), size=size, mode="bilinear")
