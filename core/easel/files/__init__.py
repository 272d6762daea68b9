"""A file system that cannot be left: everything a user can name a path for goes through `ScopedFiles`."""

from easel.files.scoped import FileEntry, ScopedFiles

__all__ = ["FileEntry", "ScopedFiles"]
