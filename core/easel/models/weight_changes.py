"""The tensors of a LoRA-like file for one layer, and the weight change they stand for.

LoRA (arXiv:2106.09685), LoHa (arXiv:2108.06098), LoKr (arXiv:2309.14859), DoRA (arXiv:2402.09353), plain differences.
All arithmetic in float32. Leaf names are those of kohya's and LyCORIS' files; others are brought to them first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from easel.errors import ModelError

LEAF = re.compile(
    r"\.(lora_(?:down|up|mid)\.weight|lora_[AB](?:\.default)?\.weight|lora\.(?:down|up)\.weight"
    r"|lora_linear_layer\.(?:down|up)\.weight|lora_magnitude_vector(?:\.default)?(?:\.weight)?"
    r"|alpha|dora_scale|scale|hada_[wt][12](?:_[ab])?|lokr_[wt][12](?:_[ab])?|diff|diff_b|w_norm|b_norm"
    r"|oft_\w+|a[12]\.weight|b[12]\.weight|on_input|reshape_weight|bias_\w+)$"
)
OLD_DIFFUSERS = re.compile(r"\.processor\.(to_\w+?)_lora\.(down|up)\.weight$")
SPELLINGS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_A.default.weight": "lora_down.weight",
    "lora_B.default.weight": "lora_up.weight",
    "lora.down.weight": "lora_down.weight",
    "lora.up.weight": "lora_up.weight",
    "lora_linear_layer.down.weight": "lora_down.weight",
    "lora_linear_layer.up.weight": "lora_up.weight",
    "w_norm": "diff",
    "b_norm": "diff_b",
    "lora_magnitude_vector": "dora_scale",
    "lora_magnitude_vector.weight": "dora_scale",
    "lora_magnitude_vector.default.weight": "dora_scale",
}
ALWAYS = {"alpha", "scale", "dora_scale", "diff_b"}
FORMS: tuple[frozenset[str], ...] = (
    frozenset({"lora_up.weight", "lora_down.weight", "lora_mid.weight"}),
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}),
    frozenset({"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}),
    frozenset({"diff"}),
    frozenset(),
)


@dataclass(frozen=True, slots=True)
class WeightChange:
    """What one file does to one layer."""

    tensors: Mapping[str, Tensor]

    def to(self, device: torch.device) -> WeightChange:
        """The change on `device`."""
        return WeightChange({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def apply(self, weight: Tensor, strength: float, dyn_dim: int | None) -> Tensor:
        """`weight` (float32) with the change of its own shape added; `dyn_dim` keeps only the first ranks of a LoRA."""
        delta = self._delta(weight.shape, dyn_dim)
        if delta is None:
            return weight
        if (magnitude := self.tensors.get("dora_scale")) is not None:
            delta = _decomposed(weight, delta, magnitude.float())
        return weight + delta * strength

    def apply_to_bias(self, bias: Tensor, strength: float) -> Tensor:
        """The same for the bias."""
        return bias + self.tensors["diff_b"].float().reshape(bias.shape) * strength

    @property
    def changes_bias(self) -> bool:
        """There is something for the bias."""
        return "diff_b" in self.tensors

    def _delta(self, shape: torch.Size, dyn_dim: int | None) -> Tensor | None:
        """The change of the weight at strength 1, in its shape; RuntimeError when the sizes do not fit."""
        own = {name: tensor.float() for name, tensor in self.tensors.items()}
        rank: int | None = None
        if "lora_up.weight" in own:
            delta, rank = _lora(own, dyn_dim)
        elif "hada_w1_a" in own:
            delta, rank = _hadamard(own)
        elif any(name.startswith("lokr_") for name in own):
            delta, rank = _kronecker(own)
        elif "diff" in own:
            delta = own["diff"]
        else:
            return None
        if "scale" in own:
            delta = delta * own["scale"].item()
        elif "alpha" in own and rank:
            delta = delta * (own["alpha"].item() / rank)
        return delta.reshape(shape)


def split_layers(tensors: Mapping[str, Tensor], label: str) -> dict[str, WeightChange]:
    """The changes in a file by the layer's name as the file spells it; ModelError for a form that is not known."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        plain = OLD_DIFFUSERS.sub(r".\1.lora_\2.weight", name)
        found = LEAF.search(plain)
        if found is None:
            raise ModelError(f"{label}: tensor {name[:100]!r} belongs to no LoRA format that Easel knows")
        leaf = SPELLINGS.get(found[1], found[1])
        layers.setdefault(plain[: found.start()], {})[leaf] = tensor
    for layer, leaves in layers.items():
        if not any(set(leaves) - ALWAYS <= form for form in FORMS) or not _complete(leaves):
            names = ", ".join(sorted(leaves))
            raise ModelError(f"{label}: layer {layer[:100]!r} has a form that Easel does not know ({names[:200]})")
    return {layer: WeightChange(leaves) for layer, leaves in layers.items()}


