"""The class an extension's package derives from; hook methods are marked with `hookimpl`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from easel.errors import Forbidden
from easel.extensions.manifest import Permissions
from easel.fetching import Fetched, Fetcher
from easel.files import ScopedFiles

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an extension lives and what it was given: made by the loader, not by authors."""

    name: str
    folder: Path  # its code, read only
    data: Path  # a folder of its own for files it writes; made when first asked for
    settings: Any = None
    permissions: Permissions = field(default_factory=Permissions)
    shared: Callable[[], ScopedFiles] | None = None  # the data folder
    fetcher: Fetcher = field(default_factory=Fetcher)


class Extension:
    """An extension: hook methods, and state on the instance only.

    `settings_model` is a pydantic model with defaults for every field; its values come from the environment,
    `EASEL_EXT_<NAME>__<FIELD>`, or from what operators set. One instance is made each time it is switched on.
    """

    settings_model: ClassVar[type[BaseModel] | None] = None

    def __init__(self, place: Place) -> None:
        self._place = place
        self.log = logging.getLogger(f"easel_extensions.{place.name}")

    @property
    def name(self) -> str:
        """The name in `extension.toml`."""
        return self._place.name

    @property
    def folder(self) -> Path:
        """The folder of the extension's code."""
        return self._place.folder

    @property
    def data(self) -> Path:
        """A folder of the extension's own, for what it keeps between runs."""
        self._place.data.mkdir(parents=True, exist_ok=True)
        return self._place.data

    @property
    def permissions(self) -> Permissions:
        """What the manifest declares: hosts, paths, changes."""
        return self._place.permissions

    def files(self, path: str) -> ScopedFiles:
        """The files below a folder of the data folder that `permissions.paths` declares, or a part of one.

        The folder is made when it is missing. Errors: Forbidden for any other.
        """
        declared, inside = self.permissions.paths, PurePosixPath(path)
        if self._place.shared is None or not any(inside.is_relative_to(PurePosixPath(one)) for one in declared):
            allowed = ", ".join(declared) or "nothing"
            raise Forbidden(f"{path}: not among permissions.paths of extension {self.name!r} ({allowed})")
        shared = self._place.shared()
        folder = shared.root / shared.relative(path)
        folder.mkdir(parents=True, exist_ok=True)
        return ScopedFiles(folder)

    def fetch(self, url: str) -> Fetched:
        """What is behind a URL of a host that `permissions.hosts` declares; bounded in bytes and seconds.

        Errors: BadRequest (another host, a redirect to one, an address off the public internet, a failure), TooLarge.
        """
        put = f"put the file to {self._place.data}"
        way_out = replace(self._place.fetcher, hosts=self.permissions.hosts, by=self.name, put=put)
        return way_out.fetch(url)

    @property
    def settings(self) -> Any:
        """The validated `settings_model`; None without one."""
        return self._place.settings
