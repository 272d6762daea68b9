"""What is on disk: checkpoints, VAEs, LoRAs … with their names, hashes and families. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

from easel.errors import EaselError, RefusedFile, UnknownName
from easel.models.families import read_checkpoint
from easel.models.hashes import HashCache, old_hash
from easel.models.layout import PICKLES, is_diffusers_folder, is_net_folder, pickle_reason, read_layout, read_net

Kind = Literal["checkpoint", "vae", "lora", "embedding", "controlnet", "hypernetwork", "upscaler"]
FOLDERS: Mapping[Kind, tuple[str, ...]] = {
    "checkpoint": ("models/Stable-diffusion",),
    "vae": ("models/VAE",),
    "lora": ("models/Lora", "models/LyCORIS"),
    "embedding": ("embeddings",),
    "controlnet": ("models/ControlNet",),
    "hypernetwork": ("models/hypernetworks",),
    "upscaler": ("models/ESRGAN", "models/RealESRGAN", "models/SwinIR", "models/DAT", "models/BSRGAN", "models/ScuNET"),
}
TREE = (
    *(folder for folders in FOLDERS.values() for folder in folders),
    "models/Annotators", "models/GFPGAN", "models/Codeformer", "models/BeautifulPrompt",
    "outputs", "extensions", "users",
)  # fmt: skip
OLD_HASH = re.compile(r"[0-9a-fA-F]{8}")
STARTER = Path(__file__).parent.parent / "starter"
EXTRAS = STARTER / "extras"
"""LoRAs, embeddings and VAEs made for the starter, in a tree like the data folder's."""
STARTER_CONTROLNET = "starter-canny"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of weights. `name` is its path below its root without suffix, with `/`."""

    kind: Kind
    name: str
    filename: str  # the same with its suffix
    path: Path
    sha256: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    refused_reason: str | None = None

    @property
    def short_hash(self) -> str:
        """The first 10 hex digits, "" while it is not hashed."""
        return (self.sha256 or "")[:10]

    @property
    def alias(self) -> str:
        """What the trainer called a LoRA (`ss_output_name`), else its name."""
        return self.metadata.get("ss_output_name") or self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo(ModelFile):
    """A checkpoint as A1111's `/sd-models` describes it."""

    family: str = ""  # "" for refused files
    config: Path | None = None  # the .yaml beside the file

    @property
    def title(self) -> str:
        """`sub/name.safetensors [10 hex]`; the bracket only once hashed."""
        return f"{self.filename} [{self.short_hash}]" if self.sha256 else self.filename

    @property
    def model_name(self) -> str:
        """The name with `/` as `_`."""
        return self.name.replace("/", "_")


File = TypeVar("File", bound=ModelFile)
Seen = tuple[Kind, Path, int, int]  # a file with size and time of change