def _complete(leaves: Mapping[str, Tensor]) -> bool:
    """A product has both factors."""
    pairs = [("lora_up.weight", "lora_down.weight"), ("lokr_w1_a", "lokr_w1_b"), ("lokr_w2_a", "lokr_w2_b")]
    hada = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
    lokr = any(name.startswith("lokr_") for name in leaves)
    return (
        all((one in leaves) == (other in leaves) for one, other in pairs)
        and (not hada & set(leaves) or hada <= set(leaves))
        and ("hada_t1" in leaves) == ("hada_t2" in leaves)
        and (not lokr or any(f"lokr_w1{end}" in leaves for end in ("", "_a")))
        and (not lokr or any(f"lokr_w2{end}" in leaves for end in ("", "_a")))
    )


def _lora(own: Mapping[str, Tensor], dyn_dim: int | None) -> tuple[Tensor, int]:
    up, down = own["lora_up.weight"].flatten(1), own["lora_down.weight"]
    rank = down.shape[0]  # the scale stays that of the whole rank, as in A1111
    if (middle := own.get("lora_mid.weight")) is not None:  # (rank, rank, kernel, kernel)
        return torch.einsum("nmkl,on,mi->oikl", middle, up, down.flatten(1)), rank
    return up[:, :dyn_dim] @ down.flatten(1)[:dyn_dim], rank


def _hadamard(own: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    rank = own["hada_w1_b"].shape[0]
    first = _product(own["hada_w1_a"], own["hada_w1_b"], own.get("hada_t1"))
    return first * _product(own["hada_w2_a"], own["hada_w2_b"], own.get("hada_t2")), rank


def _kronecker(own: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
    rank = None
    factors = []
    for number in "12":
        whole = own.get(f"lokr_w{number}")
        if whole is None:
            right = own[f"lokr_w{number}_b"]
            whole = _product(own[f"lokr_w{number}_a"], right, own.get(f"lokr_t{number}"))
            rank = right.shape[0]
        factors.append(whole)
    first, second = factors
    return torch.kron(first.reshape(*first.shape, *(1,) * (second.dim() - first.dim())), second.contiguous()), rank


def _product(left: Tensor, right: Tensor, core: Tensor | None) -> Tensor:
    """left @ right; with a Tucker `core` (ranks, ranks, kernel, kernel) for convolutions, where left is transposed."""
    if core is None:
        return left @ right
    return torch.einsum("abkl,ao,bi->oikl", core, left, right)


def _decomposed(weight: Tensor, delta: Tensor, magnitude: Tensor) -> Tensor:
    """DoRA: the changed weight gets the learned length along the axes on which `magnitude` varies."""
    if magnitude.dim() == 1:
        magnitude = magnitude.reshape(-1, *(1,) * (weight.dim() - 1))
    changed = weight + delta
    axes = [axis for axis in range(weight.dim()) if magnitude.shape[axis] == 1]
    lengths: Tensor = torch.linalg.vector_norm(changed, dim=axes, keepdim=True)
    return changed * (magnitude / lengths) - weight
