"""What a weights file holds, read from its header alone: names, types and shapes of tensors. No torch here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from easel.errors import RefusedFile

MAX_HEADER = 16 * 2**20  # bytes; the largest SDXL checkpoints need 0.4 MB
MAX_CONFIG = 2**20
MAX_LAYERS = 128  # a configuration that names more would keep us building for ever
TYPE_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor: where it is, its safetensors type name and shape."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """The tensors of one file by name, or of a diffusers folder read as one with names `unet.…`, `vae.…`.

    `configs` holds the folder's `config.json` by component, and `model_index.json`, scheduler and card by their
    names; it is empty for a single file. `yaml` is the text of the `.yaml` beside a single file.
    """

    label: str  # the file's own name, for messages
    tensors: Mapping[str, TensorSpec]
    metadata: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    yaml: str = ""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; RefusedFile when the file does not have it."""
        if name not in self.tensors:
            raise RefusedFile(f"{self.label}: tensor {name!r} is missing")
        return self.tensors[name].shape

    def below(self, prefix: str) -> Layout:
        """The tensors whose names begin with `prefix`, without it."""
        chosen = {name[len(prefix) :]: spec for name, spec in self.tensors.items() if name.startswith(prefix)}
        return Layout(self.label, chosen, self.metadata, self.configs, self.yaml)

    @cached_property
    def own_config(self) -> Mapping[str, Any]:
        """The diffusers configuration that a single file carries in its metadata (`config`); empty without one."""
        text = self.metadata.get("config")
        return {} if text is None else _bounded_config(_parse_object(text.encode(), self.label), self.label)

    @cached_property
    def bytes(self) -> int:
        """Size of the tensors as stored."""
        return sum(prod(spec.shape) * TYPE_BYTES[spec.dtype] for spec in self.tensors.values())


def read_layout(path: Path) -> Layout:
    """Read the header of a safetensors file or the headers of a diffusers folder; RefusedFile says what is wrong."""
    return _read_folder(path) if path.is_dir() else _read_single(path)


def is_diffusers_folder(path: Path) -> bool:
    """A folder with a denoiser and its configuration."""
    return path.is_dir() and (path / "unet" / "config.json").is_file()


def pickle_reason(name: str) -> str:
    """Why a pickle is refused and what to do."""
    return f"{name}: pickled weights can run code and are refused; rewrite the file with `easel convert {name}`"


def _read_single(path: Path) -> Layout:
    entries, metadata = _read_header(path)
    tensors = {name: TensorSpec(path, name, dtype, shape) for name, dtype, shape in entries}
    sidecar = path.with_suffix(".yaml")
    yaml = _bounded(sidecar, MAX_CONFIG).decode("utf-8", "replace") if sidecar.is_file() else ""
    return Layout(path.name, tensors, metadata, yaml=yaml)


def _read_folder(path: Path) -> Layout:
    tensors: dict[str, TensorSpec] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    for component in COMPONENTS:
        folder = path / component
        if not (folder / "config.json").is_file():
            continue
        configs[component] = _bounded_config(_read_json(folder / "config.json"), f"{component}/config.json")
        for file in _weights_of(folder):
            for name, dtype, shape in _read_header(file)[0]:
                tensors[f"{component}.{name}"] = TensorSpec(file, name, dtype, shape)
    for label, file in {
        "model_index": path / "model_index.json",
        "scheduler": path / "scheduler" / "scheduler_config.json",
        "card": path / "card.json",
    }.items():
        if file.is_file():
            configs[label] = _read_json(file)
    return Layout(path.name, tensors, configs=configs)


def is_net_folder(path: Path) -> bool:
    """One network as diffusers saves it: a configuration and weights."""
    return (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def read_net(path: Path) -> Layout:
    """The layout of a network's file, or of its diffusers folder with the configuration as `configs["net"]`.

    Errors: RefusedFile.
    """
    if not path.is_dir():
        return read_layout(path)
    (file, *_) = _weights_of(path)
    return replace(read_layout(file), label=path.name, configs={"net": _read_json(path / "config.json")})


def _weights_of(folder: Path) -> list[Path]:
    """The safetensors of one component: all shards, and of several variants (fp16 …) the plain one."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if pickles := sorted(file for suffix in PICKLES for file in folder.glob(f"*{suffix}")):
            raise RefusedFile(pickle_reason(f"{folder.name}/{pickles[0].name}"))
        raise RefusedFile(f"{folder.parent.name}: no safetensors weights in {folder.name}/")
    plain = [file for file in files if "." not in file.stem]
    return plain or files


def _read_header(path: Path) -> tuple[list[tuple[str, str, tuple[int, ...]]], Mapping[str, str]]:
    """(name, type, shape) of each tensor, and the metadata; checks that every tensor lies inside the file."""
    if path.suffix.lower() in PICKLES:
        raise RefusedFile(pickle_reason(path.name))
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(MAX_HEADER, size - 8):
            raise RefusedFile(f"{path.name}: not a safetensors file, or cut off{_looks_like(start)}")
        header = _parse_object(file.read(length), path.name)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise RefusedFile(f"{path.name}: the safetensors metadata is not a mapping")
    entries = list(_entries(header, path.name, size - 8 - length))
    return entries, {str(key): str(value) for key, value in metadata.items()}


def _entries(header: Mapping[str, Any], label: str, room: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for name, entry in header.items():
        try:
            dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
            begin, end = (int(offset) for offset in entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedFile(f"{label}: damaged safetensors entry {name[:80]!r}") from error
        if dtype not in TYPE_BYTES:
            raise RefusedFile(f"{label}: tensor {name[:80]!r} has the unknown type {dtype[:20]!r}")
        if min(shape, default=0) < 0 or begin < 0 or end - begin != prod(shape) * TYPE_BYTES[dtype]:
            raise RefusedFile(f"{label}: tensor {name[:80]!r} has a size that does not fit its shape")
        if end > room:
            raise RefusedFile(f"{label}: the file is cut off (tensor {name[:80]!r} ends {end - room} bytes beyond it)")
        yield name, dtype, shape


def _looks_like(start: bytes) -> str:
    if start[:1] == b"<":
        return " (it looks like a web page: was the download refused?)"
    return " (it looks like a pickle: see `easel convert`)" if start[:2] in (b"PK", b"\x80\x02") else ""


def _read_json(path: Path) -> Mapping[str, Any]:
    return _parse_object(_bounded(path, MAX_CONFIG), f"{path.parent.name}/{path.name}")


def _bounded_config(config: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """`config`, unless it asks for more layers or levels than any model has."""
    for key, value in config.items():
        values = value if isinstance(value, list) else [value]
        many = "layers" in key and any(isinstance(count, int) and count > MAX_LAYERS for count in values)
        if many or len(values) > MAX_LAYERS:
            raise RefusedFile(f"{label}: {key!r} asks for more than {MAX_LAYERS} layers")
    return config


def _parse_object(text: bytes, label: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedFile(f"{label}: the header or configuration is not JSON") from error
    if not isinstance(value, dict):
        raise RefusedFile(f"{label}: the header or configuration is not a JSON object")
    return value


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RefusedFile(f"{path.name}: larger than {limit} bytes")
    return data
