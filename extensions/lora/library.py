"""From the name in a tag to a file, and the short hash that A1111 writes into the generation data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

SHOWN = 12  # hex digits


class LoraFile(Protocol):
    """What the model store tells of a file."""

    @property
    def name(self) -> str:
        """Path below its root, without suffix."""
        ...

    @property
    def alias(self) -> str:
        """What its trainer called it."""
        ...

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """The header's texts."""
        ...

    @property
    def refused_reason(self) -> str | None:
        """Why it cannot be used."""
        ...


def find(name: str, files: Iterable[LoraFile]) -> LoraFile | str:
    """The file that `name` means, or the reason why there is none.

    A name is a path below the folder, a file's stem, or its alias, the first that fits; a stem or alias that two files
    have is not usable.
    """
    known = list(files)
    for word_of in (lambda file: file.name, _stem, lambda file: file.alias):
        fitting = [file for file in known if word_of(file) == name]
        fitting = [file for file in fitting if file.refused_reason is None] or fitting[
            :1
        ]  # a pickle beside its rewrite
        if len(fitting) > 1:
            return f"{name!r} may mean {' or '.join(file.name for file in fitting)}"
        if fitting:
            return fitting[0].refused_reason or fitting[0]
    near = get_close_matches(name, [_stem(file) for file in known], n=1, cutoff=0.5)
    return f"there is no LoRA {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def short_hash(file: LoraFile) -> str:
    """12 hex digits of the trainer's own hash, else of the sha256 of the file's tensor data (its header left out)."""
    told = file.metadata.get("sshs_model_hash")
    if told:
        return told[:SHOWN]
    with file.path.open("rb") as weights:
        weights.seek(8 + int.from_bytes(weights.read(8), "little"))
        return hashlib.file_digest(weights, "sha256").hexdigest()[:SHOWN]


def _stem(file: LoraFile) -> str:
    return file.name.rpartition("/")[2]
