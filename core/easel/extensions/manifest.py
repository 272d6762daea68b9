"""`extension.toml`: what an extension says of itself, readable without running any of its code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from easel.errors import EaselError

FILE = "extension.toml"
LARGEST = 64 * 1024  # bytes
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadManifest(EaselError):
    """The extension's manifest is not valid."""

    code = 51


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What an extension says it will use; shown to operators."""

    hosts: tuple[str, ...] = ()  # network hosts
    paths: tuple[str, ...] = ()  # below the data folder
    changes: tuple[str, ...] | None = None  # what of a job it changes, e.g. "prompt.adapters"; None: anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One extension's manifest. `name` is the folder's name, with `-` where the folder has `_`."""

    name: str
    title: str
    version: str
    summary: str
    entry: str  # the `Extension` subclass in the folder's `__init__.py`
    easel: str  # the range of hook API versions it is written for, e.g. ">=1,<2"
    requires: tuple[str, ...] = ()  # PEP 508; checked, never installed
    permissions: Permissions = field(default_factory=Permissions)
    enabled: bool = True  # at first sight; later the operator's choice counts

    @property
    def package(self) -> str:
        """The name it is imported under, below `easel_extensions`."""
        return self.name.replace("-", "_")


TEXTS = ("name", "title", "version", "summary", "entry", "easel")
KEYS = (*TEXTS, "requires", "permissions", "enabled")


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/extension.toml`. Errors: BadManifest, with words for the author."""
    try:
        with (folder / FILE).open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise BadManifest(f"{FILE} is larger than {LARGEST} bytes")
        table = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadManifest(f"{FILE} cannot be read: {type(error).__name__}: {error}") from error
    manifest = parse_manifest(table)
    if manifest.package != folder.name.replace("-", "_"):
        raise BadManifest(f"name {manifest.name!r} is not the folder's name, {folder.name!r}")
    return manifest


def parse_manifest(table: Mapping[str, Any]) -> Manifest:
    """Check a parsed manifest. Errors: BadManifest naming the key."""
    _refuse_unknown(table, KEYS, "")
    missing = [key for key in TEXTS if key not in table]
    if missing:
        raise BadManifest(f"missing: {', '.join(missing)}")
    texts = {key: _text(table, key) for key in TEXTS}
    if not NAME.fullmatch(texts["name"]):
        raise BadManifest(f"name is {texts['name']!r}; allowed: lower-case words and digits joined by '-'")
    if not CLASS.fullmatch(texts["entry"]):
        raise BadManifest(f"entry is {texts['entry']!r}; allowed: the name of a class in __init__.py")
    permissions = table.get("permissions", {})
    if not isinstance(permissions, Mapping):
        raise BadManifest(f"permissions is {permissions!r}; allowed: a table")
    kinds = ("hosts", "paths", "changes")
    _refuse_unknown(permissions, kinds, "permissions.")
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise BadManifest(f"enabled is {enabled!r}; allowed: true, false")
    return Manifest(
        **texts,
        requires=_texts(table, "requires"),
        permissions=Permissions(**{kind: _texts(permissions, kind) for kind in kinds if kind in permissions}),
        enabled=enabled,
    )


def _refuse_unknown(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(keys)}"
            raise BadManifest(f"unknown key {where + key!r}{hint}")


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip():
        raise BadManifest(f"{key} is {value!r}; allowed: a text")
    return value


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadManifest(f"{key} is {value!r}; allowed: a list of texts")
    return tuple(value)
