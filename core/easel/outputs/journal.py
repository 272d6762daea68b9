"""Which pictures an unfinished task has saved, so that one that fails for good leaves none behind."""

from __future__ import annotations

import json
from pathlib import Path


class Journal:
    """A small file for each unfinished task: the paths of its pictures, each noted before it is written.

    It outlives a process that is killed between two pictures. Job ids are hexadecimal, so they can name files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, job: str, path: str) -> None:
        """A picture is about to be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / job).open("a", encoding="utf-8") as file:
            file.write(json.dumps(path) + "\n")

    def paths(self, job: str) -> list[str]:
        """The pictures a task may have written; a line that was cut off belongs to a picture that was not."""
        try:
            lines = (self._folder / job).read_text("utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def forget(self, job: str) -> None:
        """The task has ended."""
        (self._folder / job).unlink(missing_ok=True)

    def jobs(self) -> list[str]:
        """Tasks that have a file."""
        return sorted(file.name for file in self._folder.iterdir()) if self._folder.is_dir() else []
