"""Where extensions are: folders with an `extension.toml`. Nothing is imported here.

A root with an `extension.toml` is an extension; one without is searched one level deep, by name. Of two with the same
name the first found counts, the second is listed as shadowed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from easel.extensions.manifest import FILE, BadManifest, Manifest, read_manifest

GROUP = "easel.extensions"  # the entry point group of installed packages; the value is a package with extension.toml
CHECKOUT = Path(__file__).resolve().parents[3]
_HOME = CHECKOUT if (CHECKOUT / "webui.sh").is_file() else Path(__file__).resolve().parents[1] / "bundled"
OWN_ROOTS = (_HOME / "extensions", _HOME / "filebrowser")  # in the checkout, or in the installed package
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """One folder: its manifest, or the reason why that cannot be used."""

    folder: Path
    name: str
    manifest: Manifest | None
    reason: str = ""
    shadowed_by: Path | None = None

    @property
    def own(self) -> bool:
        """Does it come with Easel?"""
        return any(self.folder.is_relative_to(root) for root in OWN_ROOTS)


def standard_roots(data_dir: Path, *, path: str = "", root: str | None = None) -> list[Path]:
    """Where to look, in order: Easel's own, the data folder, `EASEL_EXTENSIONS_PATH`, `--root-extensions DIR`."""
    listed = [*path.split(os.pathsep), root or ""]
    return [
        *OWN_ROOTS,
        data_dir / "extensions",
        *(Path(entry) for entry in listed if entry),
    ]


def installed_roots() -> list[Path]:
    """The folders of installed packages that declare the entry point group."""
    roots = []
    for entry in entry_points(group=GROUP):
        spec = find_spec(entry.module.partition(".")[0])  # the top package only: finding a deeper one would import it
        if spec is None or not spec.submodule_search_locations:
            log.warning("entry point %s of group %s names no package", entry.name, GROUP)
            continue
        roots.append(Path(next(iter(spec.submodule_search_locations)), *entry.module.split(".")[1:]))
    return roots


def find_extensions(roots: Iterable[Path]) -> tuple[Found, ...]:
    """All extensions below `roots`, in order; shadowed and unreadable ones too."""
    found: list[Found] = []
    first: dict[str, Path] = {}
    for folder in _folders(roots):
        one = _look_at(folder)
        if one.name in first:
            if one.folder == first[one.name]:
                continue  # the same folder by way of two roots
            one = Found(one.folder, one.name, one.manifest, one.reason, shadowed_by=first[one.name])
        first.setdefault(one.name, one.folder)
        found.append(one)
    return tuple(found)


def _folders(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if (root / FILE).is_file():
            yield root.resolve()
        elif root.is_dir():
            yield from (child.resolve() for child in sorted(root.iterdir()) if (child / FILE).is_file())


def _look_at(folder: Path) -> Found:
    try:
        manifest = read_manifest(folder)
    except BadManifest as error:
        return Found(folder, folder.name.replace("_", "-"), None, error.message)
    return Found(folder, manifest.name, manifest)
