"""Hypernetworks: small networks that change what the denoiser's attention layers read their keys and values from.

A file is safetensors with tensors `{width}.{k|v}.linear.{N}.{weight|bias}`, where `width` is that of the states they
take (the text's for cross-attention, a block's own for self-attention), N counts as in A1111's module, matrices are
linear layers and vectors layer norms. The metadata entry `hypernetwork` is a JSON object: `activation_func` and
`activate_output` count here, the rest tells of the training. `easel convert` makes such files of A1111's `.pt` files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from easel.errors import ModelError
from easel.models.layout import read_layout
from easel.models.weights import read_file

METADATA = "hypernetwork"
TENSOR = re.compile(r"([1-9]\d{0,5})\.([kv])\.linear\.(\d{1,4})\.(weight|bias)")

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: Mapping[str, Activation] = {
    "linear": lambda x: x,
    "swish": F.hardswish,  # so in A1111
    "leakyrelu": F.leaky_relu,
    **{
        word.replace("_", ""): getattr(F, word)
        for word in (
            "relu", "relu6", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "tanh", "hardtanh",
            "tanhshrink", "sigmoid", "hardsigmoid", "logsigmoid", "softplus", "softsign", "hardshrink", "softshrink",
        )
    },
}  # fmt: skip
"""A1111's names. Those of its list that need weights or mix positions are left out."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The network for the keys, or for the values, of one width. `layers`: (weight, bias) in order."""

    layers: Sequence[tuple[Tensor, Tensor]]
    activation: Activation
    activate_output: bool

    def to(self, like: Tensor) -> Branch:
        """The branch on the device and in the number type of `like`."""
        return replace(self, layers=[(weight.to(like), bias.to(like)) for weight, bias in self.layers])

    def __call__(self, x: Tensor) -> Tensor:
        """(N, T, width) → (N, T, width)."""
        last = max(number for number, (weight, _) in enumerate(self.layers) if weight.dim() == 2)
        for number, (weight, bias) in enumerate(self.layers):
            if weight.dim() == 1:
                x = F.layer_norm(x, weight.shape, weight, bias)
                continue
            x = F.linear(x, weight, bias)
            if number != last or self.activate_output:
                x = self.activation(x)
        return x


Branches = Mapping[tuple[int, str], Branch]  # by width, and "k" for keys or "v" for values
Inputs = Mapping[tuple[int, str], Sequence[nn.Module]]


def attention_inputs(unet: nn.Module) -> Inputs:
    """The layers that make keys and values in a denoiser's attention, by the width of what they read."""
    found: dict[tuple[int, str], list[nn.Module]] = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear) and name.endswith((".to_k", ".to_v")):
            found.setdefault((layer.in_features, name[-1]), []).append(layer)
    return found


def read_hypernetwork(path: Path, label: str) -> Branches:
    """The branches of a file, both for each width.

    Errors: RefusedFile for what is no safetensors file, ModelError for what is no hypernetwork that is known here.
    """
    told = _told(label, read_layout(path).metadata.get(METADATA, "{}"))
    name = str(told.get("activation_func") or "linear").lower()
    if name not in ACTIVATIONS:
        raise ModelError(
            f"{label}: activation function {name[:100]!r} is not known; known are {', '.join(ACTIVATIONS)}"
        )
    layers: dict[tuple[int, str], dict[int, dict[str, Tensor]]] = {}
    for spelled, tensor in read_file(path).items():
        found = TENSOR.fullmatch(spelled)
        if found is None:
            raise ModelError(f"{label}: tensor {spelled[:100]!r} belongs to no hypernetwork")
        layers.setdefault((int(found[1]), found[2]), {}).setdefault(int(found[3]), {})[found[4]] = tensor
    form = ACTIVATIONS[name], bool(told.get("activate_output", True))
    for width, side in layers:
        if (width, "v" if side == "k" else "k") not in layers:
            raise ModelError(f"{label}: width {width} has only one of keys and values")
    return {key: Branch(_in_order(f"{label}: {key[0]}.{key[1]}", key[0], own), *form) for key, own in layers.items()}


def _told(label: str, text: str) -> Mapping[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ModelError(f"{label}: the metadata entry {METADATA!r} is no JSON object")
    return told


def _in_order(label: str, width: int, layers: Mapping[int, Mapping[str, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """The layers, if each takes what the one before gives, from `width` to `width`."""
    now, ordered = width, []
    for number, layer in sorted(layers.items()):
        weight, bias = layer.get("weight"), layer.get("bias")
        if weight is None or bias is None:
            raise ModelError(f"{label}: layer {number} lacks its weight or bias")
        if weight.dim() not in (1, 2) or weight.shape[-1] != now or bias.shape != weight.shape[:1]:
            raise ModelError(f"{label}: layer {number} has the shape {tuple(weight.shape)} where {now} values come in")
        now = weight.shape[0]
        ordered.append((weight, bias))
    if now != width or all(weight.dim() == 1 for weight, _ in ordered):
        raise ModelError(f"{label}: the layers do not lead from {width} values to {width}")
    return ordered


def install(branches: Branches, strength: float, inputs: Inputs) -> list[RemovableHandle]:
    """Let the layers of each branch's width read `x + branch(x) * strength`, after what is installed already.

    Each handle's `remove` takes it out of one layer again.
    """
    handles = []
    for key, branch in branches.items():
        layers = inputs.get(key, ())
        placed = branch.to(next(layers[0].parameters())) if layers else branch
        handles += [layer.register_forward_pre_hook(partial(_changed, placed, strength)) for layer in layers]
    return handles


def _changed(branch: Branch, strength: float, layer: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    return (given[0] + branch(given[0]) * strength,)
