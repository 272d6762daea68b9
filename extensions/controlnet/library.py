"""The ControlNets on disk, named as clients of sd-webui-controlnet name them: `name [8 hex digits]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from easel import BadRequest, GenerationRequest, UnknownName

from .preprocessors import ALL

_HASH = re.compile(r"\s*\[([0-9a-fA-F]{8,10})\]$")
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "instructp2p": ("ip2p",),
    "segmentation": ("seg",),
    "normalmap": ("normal",),
    "t2i-adapter": ("t2i_adapter", "t2iadapter", "t2ia"),
    "ip-adapter": ("ip_adapter", "ipadapter"),
    "openpose": ("densepose",),
    "instant-id": ("instant_id", "instantid"),
    "scribble": ("sketch",),
    "tile": ("blur",),
}


class ModelFile(Protocol):
    """What the model store tells of a file."""

    @property
    def name(self) -> str:
        """Path below its root, without suffix."""
        ...

    @property
    def filename(self) -> str:
        """The same with its suffix."""
        ...

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def refused_reason(self) -> str | None:
        """Why it cannot be used."""
        ...


class Library:
    """The ControlNets of a model store."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def refresh(self) -> None:
        """Look at the disk again."""
        self._store.refresh()

    def titles(self) -> list[str]:
        """All that can be used, by name."""
        return sorted(self._title(file) for file in self._usable().values())

    def find(self, name: str, field: str) -> tuple[ModelFile, str]:
        """The file that `name` means, and what is to be said about it.

        A name is a title, a file's name with or without its ending, in any case, or a part of one name. Errors:
        UnknownName with what there is, BadRequest for a file that cannot be used.
        """
        plain = _HASH.sub("", name.strip())
        file = self._named(plain)
        if file is None:
            self.refresh()  # it may have been copied in since
            file = self._named(plain)
        if file is None:
            raise UnknownName.among(field, name, self.titles())
        if file.refused_reason is not None:
            raise BadRequest(file.refused_reason, field=field, value=name)
        return file, self._remark(name, plain, file)

    def default(self, request: GenerationRequest) -> str:
        """What a unit without a model means: the starter's own, where the request runs on the starter; else "None"."""
        own = self._store.starter_controlnet()
        named = request.checkpoint
        checkpoint = self._store.checkpoint(named) if named else self._store.default_checkpoint()
        return own.name if own is not None and checkpoint.family == "starter" else "None"

    def fitting(self, kind: str) -> list[str]:
        """Titles of those that go with a control type, by their names."""
        if kind == "All":
            return self.titles()
        words = (kind.lower(), *_ALIASES.get(kind.lower(), ()))
        return [title for title in self.titles() if any(word in title.lower() for word in words)]

    def _usable(self) -> dict[str, ModelFile]:
        return {_short(file.name): file for file in reversed(self._files()) if file.refused_reason is None}

    def _files(self) -> list[ModelFile]:
        return list(self._store.files("controlnet"))

    def _title(self, file: ModelFile) -> str:
        digits = self._store.old_hash(file)
        return f"{_short(file.name)} [{digits}]" if digits else _short(file.name)

    def _named(self, plain: str) -> ModelFile | None:
        files, wanted = self._files(), plain.lower()
        whole = [file for file in files if _short(file.filename).lower() == wanted]
        whole += [file for file in files if _short(file.name).lower() == wanted]
        if whole:
            return whole[0]
        within = [stem for stem in self._usable() if wanted and wanted in stem.lower()]
        return self._usable()[min(within, key=lambda stem: (len(stem), stem))] if within else None

    def _remark(self, name: str, plain: str, file: ModelFile) -> str:
        said = _HASH.search(name)
        if said and said[1].lower() != self._store.old_hash(file):
            return f"the file's hash is {self._store.old_hash(file)}"
        known = _short(file.name)
        return "" if plain.lower() in (known.lower(), _short(file.filename).lower()) else f"{known} was used"


def _short(name: str) -> str:
    """A name without the folders it is in."""
    return name.rpartition("/")[2]


def control_types() -> list[str]:
    """The kinds of control, in alphabetical order, `All` before them."""
    return ["All", *sorted({kind for one in ALL for kind in one.types} | {"InstructP2P"})]


def default_model(titles: Iterable[str]) -> str:
    """The first of version 1.1, else the first, else "None"."""
    known = list(titles)
    return next((title for title in known if "11" in title.partition("[")[0]), known[0] if known else "None")