class ModelStore:
    """The models of a data folder and of extra roots, read when first asked for; `refresh` reads the folders again.

    `models_dir` stands in for `data_dir/models`; `extra` adds roots by kind (`--ckpt-dir` …). With `hashing` off no
    hash is computed or shown. `hash_file` keeps hashes across starts.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        models_dir: Path | None = None,
        extra: Mapping[Kind, Sequence[Path]] | None = None,
        hashing: bool = True,
        hash_file: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.hashing = hashing
        self._roots = {
            kind: (*(self._folder(folder, models_dir) for folder in folders), *(extra or {}).get(kind, ()))
            for kind, folders in FOLDERS.items()
        }
        self._hashes = HashCache(hash_file)
        self._files: dict[Kind, tuple[ModelFile, ...]] = {}
        self._extras: dict[Kind, tuple[ModelFile, ...]] = {}
        self._seen: dict[Seen, ModelFile] = {}

    def _folder(self, folder: str, models_dir: Path | None) -> Path:
        inside = Path(folder)
        if models_dir is not None and inside.parts[0] == "models":
            return models_dir.joinpath(*inside.parts[1:])
        return self.data_dir / inside

    def make_tree(self) -> None:
        """Make the data folder's directories."""
        for folder in TREE:
            (self.data_dir / folder).mkdir(parents=True, exist_ok=True)

    def refresh(self) -> None:
        """Look at the disk again; only files that are new or changed are opened."""
        seen: dict[Seen, ModelFile] = {}
        files = {kind: tuple(self._scan(kind, self._roots[kind], seen)) for kind in FOLDERS}
        self._extras = {
            kind: tuple(self._scan(kind, [EXTRAS / folder for folder in folders], seen))
            for kind, folders in FOLDERS.items()
        }
        self._files, self._seen = files, seen

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """All checkpoints, refused ones too; the embedded starter alone while there is no usable one."""
        listed = self._listed("checkpoint")
        found = tuple(self._hashed(file) for file in listed if isinstance(file, CheckpointInfo))
        if any(info.refused_reason is None for info in found):
            return found
        return (*found, self.starter())

    def starter(self) -> CheckpointInfo:
        """The embedded starter checkpoint."""
        return CheckpointInfo(kind="checkpoint", name="starter", filename="starter", path=STARTER, family="starter")

    def starter_controlnet(self) -> ModelFile | None:
        """The embedded ControlNet of the starter checkpoint, if this version has one."""
        path = STARTER / "controlnet"
        if not is_net_folder(path):
            return None
        return ModelFile(kind="controlnet", name=STARTER_CONTROLNET, filename=STARTER_CONTROLNET, path=path)

    def default_checkpoint(self) -> CheckpointInfo:
        """What a request that names none runs on: the first usable one."""
        return next(info for info in self.checkpoints() if info.refused_reason is None)

    def files(self, kind: Kind) -> tuple[ModelFile, ...]:
        """All files of one kind, refused ones too; those made for the starter while it is among the checkpoints."""
        checkpoints = self.checkpoints()
        if kind == "checkpoint":
            return checkpoints
        files = self._listed(kind)
        if self.starter() in checkpoints:
            names = {file.filename for file in files}
            files = (*files, *(file for file in self._extras[kind] if file.filename not in names))
        own = self.starter_controlnet() if kind == "controlnet" else None
        return (*map(self._hashed, files), *((own,) if own else ()))

    def checkpoint(self, name: str) -> CheckpointInfo:
        """Find a checkpoint by title, name, file name, stem or any of its hashes.

        Raises UnknownName with what there is, RefusedFile for a file that is there but cannot be used.
        """
        listed = self.checkpoints()
        starter = self.starter()
        return _find(name, listed if starter in listed else (*listed, starter), "sd_model_checkpoint")

    def vae(self, name: str, checkpoint: CheckpointInfo) -> ModelFile | None:
        """The separate VAE a checkpoint runs with.

        "Automatic": `<stem>.vae.safetensors` beside the checkpoint or in models/VAE, or `<stem>.safetensors` there;
        "None": the checkpoint's own (the answer is None); else by file name or stem, UnknownName if there is none.
        """
        if name == "None":
            return None
        usable = [file for file in self.files("vae") if file.refused_reason is None]
        if name != "Automatic":
            return _find(name, usable, "sd_vae")
        stem = checkpoint.path.stem
        beside = checkpoint.path.with_name(f"{stem}.vae.safetensors")
        if checkpoint.path.is_file() and beside.is_file():
            return self._hashed(ModelFile(kind="vae", name=beside.stem, filename=beside.name, path=beside))
        return next((file for file in usable if file.path.stem in (f"{stem}.vae", stem)), None)

    def find(self, kind: Kind, name: str) -> ModelFile:
        """A file of `kind` by name, file name, stem, alias or hash; UnknownName, RefusedFile."""
        return _find(name, self.files(kind), kind)

    def old_hash(self, file: ModelFile) -> str:
        """A1111's first hash, 8 hex digits, which it still lists ControlNets with; "" for what is no single file."""
        return old_hash(file.path) if file.path.is_file() else ""

    def hash(self, file: File) -> File:
        """`file` with its hash, computed if need be (seconds for a large file); unchanged with hashing off."""
        if not self.hashing or file.sha256 or not file.path.is_file():
            return file
        return replace(file, sha256=self._hashes.compute(file.path))

    def digest(self, path: Path) -> str:
        """The sha256 of a file of weights, or one for a folder of them; "" with hashing off, or for what is gone."""
        if not self.hashing or not path.exists():
            return ""
        return self._hashes.compute(path) if path.is_file() else self._hashes.tree(path)

    def _hashed(self, file: File) -> File:
        if not self.hashing or not file.path.is_file():
            return file
        return replace(file, sha256=self._hashes.known(file.path))

    def _listed(self, kind: Kind) -> tuple[ModelFile, ...]:
        if not self._files:
            self.refresh()
        return self._files[kind]

    def _scan(self, kind: Kind, roots: Iterable[Path], seen: dict[Seen, ModelFile]) -> Iterator[ModelFile]:
        taken: set[str] = set()
        for root in roots:
            for path in sorted(_weights_below(root, kind)):
                filename = path.relative_to(root).as_posix()
                if filename in taken:
                    continue  # an earlier root has one of that name
                taken.add(filename)
                state = path.stat()
                key = (kind, path, state.st_size, state.st_mtime_ns)
                seen[key] = self._seen.get(key) or _describe(kind, filename, path)
                yield seen[key]


