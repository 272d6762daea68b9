"""The class an extension's package derives from; hook methods are marked with `hookimpl`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an extension lives and what it was given: made by the loader, not by authors."""

    name: str
    folder: Path  # its code, read only
    data: Path  # a folder of its own for files it writes; made when first asked for
    settings: Any = None


class Extension:
    """An extension: hook methods, and state on the instance only.

    `settings_model` is a pydantic model with defaults for every field; its values come from the environment,
    `EASEL_EXT_<NAME>__<FIELD>`. One instance is made each time the extension is switched on.
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
    def settings(self) -> Any:
        """The validated `settings_model`; None without one."""
        return self._place.settings
