"""One person's files, as they see them and as the file manager does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from easel import Forbidden, ScopedFiles

HIDDEN = ".filebrowser"  # the file manager's own folder among a person's files: the trash


@dataclass(frozen=True)
class Space:
    """The files of `owner` (the name of a user): all of them, and those that the owner can name."""

    owner: str
    all: ScopedFiles
    changed: Callable[..., None]  # told the paths of what came, went or moved
    shown: ScopedFiles = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", self.all.without(HIDDEN))

    def size(self, path: str) -> int:
        """Bytes of a file, or of all that can be seen in a folder."""
        entry = self.shown.stat(path)
        return sum(one.size for _, one in self.shown.walk(path)) if entry.folder else entry.size

    def named(self, path: str) -> str:
        """`path` in one spelling. Errors: Forbidden, for absolute ones too: nobody shall guess where the data is."""
        if path.startswith("/"):
            raise Forbidden(f"{path!r} is not below this folder")
        return self.shown.relative(path)
