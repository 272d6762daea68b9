"""One SQLite file in WAL mode: many changes to a transaction, and a connection that reads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from easel.errors import DiskFull
from easel.streams.together import Together

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]


class Database:
    """Durable: what `write` returned from is on the disk (synchronous=FULL)."""

    def __init__(self, file: Path, schema: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._writer, self._writing = self._connect(), threading.Lock()
        self._together = Together(self._transaction)
        self._writer.executescript(schema)
        self._reader, self._reading = self._connect(), threading.Lock()

    def write(self, change: Change[T]) -> T:
        """Run `change` inside a transaction; an exception undoes this change alone. Any thread may run it.

        Errors: DiskFull, and what `change` raises.
        """
        try:
            return cast(T, self._together(change))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
                raise DiskFull from error
            raise

    def read(self, look: Change[T]) -> T:
        """Run `look` on the state after the last transaction."""
        with self._reading:
            return look(self._reader)

    def close(self) -> None:
        """Wait for what is being written, then close the file."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _transaction(self, changes: Sequence[Change[Any]]) -> list[object]:
        """What each change returned or raised. An error of the disk undoes all of them, and is raised."""
        db, alone, answers = self._writer, len(changes) == 1, list[object]()
        self._writing.acquire()
        try:
            db.execute("BEGIN IMMEDIATE")
            for change in changes:
                if not alone:
                    db.execute("SAVEPOINT change")
                try:
                    answers.append(change(db))
                except Exception as error:  # noqa: BLE001 -- belongs to who asked for it
                    answers.append(error)
                    db.execute("ROLLBACK" if alone else "ROLLBACK TO change")
                if not alone:
                    db.execute("RELEASE change")
            if db.in_transaction:
                db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._writing.release()
        return answers
