"""The wildcard files: `<data-dir>/wildcards/**.txt`, a value a line, and `.yaml`, lists of values below their keys.

Nothing outside the folder is read: links are passed by.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_FILE = 4 * 2**20  # bytes
MOST_FILES = 10_000
MOST_VALUES = 500_000
LONGEST_VALUE = 2_000  # characters
log = logging.getLogger("easel_extensions.wildcards")

Stamp = tuple[tuple[Path, int, int], ...]  # path, time of change, size


@dataclass(slots=True)
class Library:
    """The wildcards in a folder, which is looked at again for each request."""

    folder: Path
    _stamp: Stamp = ()
    _values: Mapping[str, list[str]] = field(default_factory=dict)

    def values(self) -> Mapping[str, list[str]]:
        """The values by name: `animal`, `places/indoors`."""
        stamp = tuple(_files(self.folder))
        if stamp != self._stamp:
            self._values = _read(self.folder, stamp)
            self._stamp = stamp
        return self._values


def _files(folder: Path) -> Iterator[tuple[Path, int, int]]:
    found = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix not in (".txt", ".yaml", ".yml") or path.is_symlink() or not path.is_file():
                continue
            status = path.stat()
            if status.st_size > LARGEST_FILE:
                log.warning("wildcards/%s is larger than %d bytes: left out", path.relative_to(folder), LARGEST_FILE)
                continue
            found += 1
            if found > MOST_FILES:
                log.warning("there are more than %d wildcard files: the others are left out", MOST_FILES)
                return
            yield path, status.st_mtime_ns, status.st_size


def _read(folder: Path, stamp: Stamp) -> Mapping[str, list[str]]:
    wildcards: dict[str, list[str]] = {}
    left = MOST_VALUES
    for path, _, _ in stamp:
        name = path.relative_to(folder)
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            found = _lines(name, text) if path.suffix == ".txt" else _lists(name, text)
            for key, value in found:
                if left == 0:
                    log.warning("there are more than %d wildcard values: the others are left out", MOST_VALUES)
                    return wildcards
                wildcards.setdefault(key, []).append(value[:LONGEST_VALUE])
                left -= 1
        except (OSError, ValueError) as error:
            log.warning("wildcards/%s cannot be read: %s", name, error)
    return wildcards


def _lines(name: Path, text: str) -> Iterator[tuple[str, str]]:
    key = name.with_suffix("").as_posix()
    for line in text.splitlines():
        value = line.strip()
        if value and not value.startswith("#"):
            yield key, value


def _lists(name: Path, text: str) -> Iterator[tuple[str, str]]:
    """Keys are names, below the file's folder; a file that is one list has the file's name. Errors: ValueError."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error
    parent = name.parent.as_posix().removeprefix(".")
    if isinstance(tree, list):
        tree = {name.stem: tree}
    yield from _below(parent, tree)


def _below(prefix: str, tree: Any) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from _below(f"{prefix}/{key}".strip("/"), branch)
    else:
        for value in tree if isinstance(tree, list) else [tree]:
            if isinstance(value, str | int | float) and str(value).strip():
                yield prefix, str(value).strip()
