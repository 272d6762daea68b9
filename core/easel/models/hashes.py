"""Hashes of model files, computed when asked for and kept in a small file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 2**20


@dataclass(slots=True)
class HashCache:
    """sha256 of files, by path, size and time of change. `file` may be shared by processes: writes are atomic."""

    file: Path | None
    _known: dict[str, str] = field(default_factory=dict)
    _read_at: int = 0

    def known(self, path: Path) -> str | None:
        """The hash, if it was computed before and the file has not changed since."""
        self._reload()
        return self._known.get(_key(path))

    def compute(self, path: Path) -> str:
        """The hash, read from the whole file if it is not known yet."""
        if found := self.known(path):
            return found
        key = _key(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[key] = digest
        self._write()
        return digest

    def tree(self, folder: Path) -> str:
        """One hash for the weights and configurations in a folder: of their names and hashes."""
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json"))
        lines = (f"{path.relative_to(folder).as_posix()} {self.compute(path)}\n" for path in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _reload(self) -> None:
        if self.file is None or not self.file.is_file():
            return
        changed = self.file.stat().st_mtime_ns
        if changed != self._read_at:
            self._known |= _read(self.file)
            self._read_at = changed

    def _write(self) -> None:
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        merged = {**(_read(self.file) if self.file.is_file() else {}), **self._known}
        handle, temporary = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(merged, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(self.file)


def old_hash(path: Path) -> str:
    """The first A1111 hash: 8 hex digits of the sha256 of 64 KiB at offset 1 MiB. Collides, but is still in use."""
    with path.open("rb") as file:
        file.seek(BLOCK)
        return hashlib.sha256(file.read(2**16)).hexdigest()[:8]


def _key(path: Path) -> str:
    state = path.stat()
    return f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}"


def _read(file: Path) -> Mapping[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # a cache: whatever is wrong with it, the hashes can be computed again
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
