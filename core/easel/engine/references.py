"""Reference pictures: the denoiser's self-attention looks at them too ("reference only", by Lvmin Zhang).

At every evaluation each reference is noised to the picture's level and shown to the denoiser first, which remembers
what its self-attention layers read; the picture's own rows then attend to that as well as to themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from easel.engine.noise import Draw
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.values.conditioning import Reference


@dataclass(frozen=True, slots=True)
class RowReference:
    """One reference's part in one row: `x` (1, C, h, w) noised, `extra` as Row.extra, `alone` 0…1 looks away."""

    x: Tensor
    extra: Tensor | None
    weight: float
    alone: float


@dataclass(slots=True)
class PictureReference:
    """A reference of one picture: `latent` (1, C, h, w); `draw` continues the noise that belongs to it."""

    reference: Reference
    latent: Tensor
    alphas: Tensor
    draw: Draw
    masked: bool  # the checkpoint wants the channels of an inpainting one

    def at(self, done: float, timestep: float, negative: Sequence[bool]) -> list[RowReference]:
        """Its part in each row of an evaluation, when the fraction `done` of the steps is behind; [] outside."""
        reference = self.reference
        if not reference.start <= done <= reference.end:
            return []
        alpha = float(self.alphas[round(timestep)])
        noise = self.draw((len(negative), *self.latent.shape[1:])).to(self.latent.device)
        extra = torch.cat((torch.zeros_like(self.latent[:, :1]), self.latent), 1) if self.masked else None
        return [
            RowReference(
                x=sqrt(alpha) * self.latent + sqrt(1.0 - alpha) * noise[k : k + 1],
                extra=extra,
                weight=reference.weight,
                alone=reference.fidelity if one else 0.0,
            )
            for k, one in enumerate(negative)
        ]


@contextmanager
def remembered(
    model: LoadedCheckpoint,
    references: Sequence[Sequence[RowReference]],
    timesteps: Tensor,
    context: Tensor,
    vector: Tensor | None,
) -> Iterator[None]:
    """Within this, the model's self-attention looks at the references; one entry per row, all equally many."""
    if not references[0]:
        yield
        return
    layers = _layers(model.unet)
    alone = torch.tensor([sum(one.alone for one in row) / len(row) for row in references])
    watchers = [_Watcher(layer.processor, rank / len(layers), alone) for rank, layer in enumerate(layers)]
    try:
        for layer, watcher in zip(layers, watchers, strict=True):
            layer.processor = watcher
        for column in zip(*references, strict=True):
            for watcher in watchers:
                watcher.writes, watcher.wanted = True, column[0].weight > watcher.rank
            extra = [one.extra for one in column if one.extra is not None]
            x = torch.cat([one.x for one in column])
            model.predict(x, timesteps, context, vector, None, torch.cat(extra) if extra else None)
        for watcher in watchers:
            watcher.writes = False
        yield
    finally:
        for layer, watcher in zip(layers, watchers, strict=True):
            layer.processor = watcher.plain


def _layers(unet: Any) -> list[Any]:
    """The self-attention layers, the widest first, else in the order the data takes."""
    blocks = [
        module
        for part in (unet.down_blocks, unet.mid_block, unet.up_blocks)
        for name, module in part.named_modules()
        if name.endswith("attn1")
    ]
    return sorted(blocks, key=lambda layer: -layer.to_q.in_features)


@dataclass(slots=True)
class _Watcher:  # its argument names are diffusers'
    """Stands in for a layer's attention processor: remembers what it reads, or lets it look at what is remembered."""

    plain: Any
    rank: float  # 0: looks at any weight
    alone: Tensor  # (N,): how far each row looks away
    writes: bool = True
    wanted: bool = True
    seen: list[Tensor] = field(default_factory=list)

    def __call__(
        self, attention: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **named: Any
    ) -> Tensor:
        x = hidden_states
        if self.writes and self.wanted:
            self.seen.append(x)
        if self.writes or not self.seen:
            return self._plain(attention, x, encoder_hidden_states, named)
        looking = self._plain(attention, x, torch.cat((x, *self.seen), 1), named)
        if not self.alone.any():
            return looking
        own = self._plain(attention, x, encoder_hidden_states, named)
        return torch.lerp(looking, own, self.alone.to(own)[:, None, None])

    def _plain(self, attention: Any, x: Tensor, context: Tensor | None, named: Mapping[str, Any]) -> Tensor:
        result: Tensor = self.plain(attention, x, encoder_hidden_states=context, **named)
        return result
