"""Filling modules from safetensors files, offline: a module without weights first, then each tensor in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from easel.errors import ModelError, RefusedFile
from easel.models.families.family import LDM_VAE, Part, vae_part
from easel.models.layout import Layout, TensorSpec, read_layout

if TYPE_CHECKING:
    from easel.models.placement import Placement


def load_vae(path: Path, placement: Placement) -> nn.Module:
    """Load a separate autoencoder: a file with LDM names (with or without a checkpoint's prefix), or diffusers'."""
    layout = read_layout(path)
    prefix = LDM_VAE if any(name.startswith(LDM_VAE) for name in layout.tensors) else ""
    return load_part(vae_part(layout, prefix), layout, placement.device, placement.vae_dtype)


def load_part(part: Part, layout: Layout, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Build one module and fill it, channels last; ModelError names tensors that are missing or do not fit."""
    try:
        with torch.device("meta"):
            module = part.build()
    except Exception as error:  # whatever diffusers says to a configuration that makes no sense
        raise ModelError(f"{layout.label}: a model of a form Easel does not know ({error})") from error
    wanted = module.state_dict()
    if missing := [name for name in wanted if name not in part.sources]:
        raise ModelError(f"{layout.label}: {len(missing)} tensors are missing, for example {missing[0]!r}")
    state: dict[str, Tensor] = {}
    sources = {name: source for name, source in part.sources.items() if name in wanted}
    for name, tensor in _read_tensors(layout, sources):
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
            raise ModelError(f"{layout.label}: tensor {sources[name][0]!r} has the shape {shapes}")
        # always a copy: a file that is replaced on disk must not change a model that is in use
        order = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
        state[name] = tensor.to(device, dtype, memory_format=order, copy=True)
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def read_file(path: Path) -> dict[str, Tensor]:
    """All tensors of one safetensors file as they are stored (adapters, embeddings); RefusedFile as `read_layout`."""
    layout = read_layout(path)
    return dict(_read_tensors(layout, {name: (name, "") for name in layout.tensors}))


def _read_tensors(layout: Layout, sources: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, Tensor]]:
    """(target, tensor) one after the other, in the files' order of names; each file is opened once."""
    with ExitStack() as stack:
        files: dict[Path, Any] = {}
        for target, (source, how) in sources.items():
            spec = layout.tensors[source]
            if spec.file not in files:
                files[spec.file] = stack.enter_context(_open(spec))
            yield target, _taken(files[spec.file].get_tensor(spec.name), how)


def _open(spec: TensorSpec) -> Any:
    try:
        return safe_open(spec.file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RefusedFile(f"{spec.file.name}: the weights cannot be read ({type(error).__name__})") from error


def _taken(tensor: Tensor, how: str) -> Tensor:
    """A tensor as its module wants it: a third of the rows (q, k, v), transposed (t), a 1x1 convolution as a matrix."""
    if how in ("q", "k", "v"):
        return tensor.chunk(3)["qkv".index(how)]
    if how == "t":
        return tensor.T
    return tensor.flatten(1) if how == "1x1" else tensor
