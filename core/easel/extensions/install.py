"""Put an extension where services find it: from a folder, a ZIP file or a wheel. Nothing of it is run or fetched.

For operators: at the machine (`easel install`) or, where that is allowed, on the page; no route does it. What is read
is bounded; links and names that lead elsewhere are refused; a folder appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile, ZipInfo

from easel.errors import BadRequest, Conflict
from easel.extensions.manifest import FILE, BadManifest, Manifest, read_manifest

_MOST_FILES = 10_000
_MOST_BYTES = 2 << 30
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".git", ".*_cache")


def install(source: Path, root: Path, *, replace: bool = False) -> tuple[Manifest, Path]:
    """The manifest and the new folder below `root`. Errors: BadRequest, BadManifest, Conflict (it is there already)."""
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".install-", dir=root) as work:
        folder = _unpacked(source, Path(work) / "unpacked") if source.is_file() else source
        if not (folder / FILE).is_file():
            raise BadRequest("holds no extension", field="SOURCE", value=source.name, allowed=f"a folder with {FILE}")
        ready = Path(work) / "ready" / folder.resolve().name
        _refuse_links(folder)
        shutil.copytree(folder, ready, ignore=_LEFT_OUT)
        try:
            manifest = read_manifest(ready)
        except BadManifest as error:
            raise BadManifest(f"{source.name}: {error.message}") from error
        target = root / manifest.package
        if target.exists() and not replace:
            raise Conflict(f"{manifest.name} is in {root} already; --replace takes its place")
        if target.exists():
            target.rename(Path(work) / "before")
        ready.rename(target)
    return manifest, target


def _unpacked(file: Path, into: Path) -> Path:
    """The folder with the manifest out of a ZIP file or a wheel."""
    try:
        with ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(entries, file.name)
            manifests = [entry.filename for entry in entries if PurePosixPath(entry.filename).name == FILE]
            manifests = sorted(manifests, key=lambda name: name.count("/"))
            if not manifests:
                raise BadRequest("holds no extension", field="SOURCE", value=file.name, allowed=f"one with {FILE}")
            archive.extractall(into, entries)
    except BadZipFile as error:
        raise BadRequest("cannot be read", field="SOURCE", value=file.name, allowed="a folder, ZIP or wheel") from error
    folder = into / PurePosixPath(manifests[0]).parent
    if folder == into:  # the archive is the folder: it goes by the archive's name
        return into.rename(into.with_name(file.name.partition(".")[0].partition("-")[0]))
    return folder


def _check(entries: list[ZipInfo], name: str) -> None:
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
        allowed = f"up to {_MOST_FILES} files and {_MOST_BYTES >> 30} GiB"
        raise BadRequest("is too large", field="SOURCE", value=name, allowed=allowed)
    for entry in entries:
        path, kind = PurePosixPath(entry.filename), stat.S_IFMT(entry.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or kind not in (0, stat.S_IFREG):
            raise BadRequest("leads out of its folder", field="SOURCE", value=entry.filename)


def _refuse_links(folder: Path) -> None:
    for path in _everything(folder):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BadRequest("is no plain file", field="SOURCE", value=str(path.relative_to(folder)))


def _everything(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if one not in ("__pycache__", ".git")]
        yield from (Path(parent) / name for name in (*folders, *files))
