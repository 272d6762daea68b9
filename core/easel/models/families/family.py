"""What a family of models is: how to recognise one of its files, and the plan to build a model from it. No torch here.

The seam: a family is one module that makes a `Family`, and one line in `FAMILIES` (`families/__init__.py`). It reads
a `Layout` (tensor names and shapes) and answers with a `Blueprint`, or None when the file is none of its own;
everything else is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from easel.errors import ModelError
from easel.models.families import autoencoder, text_encoder
from easel.models.families.text_encoder import TextShape
from easel.models.families.unet import UNetShape, shape_from_config, shape_from_ldm
from easel.models.layout import Layout

if TYPE_CHECKING:
    from torch import nn

    from easel.models.schedule import Prediction

Source = tuple[str, str]  # (tensor in the file, how it is taken: see text_encoder.targets; "1x1" = squeeze to linear)
LDM_UNET, LDM_VAE = "model.diffusion_model.", "first_stage_model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One module: `build()` makes it (under the meta device), `sources` says where each of its tensors comes from."""

    build: Callable[[], nn.Module]
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart(Part):
    """A text encoder and which of its states the denoiser was trained on."""

    layer: int  # index into the hidden states (0 = the vectors that go in)
    normed: bool = True  # the final layer norm follows
    skip: Literal["yes", "sdxl", "no"] = "yes"  # CLIP skip: always, only with `sdxl_clip_l_skip`, never
    pooled: bool = False
    pad: int = 49407  # token after the first end token
    embedding_key: str = "clip_l"  # its part of an SDXL textual inversion


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFormat:
    """How latents are kept while denoising: (z - mean) / std, or z * scale where a model has no statistics."""

    channels: int = 4
    pixels: int = 8  # side of the square a latent stands for
    scale: float = 0.18215
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rgb: tuple[tuple[float, float, float], ...] = ()  # latent → RGB in -1…1, for cheap previews; (): fitted when asked


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSize:
    """What SDXL is told about the picture besides the text."""

    width: int
    height: int
    crop_top: float = 0.0
    crop_left: float = 0.0
    aesthetic_score: float = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything loading needs to know."""

    denoiser: Part
    autoencoder: Part
    encoders: tuple[TextPart, ...]
    latent: LatentFormat
    unet_names: Mapping[str, str] = field(default_factory=dict)  # LDM module → diffusers module
    prediction: Prediction | None = "eps"  # None: the file does not say, ask the loaded model
    zero_snr: bool = False
    extra_channels: int = 0  # 5: mask and masked picture (inpainting); 4: the picture to edit (pix2pix)
    numbers: Callable[[PictureSize], tuple[float, ...]] | None = None  # SDXL's vector after the pooled text


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of model. `read` gives None for other kinds, and raises ModelError for a file that is not whole."""

    name: str
    read: Callable[[Layout], Blueprint | None]
    native_size: tuple[int, int] = (512, 512)
    pixels_per_latent: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A layout with its UNet and text encoders measured, whichever way the tensors are named."""

    layout: Layout
    unet: UNetShape
    texts: tuple[TextShape, ...]

    @property
    def is_folder(self) -> bool:
        """A diffusers folder."""
        return bool(self.layout.configs)

    @property
    def extra_channels(self) -> int:
        """Input channels beyond the latent's own."""
        return self.unet.in_channels - self.unet.out_channels

    def prediction(self) -> Prediction | None:
        """What the files say of the output's meaning; None when they say nothing."""
        scheduler = self.layout.configs.get("scheduler", {}).get("prediction_type")
        declared = re.search(r"^\s*parameterization:\s*[\"']?(\w+)", self.layout.yaml, re.MULTILINE)
        if scheduler == "v_prediction" or "v_pred" in self.layout.tensors or (declared and declared[1] == "v"):
            return "v"
        return "eps" if scheduler or declared else None

    def zero_snr(self) -> bool:
        """Trained on a schedule whose last step holds no signal."""
        scheduler = self.layout.configs.get("scheduler", {})
        return "ztsnr" in self.layout.tensors or bool(scheduler.get("rescale_betas_zero_snr"))


def measure(layout: Layout) -> Checkpoint | None:
    """Measure a layout; None when it has no Stable Diffusion UNet; ModelError for a distorted one."""
    if "unet" in layout.configs:
        unet = shape_from_config(layout.configs["unet"], layout.label)
    elif f"{LDM_UNET}input_blocks.0.0.weight" in layout.tensors:
        unet = shape_from_ldm(layout.below(LDM_UNET))
    else:
        return None
    return Checkpoint(layout=layout, unet=unet, texts=text_encoder.text_shapes(layout))


