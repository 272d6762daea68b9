"""The text encoders inside checkpoints: which there are, their sizes, and their tensors' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from easel.errors import RefusedFile
from easel.models.layout import Layout

Kind = Literal["clip", "openclip"]
OPENCLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
LDM_PREFIXES: tuple[tuple[str, Kind], ...] = (
    ("cond_stage_model.transformer.text_model.", "clip"),
    ("cond_stage_model.transformer.", "clip"),  # NovelAI's naming
    ("cond_stage_model.model.", "openclip"),
    ("conditioner.embedders.0.transformer.text_model.", "clip"),
    ("conditioner.embedders.0.model.", "openclip"),
    ("conditioner.embedders.1.model.", "openclip"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """One text encoder as a file has it. `sizes` are the arguments of ClipConfig, less what a family decides."""

    prefix: str
    kind: Kind  # how its tensors are named
    sizes: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Width of its hidden states."""
        return int(self.sizes["width"])


def text_shapes(layout: Layout) -> tuple[TextShape, ...]:
    """The text encoders of a checkpoint, in the order the families use them."""
    if layout.configs:
        components = [name for name in ("text_encoder", "text_encoder_2") if name in layout.configs]
        return tuple(_from_folder(layout, name) for name in components)
    found: dict[str, TextShape] = {}
    for prefix, kind in LDM_PREFIXES:
        probe = "embeddings.token_embedding.weight" if kind == "clip" else "token_embedding.weight"
        if prefix + probe in layout.tensors:
            found[prefix] = _from_tensors(layout, prefix, kind)
    return tuple(found.values())


def targets(layout: Layout, shape: TextShape) -> dict[str, tuple[str, str]]:
    """Target tensor name → (source name, how it is taken: "", "q", "k", "v" = third of rows, "t" = transposed)."""
    here = layout.below(shape.prefix)
    out: dict[str, tuple[str, str]] = {}
    for name in here.tensors:
        source = shape.prefix + name
        if shape.kind == "clip":
            if not name.endswith("position_ids"):
                out[name.removeprefix("text_model.")] = (source, "")
        else:
            out |= {target: (source, how) for target, how in _openclip(name)}
    return out


def _openclip(name: str) -> list[tuple[str, str]]:
    plain = {
        "positional_embedding": "embeddings.position_embedding.weight",
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    if name in plain:
        return [(plain[name], "")]
    if name == "text_projection":
        return [("text_projection.weight", "t")]
    if not name.startswith("transformer.resblocks."):
        return []  # logit_scale and the like
    number, _, inner = name.removeprefix("transformer.resblocks.").partition(".")
    layer = f"encoder.layers.{number}"
    if inner.startswith("attn.in_proj_"):
        leaf = inner.removeprefix("attn.in_proj_")
        return [(f"{layer}.self_attn.{part}_proj.{leaf}", part) for part in "qkv"]
    module, _, leaf = inner.rpartition(".")
    return [(f"{layer}.{OPENCLIP[module]}.{leaf}", "")] if module in OPENCLIP else []


def _from_tensors(layout: Layout, prefix: str, kind: Kind) -> TextShape:
    here = layout.below(prefix)
    if kind == "clip":
        token, position = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"
        layer, inner = "encoder.layers.{}.mlp.fc1.weight", "encoder.layers.0.mlp.fc1.weight"
    else:
        token, position = "token_embedding.weight", "positional_embedding"
        layer, inner = "transformer.resblocks.{}.mlp.c_fc.weight", "transformer.resblocks.0.mlp.c_fc.weight"
    layers = 0
    while layer.format(layers) in here.tensors:
        layers += 1
    if not layers:
        raise RefusedFile(f"{layout.label}: the text encoder has no layers")
    tokens, width = here.shape(token)
    sizes: dict[str, Any] = {
        "width": width,
        "layers": layers,
        "heads": max(4, width // 64),  # all published ones have heads of 64
        "inner": here.shape(inner)[0],
        "tokens": tokens,
        "positions": here.shape(position)[0],
        "activation": "quick_gelu" if kind == "clip" else "gelu",
    }
    if "text_projection" in here.tensors:
        sizes["projection"] = here.shape("text_projection")[1]
    return TextShape(prefix=prefix, kind=kind, sizes=sizes)


def _from_folder(layout: Layout, component: str) -> TextShape:
    config = layout.configs[component]
    try:
        sizes: dict[str, Any] = {
            "width": int(config["hidden_size"]),
            "layers": int(config["num_hidden_layers"]),
            "heads": int(config["num_attention_heads"]),
            "inner": int(config["intermediate_size"]),
            "tokens": int(config.get("vocab_size", 49408)),
            "positions": int(config.get("max_position_embeddings", 77)),
            "activation": "gelu" if config.get("hidden_act") == "gelu" else "quick_gelu",
        }
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedFile(f"{layout.label}: {component}/config.json is not one of a CLIP text encoder") from error
    if f"{component}.text_projection.weight" in layout.tensors:
        sizes["projection"] = layout.shape(f"{component}.text_projection.weight")[0]
    return TextShape(prefix=f"{component}.", kind="clip", sizes=sizes)
