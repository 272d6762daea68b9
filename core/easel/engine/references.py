"""Reference pictures: the denoiser looks at them while it paints ("reference only", "reference adain", by Lvmin Zhang).

At every evaluation each reference is noised to the picture's level and shown to the denoiser first. What its
self-attention layers read is remembered, and the picture's own rows then attend to that as well as to themselves; or
the mean and variance of its blocks are, and the rows' own are brought to them (AdaIN, arXiv:1703.06868).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from easel.engine.noise import generator

if TYPE_CHECKING:
    from easel.engine.engine import DenoisePlan
    from easel.engine.noise import Draw
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.values.conditioning import Reference

_MOST_UP = 8


@dataclass(frozen=True, slots=True)
class RowReference:
    """One reference's part in one row: `x` (1, C, h, w) noised, `extra` as Row.extra, `alone` 0…1 looks away."""

    x: Tensor
    extra: Tensor | None
    alone: float
    reference: Reference

    @property
    def kind(self) -> tuple[object, ...]:
        """Rows whose references are of one kind may share a forward pass."""
        return self.reference.weight, self.reference.attention, self.reference.statistics


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
                alone=reference.fidelity if one else 0.0,
                reference=reference,
            )
            for k, one in enumerate(negative)
        ]


def references_of(
    plan: DenoisePlan, seed: int, latents: Sequence[Tensor], model: LoadedCheckpoint, *, masked: bool
) -> tuple[PictureReference, ...]:
    """The references of a picture; `latents` are those of the plan's, one (1, C, h, w) each; `masked`: see there.

    Their noise is drawn from the picture's seed as A1111 does: first, in vain, for the autoencoder's sample. SDXL takes
    references too far, so that upstream lets its negative rows look away less.
    """
    if not latents:
        return ()
    draw = generator(plan.request.options.randn_source, seed, model.device)
    for latent in latents:
        draw(tuple(latent.shape))
    power = 3 if model.family.name.startswith("SDXL") else 1
    return tuple(
        PictureReference(replace(one, fidelity=one.fidelity**power), latent, model.alphas_cumprod, draw, masked)
        for one, latent in zip(plan.conditioning.references, latents, strict=True)
    )


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
    layers, blocks = _layers(model.unet), _blocks(model.unet)
    alone = torch.tensor([sum(one.alone for one in row) / len(row) for row in references])
    watchers = [_Watcher(layer.processor, rank / len(layers), alone) for rank, layer in enumerate(layers)]
    levels = [_Levels(rank, alone) for _, rank in blocks]
    hooks = [block.register_forward_hook(level) for (block, _), level in zip(blocks, levels, strict=True)]
    try:
        for layer, watcher in zip(layers, watchers, strict=True):
            layer.processor = watcher
        for column in zip(*references, strict=True):
            shown = column[0].reference
            for watcher in watchers:
                watcher.wanted = shown.attention and shown.weight > watcher.rank
            for level in levels:
                level.wanted = shown.statistics and shown.weight > level.rank
            extra = [one.extra for one in column if one.extra is not None]
            x = torch.cat([one.x for one in column])
            model.predict(x, timesteps, context, vector, None, torch.cat(extra) if extra else None)
        for watcher in watchers:
            watcher.writes = False
        for level in levels:
            level.writes = False
        yield
    finally:
        for layer, watcher in zip(layers, watchers, strict=True):
            layer.processor = watcher.plain
        for hook in hooks:
            hook.remove()


def _layers(unet: Any) -> list[Any]:
    """The self-attention layers, the widest first, else in the order the data takes."""
    blocks = [
        module
        for part in (unet.down_blocks, unet.mid_block, unet.up_blocks)
        for name, module in part.named_modules()
        if name.endswith("attn1")
    ]
    return sorted(blocks, key=lambda layer: -layer.to_q.in_features)


def _blocks(unet: Any) -> list[tuple[Any, float]]:
    """The modules that end the original's numbered blocks, and from which weight on each looks at statistics.

    On the way down without the finest level, on the way up without it and with eight at most.
    """
    down = [_end(level, n) for level in list(unet.down_blocks)[1:] for n in range(len(level.resnets))]
    up = [
        level.upsamplers[0] if level.upsamplers and n == len(level.resnets) - 1 else _end(level, n)
        for level in list(unet.up_blocks)[:-1]
        for n in range(len(level.resnets))
    ][:_MOST_UP]
    ranked = [(block, 2 * (1 - n / len(down))) for n, block in enumerate(down)]
    return [(unet.mid_block, 0.0), *ranked, *((block, 2 * n / len(up)) for n, block in enumerate(up))]


def _end(level: Any, n: int) -> Any:
    return level.attentions[n] if hasattr(level, "attentions") else level.resnets[n]


@dataclass(slots=True)
class _Watcher:  # its argument names are diffusers'
    """Stands in for a layer's attention processor: remembers what it reads, or lets it look at what is remembered."""

    plain: Any
    rank: float  # 0: looks at any weight
    alone: Tensor  # (N,): how far each row looks away
    writes: bool = True
    wanted: bool = False
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


@dataclass(slots=True, eq=False)
class _Levels:
    """Hangs on a block: remembers the mean and variance of what it gives, or brings it to those remembered."""

    rank: float
    alone: Tensor  # (N,): how far each row looks away
    writes: bool = True
    wanted: bool = False
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, block: Any, arguments: Any, output: Any) -> Any:
        x, *rest = output if isinstance(output, tuple) else (output,)
        if self.writes:
            if self.wanted:
                self.seen.append(torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0))
            return None
        if not self.seen:
            return None
        variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
        wanted_variance, wanted_mean = (sum(both) / len(self.seen) for both in zip(*self.seen, strict=True))
        brought = (x - mean) / _deviation(variance) * _deviation(wanted_variance) + wanted_mean
        changed = torch.lerp(brought, x, self.alone.to(x)[:, None, None, None])
        return (changed, *rest) if isinstance(output, tuple) else changed


def _deviation(variance: Tensor) -> Tensor:
    return variance.clamp(min=1e-6).sqrt()
