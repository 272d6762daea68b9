"""A checkpoint in memory: the denoiser, the autoencoder and the text encoders, as the engine uses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from easel.errors import ModelError
from easel.models.adapters import Adapters, layer_names
from easel.models.hypernetworks import attention_inputs
from easel.models.schedule import Prediction, alphas_cumprod, zero_terminal_snr
from easel.models.text import EncodedTexts, TextEncoders, TextOptions, size_vector
from easel.models.weights import load_vae

if TYPE_CHECKING:
    from easel.models.families.family import Blueprint, Family, LatentFormat, PictureSize
    from easel.models.placement import Placement
    from easel.models.store import CheckpointInfo
    from easel.values.prompt import Adapter


@dataclass(frozen=True, slots=True)
class Residuals:
    """What ControlNets add to the UNet: one tensor per skip connection on the way down, and one in the middle."""

    down: tuple[Tensor, ...]
    middle: Tensor


@dataclass(slots=True, kw_only=True, eq=False)
class LoadedCheckpoint:
    """One checkpoint on one device. Used by the engine's thread only; all calls run without gradients."""

    info: CheckpointInfo
    family: Family
    blueprint: Blueprint
    prediction: Prediction
    unet: Any  # diffusers' UNet2DConditionModel
    vae: Any  # AutoencoderKL or AutoencoderDC
    texts: TextEncoders
    placement: Placement
    alphas_cumprod: Tensor = field(init=False)  # (1000,) float32, on the processor
    vae_path: Path | None = None  # the separate VAE in use
    tiling: bool = False
    adapters: Adapters = field(init=False)
    _own_vae: nn.Module | None = None

    def __post_init__(self) -> None:
        names = layer_names(self.unet, self.texts.modules, self.blueprint.unet_names)
        self.adapters = Adapters(names, attention_inputs(self.unet))
        alphas = alphas_cumprod()
        self.alphas_cumprod = zero_terminal_snr(alphas) if self.blueprint.zero_snr else alphas

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.placement.device

    @property
    def dtype(self) -> torch.dtype:
        """The denoiser's number type."""
        return self.placement.dtype

    @property
    def latent(self) -> LatentFormat:
        """How latents are kept."""
        return self.blueprint.latent

    @property
    def byte_size(self) -> int:
        """Bytes of all weights."""
        modules = [self.unet, self.vae, *self.texts.modules]
        return sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())

    @torch.inference_mode()
    def predict(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        vector: Tensor | None = None,
        residuals: Residuals | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """One forward pass of the denoiser.

        `x` (N, C, h, w) on the model's scale (unit variance at full noise); `timesteps` (N,), fractions allowed;
        `context` (N, T, D); `vector` (N, V) for SDXL; `extra` (N, blueprint.extra_channels, h, w) for inpainting and
        pix2pix checkpoints. Returns the raw output (N, C, h, w) float32: noise or velocity, see `prediction`.
        """
        if extra is not None:
            x = torch.cat([x, extra.to(x)], dim=1)
        output: Tensor = self.unet(
            x.to(self.device, self.dtype, memory_format=torch.channels_last),
            timesteps.to(self.device),
            encoder_hidden_states=context.to(self.device, self.dtype),
            class_labels=None if vector is None else vector.to(self.device, self.dtype),
            down_block_additional_residuals=None if residuals is None else residuals.down,
            mid_block_additional_residual=None if residuals is None else residuals.middle,
            return_dict=False,
        )[0]
        return output.float()

    def encode_texts(
        self, texts: Sequence[str], options: TextOptions | None = None, *, negative: bool = False
    ) -> EncodedTexts:
        """Encode the texts of one call (all stages of one prompt); see TextEncoders.encode."""
        return self.texts.encode(texts, options or TextOptions(), negative=negative)

    def vector(self, texts: EncodedTexts, size: PictureSize) -> Tensor | None:
        """SDXL's vector (n, V) for encoded texts; None for families without one."""
        if self.blueprint.numbers is None or texts.pooled is None:
            return None
        return size_vector(texts.pooled, self.blueprint.numbers(size))

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in -1…1 → latents (N, C, h, w) float32: the posterior's mean, one picture at a time.

        Half-precision autoencoders that overflow are switched to float32 for good, as A1111 does.
        """
        return self.to_model(self._in_float32_if_needed(self._encode_all, pixels))

    @torch.inference_mode()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) → (N, 3, H, W) float32, about -1…1, one picture at a time; see `encode_pixels`."""
        return self._in_float32_if_needed(self._decode_all, latents)

    def to_model(self, z: Tensor) -> Tensor:
        """The autoencoder's latents → the denoiser's."""
        if self.latent.mean:
            return (z - _channels(self.latent.mean, z)) / _channels(self.latent.std, z)
        return z * self.latent.scale

    def from_model(self, latents: Tensor) -> Tensor:
        """The denoiser's latents → the autoencoder's."""
        if self.latent.mean:
            return latents * _channels(self.latent.std, latents) + _channels(self.latent.mean, latents)
        return latents / self.latent.scale

    def set_adapters(self, adapters: tuple[Adapter, ...]) -> tuple[str, ...]:
        """Make exactly these adapters active; layers of their files that nothing here has, see Adapters.use."""
        return self.adapters.use(adapters)

    def set_tiling(self, tiling: bool) -> None:
        """Let convolutions wrap around the edges, so that pictures tile."""
        if tiling == self.tiling:
            return
        for module in (self.unet, self.vae, self._own_vae):
            for part in module.modules() if module is not None else ():
                if isinstance(part, nn.Conv2d):
                    part.padding_mode = "circular" if tiling else "zeros"
        self.tiling = tiling

    def set_vae(self, path: Path | None) -> None:
        """Use a separate autoencoder, or (None) the checkpoint's own again; errors as `load_vae`."""
        if path == self.vae_path:
            return
        own = self._own_vae if self._own_vae is not None else self.vae
        wanted: Any = own if path is None else self._separate_vae(path)
        tiling = self.tiling
        self.set_tiling(False)
        self.vae = wanted
        self._own_vae = None if path is None else own
        self.vae_path = path
        self.set_tiling(tiling)

    def _separate_vae(self, path: Path) -> nn.Module:
        vae: Any = load_vae(path, self.placement)
        channels, needed = vae.config["latent_channels"], self.latent.channels
        if channels != needed:
            reason = f"its latents have {channels} channels, those of {self.info.title} have {needed}"
            raise ModelError(f"{path.name}: made for another family of checkpoints ({reason})")
        return cast(nn.Module, vae)

    def _in_float32_if_needed(self, run: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        result = run(given)
        if not torch.isfinite(result).all() and torch.isfinite(given).all() and self.vae.dtype != torch.float32:
            self.vae.float()
            result = run(given)
        return result

    def _encode_all(self, pixels: Tensor) -> Tensor:
        weight = next(self.vae.parameters())
        x = pixels.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        found = [self.vae.encode(row).to_tuple()[0] for row in torch.split(x, 1)]
        return torch.cat([(one if isinstance(one, Tensor) else one.mode()).float() for one in found])

    def _decode_all(self, latents: Tensor) -> Tensor:
        weight = next(self.vae.parameters())
        z = self.from_model(latents).to(weight.device, weight.dtype, memory_format=torch.channels_last)
        return torch.cat([self.vae.decode(row, return_dict=False)[0].float() for row in torch.split(z, 1)])


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
