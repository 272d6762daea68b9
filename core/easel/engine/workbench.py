"""The models the engine has at hand: loading them, switching weights, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from easel.errors import ModelError
from easel.models.controlnet import load_controlnet
from easel.models.embeddings import load_embeddings
from easel.models.families import read_checkpoint
from easel.models.layout import read_layout, read_net
from easel.models.loading import load_checkpoint
from easel.models.placement import finish

if TYPE_CHECKING:
    import torch

    from easel.engine.weights import Weights
    from easel.models.cache import ModelCache
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.models.controlnet import ControlNet
    from easel.models.families.family import Blueprint, Family
    from easel.models.layout import Layout
    from easel.models.placement import Placement
    from easel.models.store import CheckpointInfo, ModelFile, ModelStore

T = TypeVar("T")
QUANTUM = 10.0  # the engine stays with weights for this many times what switching to them took


class Described(NamedTuple):
    """What a checkpoint's header says."""

    family: Family
    blueprint: Blueprint
    bytes: int  # about what it takes in memory


class Bench:
    """Belongs to the engine's thread, but for `look_up` and `describe`, which any thread may call."""

    def __init__(self, store: ModelStore, cache: ModelCache, placement: Placement) -> None:
        self._store = store
        self._cache = cache
        self.placement = placement
        self._infos: dict[str, CheckpointInfo] = {}
        self._sizes: dict[Path, int] = {}
        self._described: dict[tuple[Path, int], Described] = {}
        self._embeddings: dict[Path, tuple[ModelFile, ...]] = {}  # those a loaded checkpoint was given
        self.weights: Weights | None = None  # those in use
        self.stay_until = 0.0  # perf_counter
        self.seconds = 0.0  # spent on loading and switching so far
        self.switches = 0

    @property
    def device(self) -> torch.device:
        """Where the models compute."""
        return self.placement.device

    def clear(self) -> None:
        """Drop every model."""
        self._embeddings.clear()
        self.weights = None
        self._cache.drop()

    def foreign(self, key: Hashable, load: Callable[[str], T], size: int) -> T:
        """A model that is not ours (an extension's), kept with ours."""
        return self._cache.get(("extension", key), lambda: load(str(self.placement.device)), size)

    def look_up(self, checkpoint: str) -> CheckpointInfo:
        """The file behind a checkpoint's name; UnknownName, RefusedFile, ModelError."""
        info = self._store.checkpoint(checkpoint)
        self._sizes[info.path] = self.describe(info).bytes
        self._infos[checkpoint] = self._infos[str(info.path)] = info
        return info

    def file_of(self, checkpoint: str) -> str:
        """The path of a checkpoint's file, looked at anew; what was read before may be gone. Errors as `look_up`."""
        try:
            return str(self.look_up(checkpoint).path)
        except ModelError:
            path = str(self._store.checkpoint(checkpoint).path)
            if path not in self._infos:
                raise
            return path

    def describe(self, info: CheckpointInfo) -> Described:
        """What a checkpoint is, from its header alone; RefusedFile, ModelError."""
        try:
            key = (info.path, info.path.stat().st_mtime_ns)
            if key not in self._described:
                layout = read_layout(info.path)
                self._described[key] = Described(*read_checkpoint(layout), self._bytes(layout))
            return self._described[key]
        except OSError as error:
            raise ModelError(f"{info.filename}: the file cannot be read any more") from error

    def checkpoint(self, name: str, *, vae: str | None = None, tiling: bool = False) -> LoadedCheckpoint:
        """A loaded checkpoint whatever its adapters; with `vae` named, that autoencoder stands in it."""
        start = perf_counter()
        info = self._infos.get(name) or self.look_up(name)
        model = self._cache.get(("checkpoint", info.path), lambda: self._load(info), self._sizes[info.path])
        if vae is not None:
            file = self._store.vae(vae, info)
            model.set_vae(None if file is None else file.path)
        model.set_tiling(tiling)
        self.seconds += perf_counter() - start
        return model

    def use(self, weights: Weights) -> LoadedCheckpoint:
        """The checkpoint with exactly these weights.

        A switch that would cost the same again sets `stay_until`. Loading only counts when there was no room to keep
        what was in use before: else it is paid once, and going to and fro is cheap.
        """
        start = perf_counter()
        model = self.checkpoint(weights.checkpoint, tiling=weights.tiling)
        ready = perf_counter()
        model.adapters.use(weights.adapters)
        now = perf_counter()
        self.seconds += now - ready
        if weights != self.weights:
            self.stay_until = now + QUANTUM * (now - (ready if self._is_kept(self.weights) else start))
            self.weights = weights
            self.switches += 1
        return model

    def controlnet(self, path: Path) -> ControlNet:
        """A loaded ControlNet; RefusedFile, ModelError."""
        start = perf_counter()
        if path not in self._sizes:
            self._sizes[path] = self._size(path)
        net = self._cache.get(("controlnet", path), lambda: load_controlnet(path, self.placement), self._sizes[path])
        self.seconds += perf_counter() - start
        return net

    def _size(self, path: Path) -> int:
        """About what a file of weights takes in memory; 0 when it cannot be read, which loading it will tell."""
        try:
            return self._bytes(read_net(path))
        except (ModelError, OSError):
            return 0

    def _bytes(self, layout: Layout) -> int:
        return sum(prod(spec.shape) for spec in layout.tensors.values()) * self.placement.dtype.itemsize

    def finish(self) -> None:
        """Wait for the device; raises what went wrong on it meanwhile."""
        finish(self.placement.device)

    def give_embeddings(self, model: LoadedCheckpoint) -> tuple[ModelFile, ...]:
        """Let prompts name the textual inversions that are on disk by now; they are returned."""
        files = self._store.files("embedding")
        if self._embeddings.get(model.info.path) != files:
            model.texts.use_embeddings(load_embeddings(files, model.texts.widths)[0])
            self._embeddings[model.info.path] = files
        return files

    def embedding_files(self, names: Iterable[str]) -> dict[str, ModelFile]:
        """The files of textual inversions, by name."""
        files = {file.name.rpartition("/")[2]: file for file in reversed(self._store.files("embedding"))}
        return {name: files[name] for name in names if name in files}

    def embedding_hashes(self, names: Iterable[str]) -> dict[str, str]:
        """The first 12 digits of the hashes of textual inversions, by name; empty without hashing."""
        hashes = {name: self._store.hash(file).sha256 for name, file in self.embedding_files(names).items()}
        return {name: whole[:12] for name, whole in hashes.items() if whole}

    def _is_kept(self, weights: Weights | None) -> bool:
        if weights is None:
            return True  # nothing was in use yet
        info, kept = self._infos.get(weights.checkpoint), self._cache.keys()
        return info is not None and ("checkpoint", info.path) in kept

    def _load(self, info: CheckpointInfo) -> LoadedCheckpoint:
        self._embeddings.pop(info.path, None)
        try:
            return load_checkpoint(info, self.placement)
        except OSError as error:
            raise ModelError(f"{info.filename}: the file cannot be read any more") from error
