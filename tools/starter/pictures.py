"""Fetch the emoji pictures and names from npm, and paint one subject on a coloured background.

Sources (see NOTICE): ``@lobehub/fluent-emoji-3d`` (Microsoft Fluent Emoji, MIT), ``emojibase-data`` (MIT).
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURES = "@lobehub/fluent-emoji-3d@1.1.0"
NAMES = "emojibase-data@17.0.0"


def fetch_package(work: Path, spec: str) -> Path:
    """Download the npm package ``spec`` (name@version) into ``work/npm`` with npm itself, once; returns the .tgz."""
    folder = work / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    name, _, version = spec.rpartition("@")
    archive = folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True)
    return archive


def read_members(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    """The bytes of the wanted members of a .tgz (names relative to the package); missing ones are left out."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            if name in wanted and (stream := tar.extractfile(member)):
                found[name] = stream.read()
    return found


def read_names(work: Path) -> list[dict[str, Any]]:
    """The entries of emojibase's English names, in emoji order: ``label``, ``hexcode``, ``group`` ..."""
    return list(json.loads(read_members(fetch_package(work, NAMES), {"en/data.json"})["en/data.json"]))


def members_of(entry: dict[str, Any]) -> list[str]:
    """Names the picture of an entry may have in the archive."""
    return [f"assets/{entry['hexcode'].lower()}{end}.webp" for end in ("", "-fe0f")]


@lru_cache(maxsize=1)
def picture_names(work: Path) -> frozenset[str]:
    """Names of all members of the archive of pictures."""
    with tarfile.open(fetch_package(work, PICTURES)) as tar:
        return frozenset(member.name.partition("/")[2] for member in tar)


def has_picture(work: Path, entry: dict[str, Any]) -> bool:
    """Whether the archive has a picture of the entry."""
    return any(name in picture_names(work) for name in members_of(entry))


def load_subjects(work: Path, labels: list[str]) -> dict[str, Image.Image]:
    """RGBA picture, 256x256, of each emoji label. Raises KeyError naming labels that have no picture."""
    entries = {entry["label"]: entry for entry in read_names(work)}
    if unknown := [label for label in labels if label not in entries]:
        raise KeyError(f"no emoji has the label {unknown}")
    names = {label: members_of(entries[label]) for label in labels}
    found = read_members(fetch_package(work, PICTURES), {name for pair in names.values() for name in pair})
    pictures = {}
    for label, pair in names.items():
        raw = next((found[name] for name in pair if name in found), None)
        if raw is None:
            raise KeyError(f"no picture of {label!r}")
        pictures[label] = Image.open(io.BytesIO(raw)).convert("RGBA")
    return pictures


def paint(
    subject: Image.Image,
    colour: tuple[int, int, int],
    canvas: int = 512,
    size: int = 432,
    left: int | None = None,
    top: int | None = None,
) -> np.ndarray:
    """The subject, ``size`` pixels wide, on a plain canvas (centred unless placed); uint8 array [canvas, canvas, 3]."""
    scaled = subject.resize((size, size), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (canvas, canvas), colour)
    middle = (canvas - size) // 2
    page.paste(scaled, (middle if left is None else left, middle if top is None else top), scaled)
    return np.asarray(page)