def _weights_below(root: Path, kind: Kind) -> Iterator[Path]:
    """Files of weights, and diffusers folders, at any depth; separate VAEs beside checkpoints are not checkpoints."""
    whole = {"checkpoint": is_diffusers_folder, "controlnet": is_net_folder}.get(kind)
    waiting, visited = [root], set[Path]()
    while waiting:
        folder = waiting.pop()
        if not folder.is_dir() or folder.resolve() in visited:
            continue
        visited.add(folder.resolve())
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if whole is not None and whole(path):
                    yield path
                else:
                    waiting.append(path)
            elif _is_weights(path) and not (kind == "checkpoint" and path.stem.lower().endswith(".vae")):
                yield path


def _is_weights(path: Path) -> bool:
    return path.suffix.lower() in (".safetensors", *PICKLES) and path.is_file()  # not a link to nothing


def _describe(kind: Kind, filename: str, path: Path) -> ModelFile:
    name = filename if path.is_dir() else filename.removesuffix(path.suffix)
    family, reason, metadata = "", None, dict[str, str]()
    try:
        if path.suffix.lower() in PICKLES:
            raise RefusedFile(pickle_reason(path.name))
        layout = read_net(path) if kind == "controlnet" else read_layout(path)
        metadata = dict(layout.metadata)
        if kind == "checkpoint":
            family = read_checkpoint(layout)[0].name
    except (EaselError, OSError) as error:
        reason = error.message if isinstance(error, EaselError) else f"{path.name}: cannot be read"
    if kind != "checkpoint":
        return ModelFile(kind=kind, name=name, filename=filename, path=path, metadata=metadata, refused_reason=reason)
    yaml = path.with_suffix(".yaml")
    return CheckpointInfo(
        kind=kind,
        name=name,
        filename=filename,
        path=path,
        metadata=metadata,
        refused_reason=reason,
        family=family,
        config=yaml if yaml.is_file() else None,
    )


def _find(name: str, files: Iterable[File], field_name: str) -> File:
    """The file `name` means: the first that matches exactly, else in lower case, else by the old 8-digit hash.

    Usable files go first: a pickle may lie beside what it was rewritten as.
    """
    candidates = sorted(files, key=lambda file: file.refused_reason is not None)
    wanted = name.strip()
    matches: Iterator[File] = (file for file in candidates if wanted in _aliases(file))
    lower = (file for file in candidates if wanted.lower() in map(str.lower, _aliases(file)))
    by_old_hash = (file for file in candidates if OLD_HASH.fullmatch(wanted) and _has_old_hash(file, wanted))
    for file in chain(matches, lower, by_old_hash):
        if file.refused_reason is not None:
            raise RefusedFile(file.refused_reason)
        return file
    raise UnknownName.among(field_name, name, dict.fromkeys(getattr(file, "title", file.name) for file in candidates))


def _aliases(file: ModelFile) -> Iterator[str]:
    yield from (file.filename, file.name, file.name.rpartition("/")[2], file.filename.rpartition("/")[2])
    if isinstance(file, CheckpointInfo):
        yield from (file.title, file.model_name)
        if file.sha256:
            yield f"{file.name} [{file.short_hash}]"
            yield f"{file.name.rpartition('/')[2]} [{file.short_hash}]"
    if file.kind == "lora":
        yield file.alias
    if file.sha256:
        yield from (file.sha256, file.short_hash)


def _has_old_hash(file: ModelFile, wanted: str) -> bool:
    return file.path.is_file() and old_hash(file.path) == wanted.lower()
