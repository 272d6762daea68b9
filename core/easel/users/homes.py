"""What is whose: a user's folder stands in for the data folder, and the operator's flags say what else they see.

`<data-dir>/users/<name>/` has a data folder's tree. Checkpoints and ControlNets come from there and from the public
folders; LoRAs from there and from `--lora-dir`; VAEs, embeddings, hypernetworks and face restorers from there, or only
from the folder that a flag names. A user's own file wins over a public one of its name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from easel.files import ScopedFiles
from easel.models.store import FOLDERS, TREE, Kind, ModelStore
from easel.settings import Settings
from easel.users.account import check_name
from easel.values.user import acting_user


class Homes:
    """The settings and files of everybody. In an edition without users everything is everybody's."""

    def __init__(self, service: Settings) -> None:
        """`service`: the settings as they were given."""
        self.service = service
        self.apart = service.edition == "cluster"
        self._settings: dict[str, Settings] = {}
        self._lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """As the acting user has them: their folder is the data folder. The service's own where nobody acts."""
        return self.settings_of(acting_user().name)

    def settings_of(self, name: str) -> Settings:
        """The same for a user by name; their folder is made. Errors: BadRequest (not a name)."""
        if not name or not self.apart:
            return self.service
        with self._lock:
            if name not in self._settings:
                self._settings[name] = _own(self.service, check_name(name))
            return self._settings[name]

    def files(self) -> ScopedFiles:
        """The acting user's data folder, as they may name files in it."""
        return data_files(self.settings)

    def store(self) -> ModelStore:
        """The models, each user's view of them."""
        settings = self.service
        return ModelStore(
            settings.data_dir,
            models_dir=settings.models_path,
            extra=_extra(settings),
            hashing=not settings.no_hashing,
            hash_file=settings.state_dir / "hashes.json",
            people=self._models_of if self.apart else None,
        )

    def _models_of(self, name: str) -> Mapping[Kind, Sequence[Path]]:
        """The folders that a user's models come from, the first wins."""
        service, own = self.service, self.settings_of(name)
        mine = {kind: tuple(own.data_dir / folder for folder in folders) for kind, folders in FOLDERS.items()}
        public = {kind: _public(service, folders) for kind, folders in FOLDERS.items()}
        extra = _extra(service)
        return {
            "checkpoint": (*mine["checkpoint"], *public["checkpoint"], *extra["checkpoint"]),
            "controlnet": (*mine["controlnet"], *public["controlnet"], *extra["controlnet"]),
            "lora": (*mine["lora"], *extra["lora"]),
            "vae": extra["vae"] or mine["vae"],
            "embedding": extra["embedding"] or mine["embedding"],
            "hypernetwork": extra["hypernetwork"] or mine["hypernetwork"],
            "upscaler": (*public["upscaler"], *extra["upscaler"]),
        }


def _own(service: Settings, name: str) -> Settings:
    home = service.data_dir / "users" / name
    for folder in TREE:
        if folder not in ("users", "extensions"):
            (home / folder).mkdir(parents=True, exist_ok=True)
    annotators = service.controlnet_annotator_models_path or service.models_path / "Annotators"
    named = service.mount_path and service.mount_path / "users" / name
    return replace(
        service, data_dir=home, mount_path=named, models_dir=None, controlnet_annotator_models_path=annotators
    )


def _public(service: Settings, folders: Sequence[str]) -> tuple[Path, ...]:
    return tuple(
        service.models_path.joinpath(*Path(folder).parts[1:])
        if folder.startswith("models/")
        else service.data_dir / folder
        for folder in folders
    )


def _extra(settings: Settings) -> Mapping[Kind, tuple[Path, ...]]:
    folders: dict[Kind, tuple[Path | None, ...]] = {
        "checkpoint": (settings.ckpt_dir,),
        "vae": (settings.vae_dir,),
        "lora": (settings.lora_dir, settings.lyco_dir_backcompat),
        "embedding": (settings.embeddings_dir,),
        "controlnet": (settings.controlnet_dir,),
        "hypernetwork": (settings.hypernetwork_dir,),
        "upscaler": (
            settings.esrgan_models_path,
            settings.realesrgan_models_path,
            settings.bsrgan_models_path,
            settings.dat_models_path,
            settings.scunet_models_path,
            settings.swinir_models_path,
        ),
    }
    return {kind: tuple(path for path in paths if path) for kind, paths in folders.items()}


def data_files(settings: Settings, room: Callable[[int], None] = lambda coming: None) -> ScopedFiles:
    """The data folder as clients may name files in it: without state, extensions' code and users' folders."""
    denied = ["extensions", "users"]
    if settings.state_dir.is_relative_to(settings.data_dir):
        denied.append(str(settings.state_dir.relative_to(settings.data_dir)))
    return ScopedFiles(
        settings.data_dir,
        denied=tuple(denied),
        named=settings.data_name,
        read_only=[Path(one).absolute() for one in settings.read_only],
        room=room,
    )
