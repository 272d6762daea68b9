"""One SQLite file in WAL mode: a thread that writes, many changes to a transaction, and a connection that reads."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from easel.errors import DiskFull

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
_MOST = 256  # changes that share a transaction, and with it the wait for the disk


class Database:
    """Durable: what `write` returned from is on the disk (synchronous=FULL)."""

    def __init__(self, file: Path, schema: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        with self._connect() as connection:
            connection.executescript(schema)
        connection.close()
        self._reader, self._lock = self._connect(), threading.Lock()
        self._changes: queue.SimpleQueue[tuple[Change[object], Future[object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="easel-database", daemon=True)
        self._thread.start()

    def write(self, change: Change[T]) -> T:
        """Run `change` inside a transaction of the writing thread; an exception undoes this change alone.

        Errors: DiskFull, and what `change` raises.
        """
        promise: Future[T] = Future()
        self._changes.put((change, promise))  # type: ignore[arg-type]
        try:
            return promise.result()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
                raise DiskFull from error
            raise

    def read(self, look: Change[T]) -> T:
        """Run `look` on the state after the last transaction."""
        with self._lock:
            return look(self._reader)

    def close(self) -> None:
        """Write what is in line, then close the file."""
        self._changes.put(None)
        self._thread.join()
        with self._lock:
            self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _run(self) -> None:
        connection = self._connect()
        going = True
        while going:
            batch = [self._changes.get()]
            while len(batch) < _MOST and batch[-1] is not None:
                try:
                    batch.append(self._changes.get_nowait())
                except queue.Empty:
                    break
            going = batch[-1] is not None
            self._transaction(connection, [one for one in batch if one is not None])
        connection.close()

    def _transaction(self, connection: sqlite3.Connection, batch: list[tuple[Change[object], Future[object]]]) -> None:
        if not batch:
            return
        kept: list[tuple[Future[object], object]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change, promise in batch:
                connection.execute("SAVEPOINT change")
                try:
                    kept.append((promise, change(connection)))
                except Exception as error:  # noqa: BLE001 -- belongs to who asked for it
                    connection.execute("ROLLBACK TO change")
                    promise.set_exception(error)
                connection.execute("RELEASE change")
            connection.execute("COMMIT")
        except sqlite3.Error as error:  # the disk is full, or gone: nothing of this transaction happened
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for _, promise in batch:
                if not promise.done():
                    promise.set_exception(error)
            return
        for promise, value in kept:
            promise.set_result(value)
