"""A storage in an S3 or OSS bucket: a local folder has all of it, and what changes on either side reaches the other.

`take` brings what is new in the bucket, `give` what is new in the folder. What both changed since they last agreed is
as the folder has it. An index in the folder says what they agreed on: without one nothing is ever deleted in the
bucket, so that a folder that was lost is fetched again, and its loss not repeated there.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from easel.errors import EaselError
from easel.files.names import TEMPORARY

_INDEX, _LOCK = f"{TEMPORARY}bucket.json", f"{TEMPORARY}bucket.lock"
_YOUNG = 2.0  # seconds that a file must have been left alone before it is given
Local = tuple[int, int]  # size, time of change in nanoseconds


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is and which folder stands for it."""

    address: str  # oss://BUCKET/FOLDER
    endpoint: str  # https://…
    folder: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Agreed:
    """One file as both sides had it when they last agreed."""

    there: str  # the bucket's word for a version of it
    here: Local


def file_system(place: BucketPlace) -> Any:
    """fsspec's view of the bucket; keys come from AWS_… or OSS_… variables, or `~/.aws`. Errors: EaselError."""
    try:
        import s3fs  # an optional dependency
    except ImportError as error:
        raise EaselError("a storage with an endpoint needs s3fs: pip install 'easel-studio[s3]'") from error
    host = urlsplit(place.endpoint).hostname or ""
    style = "virtual" if host.endswith("aliyuncs.com") else "path"  # OSS knows no other
    return s3fs.S3FileSystem(
        key=os.environ.get("OSS_ACCESS_KEY_ID"),
        secret=os.environ.get("OSS_ACCESS_KEY_SECRET"),
        endpoint_url=place.endpoint,
        config_kwargs={"s3": {"addressing_style": style}, "connect_timeout": 10, "retries": {"max_attempts": 3}},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


class Bucket:
    """One bucket's folder and its local one. Several processes may have the same one: they take turns."""

    def __init__(self, system: Any, place: BucketPlace) -> None:
        """`system`: any fsspec file system."""
        self._system, self._place = system, place
        self._root = place.address.partition("://")[2].strip("/")
        self._folder = Path(place.folder)

    def take(self) -> int:
        """Bring what is new there; the number of files. Errors: EaselError."""
        with self._turn() as index:
            there, here = self._there(), self._here()
            changed = 0
            for name, version in there.items():
                known, local = index.get(name), here.get(name)
                as_it_was = known is not None and known.there == version
                if self._place.read_only:  # what is there counts, whatever became of it here
                    keep = as_it_was and local is not None and not _touched(known, local)
                else:
                    keep = as_it_was or _touched(known, local)
                if not keep:
                    index[name] = Agreed(version, self._fetch(name))
                    changed += 1
            for name in [name for name in index if name not in there]:
                if not _touched(index[name], here.get(name)):
                    (self._folder / name).unlink(missing_ok=True)
                    del index[name]
                    changed += 1
            return changed

    def give(self, *, all_of_it: bool = False) -> int:
        """Bring there what is new here, but for files that are still being written (`all_of_it`: those too).

        The number of files; always 0 for a read-only one. Errors: EaselError.
        """
        if self._place.read_only:
            return 0
        with self._turn() as index:
            here, changed = self._here(), 0
            for name, local in here.items():
                young = time.time() - local[1] / 1e9 < _YOUNG
                if _touched(index.get(name), local) and (all_of_it or not young):
                    self._system.put_file(str(self._folder / name), f"{self._root}/{name}")
                    index[name] = Agreed(_version(self._system.info(f"{self._root}/{name}")), local)
                    changed += 1
            for name in [name for name in index if name not in here]:
                if self._system.exists(f"{self._root}/{name}"):
                    self._system.rm_file(f"{self._root}/{name}")
                del index[name]
                changed += 1
            return changed

    def _there(self) -> dict[str, str]:
        try:
            found: Mapping[str, Any] = self._system.find(self._root, detail=True)
        except FileNotFoundError:  # a bucket without such a folder
            return {}
        names = {path.strip("/").removeprefix(self._root).strip("/"): info for path, info in found.items()}
        return {name: _version(info) for name, info in names.items() if _is_plain(name)}

    def _here(self) -> dict[str, Local]:
        found = {}
        for above, folders, names in os.walk(self._folder):
            folders[:] = [one for one in folders if not one.startswith(TEMPORARY)]
            for path in (Path(above, name) for name in names if not name.startswith(TEMPORARY)):
                if path.is_file() and not path.is_symlink():
                    found[path.relative_to(self._folder).as_posix()] = _local(path)
        return found

    def _fetch(self, name: str) -> Local:
        """Whole or not at all, as every file of ours."""
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f"{TEMPORARY}{os.getpid()}.tmp")
        try:
            self._system.get_file(f"{self._root}/{name}", str(scratch))
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
        return _local(target)

    @contextmanager
    def _turn(self) -> Iterator[dict[str, Agreed]]:
        """What both sides agreed on; written down again whatever happens, so that no work is done twice."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                index = _read(self._folder / _INDEX)
                try:
                    yield index
                finally:
                    _write(self._folder / _INDEX, index)
        except EaselError:
            raise
        except Exception as error:  # whatever a library of a cloud raises
            raise EaselError(
                f"{self._place.address} at {self._place.endpoint}: {error or type(error).__name__}"
            ) from error


def _touched(known: Agreed | None, local: Local | None) -> bool:
    """Is there a file here that is not the one both sides agreed on?"""
    return local is not None and (known is None or known.here != local)


def _local(path: Path) -> Local:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _version(info: Mapping[str, Any]) -> str:
    mark = info.get("ETag") or info.get("mtime") or info.get("created") or ""
    return f"{info.get('size')} {mark}"


def _is_plain(name: str) -> bool:
    """A name that is a file below the folder: no marker of a folder, nothing that leads out."""
    parts = name.split("/")
    return bool(name) and not any(one in ("", ".", "..") or one.startswith(TEMPORARY) for one in parts)


def _read(file: Path) -> dict[str, Agreed]:
    try:
        found = json.loads(file.read_text("utf-8"))
        return {name: Agreed(there, (here[0], here[1])) for name, (there, here) in found.items()}
    except (OSError, ValueError, TypeError, IndexError):
        return {}


def _write(file: Path, index: Mapping[str, Agreed]) -> None:
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps({name: (one.there, one.here) for name, one in index.items()}), "utf-8")
    scratch.replace(file)
