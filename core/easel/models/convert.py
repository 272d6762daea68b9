"""Rewriting a pickled weights file as safetensors: `python -m easel.models.convert IN OUT`, in a process of its own.

torch's allow-list unpickler builds tensors and plain containers only and refuses everything else by name; on top of
that the process gives up its network where the system lets it.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from easel.errors import EaselError, RefusedFile
from easel.models.hypernetworks import METADATA as HYPERNETWORK
from easel.models.layout import PICKLES

WRAPPERS = ("state_dict", "params_ema", "params")  # an averaged network before the plain one, as its authors use it
DEEPEST = 3  # wrappings: a pickle may hold itself
TOLD = (
    "name", "step", "sd_checkpoint", "sd_checkpoint_name", "layer_structure", "activation_func", "activate_output",
    "is_layer_norm", "use_dropout", "last_layer_dropout", "dropout_structure", "weight_initialization",
)  # fmt: skip
"""What an A1111 hypernetwork tells of itself."""
OLD_LAYERS = {"linear1": "linear.0", "linear2": "linear.1"}
NEW_USER_AND_NETWORK = 0x10000000 | 0x40000000  # CLONE_NEWUSER | CLONE_NEWNET


def convert(source: Path, target: Path) -> int:
    """Rewrite `source` as `target` (safetensors, never overwritten); returns the number of tensors.

    RefusedFile for a file that holds anything but tensors and plain containers, or no tensors at all.
    """
    if source.suffix.lower() not in PICKLES:
        raise RefusedFile(f"{source.name}: only {', '.join(PICKLES)} files need converting")
    if target.suffix != ".safetensors" or target.exists():
        raise RefusedFile(f"{target.name}: choose a new name that ends in .safetensors")
    loaded = _load(source)
    tensors, metadata = _hypernetwork(loaded) or (dict(_tensors(loaded)), {})
    if not tensors:
        raise RefusedFile(f"{source.name}: there are no tensors in it")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata={"format": "pt", **metadata})
        os.link(temporary, target)  # fails where the target has appeared meanwhile
    finally:
        Path(temporary).unlink()
    return len(tensors)


def leave_network() -> bool:
    """Move this process to a network of its own, without any connection; False where the system does not let it."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None) if sys.platform == "linux" else None
    return unshare is not None and unshare(NEW_USER_AND_NETWORK) == 0


def _load(source: Path) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[2].strip().splitlines() or [str(error)]
        found = next((line for line in reason if "GLOBAL" in line or "Unsupported" in line), reason[0])
        raise RefusedFile(f"{source.name}: refused, it holds more than tensors: {found.strip()[:300]}") from error
    except Exception as error:  # a damaged pickle makes the unpickler stumble in any way it can
        raise RefusedFile(f"{source.name}: not a readable PyTorch file ({type(error).__name__})") from error


def _tensors(loaded: Any) -> Iterator[tuple[str, Tensor]]:
    """The named tensors, from below what wraps them; an A1111 embedding's vectors as `emb_params`; nothing else."""
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        yield from (("emb_params", tensor.detach().clone()) for tensor in list(loaded["string_to_param"].values())[:1])
        return
    for _ in range(DEEPEST):
        loaded = _unwrapped(loaded)
    if isinstance(loaded, Mapping):
        for name, value in loaded.items():
            if isinstance(value, Tensor):
                yield str(name), _copy(value)


def _unwrapped(loaded: Any) -> Any:
    """What lies one level deeper, if something wraps the tensors."""
    inner = (loaded.get(word) for word in WRAPPERS) if isinstance(loaded, Mapping) else ()
    return next((one for one in inner if isinstance(one, Mapping)), loaded)


def _hypernetwork(loaded: Any) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of A1111's hypernetwork: pairs of state dicts (keys, values) by width; None: it is none."""
    if not isinstance(loaded, Mapping):
        return None
    tensors = {}
    for width, pair in loaded.items():
        if not (isinstance(width, int) and isinstance(pair, tuple | list) and len(pair) == 2):
            continue
        for side, state in zip("kv", pair, strict=True):
            for name, tensor in state.items() if isinstance(state, Mapping) else ():
                if isinstance(tensor, Tensor):
                    layer, _, leaf = str(name).rpartition(".")
                    tensors[f"{width}.{side}.{OLD_LAYERS.get(layer, layer)}.{leaf}"] = _copy(tensor)
    told = {key: loaded[key] for key in TOLD if _is_plain(loaded.get(key))}
    return (tensors, {HYPERNETWORK: json.dumps(told)}) if tensors else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 100 and all(isinstance(one, int | float) for one in value)
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 1000)


def _copy(tensor: Tensor) -> Tensor:
    """Of its own: safetensors refuses tensors that share memory."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def main(arguments: list[str]) -> int:
    """Exit code 0 when the file is written, 1 when it is refused (the reason on stderr), 2 for wrong arguments."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m easel.models.convert IN OUT\n")
        return 2
    source, target = map(Path, arguments)
    leave_network()
    try:
        count = convert(source, target)
    except (EaselError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{target.name}: {count} tensors\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
