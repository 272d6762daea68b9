"""Adapters: LoRA-like files, merged into the weights in place and taken out again to the bit; hypernetworks beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from easel.errors import ModelError
from easel.models.families.family import rename
from easel.models.hypernetworks import Branches, Inputs, install, read_hypernetwork
from easel.models.weight_changes import WeightChange, split_layers
from easel.models.weights import read_file
from easel.values.prompt import Adapter

GPU_ROOM = 8 * 2**30  # bytes that stay free for computing when kept weights take a GPU's memory
UNET_PREFIXES = ("lora_unet_", "unet_", "diffusion_model_", "")
TEXT_PREFIXES = (("lora_te_", "lora_te1_", "text_encoder_"), ("lora_te2_", "text_encoder_2_"))


@dataclass(slots=True)
class Adapters:
    """The adapters in one checkpoint's weights.

    `layers`: every spelling of a layer's name → (layer, is text); `inputs`: where hypernetworks have a place.
    """

    layers: Mapping[str, tuple[nn.Module, bool]]
    inputs: Inputs = field(default_factory=dict)
    active: tuple[Adapter, ...] = ()
    unmatched: tuple[str, ...] = ()
    _originals: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # (the weight in use, its kept value)
    _hooks: list[RemovableHandle] = field(default_factory=list)

    @torch.inference_mode()
    def use(self, adapters: tuple[Adapter, ...]) -> tuple[str, ...]:
        """Make exactly `adapters` active; what in their files has no place in this checkpoint, by name.

        Raises RefusedFile for unreadable files and ModelError for those that do not fit the checkpoint at all; the
        weights are then as without adapters.
        """
        if adapters == self.active:
            return self.unmatched
        self._restore()
        changes: dict[nn.Module, list[tuple[WeightChange, float, int | None]]] = {}
        networks: list[tuple[Branches, float]] = []
        unmatched: list[str] = []
        for adapter in adapters:
            if adapter.kind == "hypernetwork":
                unmatched += self._collect_network(adapter, networks)
            else:
                unmatched += self._collect(adapter, changes)
        try:
            for branches, strength in networks:
                self._hooks += install(branches, strength, self.inputs)
            for layer, wanted in changes.items():
                self._change(layer, wanted)
        except RuntimeError as error:  # sizes that do not multiply
            self._restore()
            names = ", ".join(repr(adapter.name) for adapter in adapters)
            raise ModelError(f"{names}: made for another kind of model ({error})") from error
        self.active, self.unmatched = adapters, tuple(unmatched)
        return self.unmatched

    def _collect(
        self, adapter: Adapter, changes: dict[nn.Module, list[tuple[WeightChange, float, int | None]]]
    ) -> list[str]:
        """Read one file and note what it does to which layer; returns the layers this checkpoint lacks."""
        found = split_layers(read_file(Path(adapter.file)), adapter.name)
        unmatched = []
        for name, change in found.items():
            target = self.layers.get(_flat(name))
            if target is None:
                unmatched.append(f"{adapter.name}: {name}")
                continue
            layer, is_text = target
            strength = adapter.text_weight if is_text else adapter.unet_weight
            if strength:
                changes.setdefault(layer, []).append((change, strength, adapter.dyn_dim))
        if len(unmatched) == len(found):
            raise ModelError(f"{adapter.name}: made for another kind of model; it has none of this checkpoint's layers")
        return unmatched

    def _collect_network(self, adapter: Adapter, networks: list[tuple[Branches, float]]) -> list[str]:
        """Read one hypernetwork; returns its widths that no layer of this checkpoint has."""
        branches = read_hypernetwork(Path(adapter.file), adapter.name)
        missing = sorted({width for width, side in branches if (width, side) not in self.inputs})
        if len(missing) == len({width for width, _ in branches}):
            fitting = ", ".join(str(width) for width in sorted({width for width, _ in self.inputs}))
            widths = ", ".join(map(str, missing)) or "none"
            made_for = f"it is for widths {widths}, this checkpoint has {fitting}"
            raise ModelError(f"{adapter.name}: made for another kind of model; {made_for}")
        if adapter.unet_weight:
            networks.append((branches, adapter.unet_weight))
        return [f"{adapter.name}: width {width}" for width in missing]

    def _change(self, layer: nn.Module, wanted: Sequence[tuple[WeightChange, float, int | None]]) -> None:
        """One after the other in float32, written back once."""
        weight = layer.weight
        assert isinstance(weight, Tensor)
        changed = weight.float()
        for change, strength, dyn_dim in wanted:
            changed = change.to(weight.device).apply(changed, strength, dyn_dim)
        self._replace(weight, changed)
        for_bias = [(change, strength) for change, strength, _ in wanted if change.changes_bias]
        if for_bias:
            if not isinstance(layer.bias, Tensor):
                raise RuntimeError("a change for a bias that the layer does not have")
            changed = layer.bias.float()
            for change, strength in for_bias:
                changed = change.to(weight.device).apply_to_bias(changed, strength)
            self._replace(layer.bias, changed)

    def _replace(self, weight: Tensor, value: Tensor) -> None:
        self._originals.append((weight, _compact(weight)))
        weight.copy_(value)

    def _restore(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        with torch.inference_mode():
            for weight, original in self._originals:
                weight.copy_(original)
        self._originals.clear()
        self.active, self.unmatched = (), ()


def layer_names(
    unet: nn.Module, texts: Sequence[nn.Module], unet_names: Mapping[str, str]
) -> dict[str, tuple[nn.Module, bool]]:
    """Every spelling under which LoRA files name the layers of a checkpoint; dots and underscores are the same."""
    table: dict[str, tuple[nn.Module, bool]] = {}
    to_ldm = {new: old for old, new in unet_names.items()}
    for name, layer in _weighted(unet):
        spellings = [name]
        if old := rename(f"{name}.weight", to_ldm):
            spellings.append(old.removesuffix(".weight"))
        for spelling in spellings:
            for prefix in UNET_PREFIXES:
                table[_flat(prefix + spelling)] = (layer, False)
    for text, prefixes in zip(texts, TEXT_PREFIXES, strict=False):
        for name, layer in _weighted(text):
            for prefix in prefixes:
                table[_flat(prefix + name)] = table[_flat(f"{prefix}text_model_{name}")] = (layer, True)
    return table


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, layer) for name, layer in module.named_modules() if isinstance(getattr(layer, "weight", None), Tensor)
    ]


def _flat(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".", "_")


def _compact(weight: Tensor) -> Tensor:
    """A copy; in half precision where that loses nothing, as for weights that came from a half-precision file.

    Of a GPU's weights it lies in main memory, unless the GPU has plenty of its own.
    """
    if weight.is_cuda and torch.cuda.mem_get_info(weight.device)[0] < GPU_ROOM:
        return weight.cpu()
    if weight.dtype == torch.float32:
        half = weight.half()
        if torch.equal(half.float(), weight):
            return half
    return weight.clone()