def unet_part(model: Checkpoint, *, heads: int | None) -> Part:
    """The denoiser; `heads` as in UNetShape.config, for files that do not carry a configuration."""
    if model.is_folder:
        config = dict(model.layout.configs["unet"])
        here = model.layout.below("unet.")
        sources = {name: (f"unet.{name}", "") for name in here.tensors}
        if config.get("addition_embed_type") == "text_time":  # SDXL: the whole vector comes from us, as in LDM files
            config |= {"addition_embed_type": None, "class_embed_type": "projection"}
            sources = {name.replace("add_embedding.", "class_embedding."): at for name, at in sources.items()}
        return Part(build=partial(_build_unet, config), sources=sources)
    sources = renamed_sources(model.layout, LDM_UNET, model.unet.names())
    return Part(build=partial(_build_unet, model.unet.config(heads=heads)), sources=sources)


def vae_part(layout: Layout, prefix: str = LDM_VAE) -> Part:
    """The autoencoder of a checkpoint, or of a VAE file with `prefix` "" (LDM or diffusers names)."""
    if "vae" in layout.configs:
        config = layout.configs["vae"]
        kind = "AutoencoderDC" if config.get("_class_name") == "AutoencoderDC" else "AutoencoderKL"
        sources = {autoencoder.renamed(name): (f"vae.{name}", "") for name in layout.below("vae.").tensors}
        return Part(build=partial(_build_vae, kind, config), sources=sources)
    if layout.own_config.get("_class_name") == "AutoencoderDC":
        whole = {name: (name, "") for name in layout.tensors}
        return Part(build=partial(_build_vae, "AutoencoderDC", layout.own_config), sources=whole)
    here = layout.below(prefix)
    if not autoencoder.is_ldm(here) and not autoencoder.is_diffusers(here):
        raise ModelError(f"{layout.label}: the file has no autoencoder (VAE)")
    config = autoencoder.config_from_tensors(here)
    if autoencoder.is_ldm(here):
        table = autoencoder.names(config["block_out_channels"], config["layers_per_block"])
        sources = renamed_sources(layout, prefix, table)
    else:
        sources = {autoencoder.renamed(name): (prefix + name, "") for name in here.tensors}
    for target, (source, _) in sources.items():
        if ".attentions." in target and len(layout.shape(source)) == 4:
            sources[target] = (source, "1x1")
    return Part(build=partial(_build_vae, "AutoencoderKL", config), sources=sources)


def text_part(model: Checkpoint, shape: TextShape, **recipe: Any) -> TextPart:
    """A text encoder; `recipe` are TextPart's own fields."""
    sources = text_encoder.targets(model.layout, shape)
    sizes = dict(shape.sizes)
    if not recipe.get("pooled"):
        sizes.pop("projection", None)
        sources.pop("text_projection.weight", None)
    return TextPart(build=partial(_build_text, sizes), sources=sources, **recipe)


def need_texts(model: Checkpoint, count: int) -> tuple[TextShape, ...]:
    """The text encoders; ModelError when the file lacks them."""
    if len(model.texts) != count:
        found = f"{len(model.texts)} of {count} text encoders"
        raise ModelError(f"{model.layout.label}: the file holds {found}; a whole checkpoint is needed")
    return model.texts


def renamed_sources(layout: Layout, prefix: str, table: Mapping[str, str]) -> dict[str, Source]:
    """Diffusers tensor name → source, for the tensors below `prefix` whose module `table` knows."""
    out: dict[str, Source] = {}
    for name in layout.below(prefix).tensors:
        if target := rename(name, table):
            out[target] = (prefix + name, "")
    return out


def rename(name: str, table: Mapping[str, str]) -> str | None:
    """`name` with its longest leading module that `table` knows replaced; None when it knows none."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        if head := table.get(".".join(parts[:cut])):
            return ".".join((head, *parts[cut:]))
    return None


def _build_unet(config: Mapping[str, Any]) -> nn.Module:
    from easel.models.unet import build_unet

    unet: nn.Module = build_unet(config)
    return unet


def _build_vae(kind: str, config: Mapping[str, Any]) -> nn.Module:
    import diffusers

    vae: nn.Module = getattr(diffusers, kind).from_config(dict(config))
    return vae


def _build_text(sizes: Mapping[str, Any]) -> nn.Module:
    from easel.models.clip import ClipConfig, ClipText

    return ClipText(ClipConfig(**sizes))
