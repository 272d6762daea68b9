"""One SQLite file in WAL mode: many changes to a transaction, one of the threads that wait writes them all."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from easel.errors import DiskFull

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
_MOST = 256  # changes that share a transaction, and with it the wait for the disk


@dataclass(slots=True, eq=False)
class _Wish:
    """A change in line. The lock of the writer guards what comes of it."""

    change: Change[Any]
    done: bool = False
    value: object = None
    error: BaseException | None = None


class Database:
    """Durable: what `write` returned from is on the disk (synchronous=FULL)."""

    def __init__(self, file: Path, schema: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._writer, self._writing = self._connect(), threading.Lock()
        self._writer.executescript(schema)
        self._reader, self._reading = self._connect(), threading.Lock()
        self._line: deque[_Wish] = deque()

    def write(self, change: Change[T]) -> T:
        """Run `change` inside a transaction; an exception undoes this change alone. Any thread may run it.

        Errors: DiskFull, and what `change` raises.
        """
        wish = _Wish(change)
        self._line.append(wish)
        with self._writing:  # while one waits for the disk, the others get in line; the next one writes for them all
            while not wish.done:
                self._transaction([self._line.popleft() for _ in range(min(len(self._line), _MOST))])
        if isinstance(wish.error, sqlite3.OperationalError) and wish.error.sqlite_errorcode in (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR_WRITE,
        ):
            raise DiskFull from wish.error
        if wish.error is not None:
            raise wish.error
        return cast(T, wish.value)

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

    def _transaction(self, batch: list[_Wish]) -> None:
        db = self._writer
        alone = len(batch) == 1
        try:
            db.execute("BEGIN IMMEDIATE")
            for wish in batch:
                if not alone:
                    db.execute("SAVEPOINT change")
                try:
                    wish.value = wish.change(db)
                except Exception as error:  # noqa: BLE001 -- belongs to who asked for it
                    wish.error = error
                    db.execute("ROLLBACK" if alone else "ROLLBACK TO change")
                if not alone:
                    db.execute("RELEASE change")
            if db.in_transaction:
                db.execute("COMMIT")
        except BaseException as error:  # the disk is full, or gone: nothing of this transaction happened
            if db.in_transaction:
                db.execute("ROLLBACK")
            for wish in batch:
                wish.error = wish.error or error
            if not isinstance(error, sqlite3.Error):  # meant for this thread: Ctrl-C
                raise
        finally:
            for wish in batch:
                wish.done = True
