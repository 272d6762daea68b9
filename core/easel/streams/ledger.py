"""The ledger in the service's database: a line a job, a row a worker's shift; asked by user, project, service, time.

Lines of tasks are written in the transaction that ends them (`SqliteStore.finish`), all others by `Ledger.enter`.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from easel.streams.database import Database
from easel.values.ledger import ENGINE, Line, Rate, Shift, Sum, Wanted

log = logging.getLogger("easel.ledger")
SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger(
  job TEXT PRIMARY KEY, service TEXT, user TEXT, project TEXT, status INTEGER, attempts INTEGER, seconds TEXT,
  ended REAL);
CREATE INDEX IF NOT EXISTS ledger_by_time ON ledger(ended);
CREATE TABLE IF NOT EXISTS shifts(
  worker TEXT PRIMARY KEY, service TEXT, began REAL, ended REAL, over INTEGER, start REAL, busy REAL, idle REAL,
  charged REAL) WITHOUT ROWID;
"""
# What the table has got since its first version, and what older lines have there.
_LATER = {
    "kind": "TEXT DEFAULT ''", "state": "TEXT DEFAULT ''", "model": "TEXT DEFAULT ''", "pictures": "INTEGER DEFAULT 0",
    "work": "REAL DEFAULT 0", "created": "REAL DEFAULT 0",
}  # fmt: skip
_COLUMNS = [one.name for one in fields(Line)]
GROUPS: Final = ("user", "project", "service", "kind", "model", "state", "day")
PATIENCE = 1.0  # seconds that a job's end waits for its line to be on the disk
_AGAIN = 1.0  # seconds until a database that failed is tried again
_MEASURED = 50  # jobs of a model that a rate is made of: the latest


def migrate(db: sqlite3.Connection) -> None:
    """Give an older ledger what it lacks."""
    there = {row[1] for row in db.execute("PRAGMA table_info(ledger)")}
    for name, kind in _LATER.items():
        if name not in there:
            db.execute(f"ALTER TABLE ledger ADD COLUMN {name} {kind}")
    if "state" not in there:
        db.execute("UPDATE ledger SET state=CASE status WHEN 0 THEN 'done' ELSE 'failed' END")


def enter_line(db: sqlite3.Connection, line: Line) -> None:
    """Inside a transaction: write a line; one of the same job is replaced."""
    row = {name: getattr(line, name) for name in _COLUMNS} | {"seconds": json.dumps(dict(line.seconds))}
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT OR REPLACE INTO ledger({', '.join(row)}) VALUES({marks})", tuple(row.values()))


def newest(db: sqlite3.Connection, wanted: Wanted, limit: int) -> list[Line]:
    """Lines, the newest first."""
    where, values = _where(wanted)
    sql = f"SELECT {', '.join(_COLUMNS)} FROM ledger WHERE {where} ORDER BY ended DESC, job LIMIT ?"
    rows = (dict(zip(_COLUMNS, row, strict=True)) for row in db.execute(sql, (*values, limit)))
    return [Line(**{**row, "seconds": json.loads(row["seconds"])}) for row in rows]


class Ledger:
    """Thread-safe. A line is on the disk when `enter` returns; a disk that fails delays it, and nobody else."""

    def __init__(self, file: Path) -> None:
        """`file`: the service's database, opened when it is first needed."""
        self._file = file
        self._opened: Database | None = None
        self._lock = threading.Lock()
        self._entries: SimpleQueue[tuple[Line | Shift, threading.Event] | None] = SimpleQueue()
        self._writer: threading.Thread | None = None

    def enter(self, *entries: Line | Shift, patience: float = PATIENCE) -> None:
        """Write lines and shifts; returns when they are on the disk, or after `patience` seconds, if that fails."""
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="easel-ledger", daemon=True)
                self._writer.start()
        written = [(one, threading.Event()) for one in entries]
        for pair in written:
            self._entries.put(pair)
        for _, event in written:
            event.wait(patience)

    def lines(self, wanted: Wanted, *, limit: int) -> list[Line]:
        """The newest lines, the newest first."""
        return self._db.read(lambda db: newest(db, wanted, limit))

    def sums(self, by: str, wanted: Wanted) -> list[Sum]:
        """Lines together by one of `GROUPS`, the dearest first."""
        group = "strftime('%Y-%m-%d', ended, 'unixepoch')" if by == "day" else by
        if by not in GROUPS:
            raise ValueError(by)
        where, values = _where(wanted)
        sql = f"SELECT {group}, state<>'lost', pictures, seconds FROM ledger WHERE {where}"

        def look(db: sqlite3.Connection) -> list[Sum]:
            counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
            seconds: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
            for name, whole, pictures, told in db.execute(sql, values):
                name = name or ""
                counts[name][0] += whole
                counts[name][1] += pictures
                for part, spent in json.loads(told).items():
                    seconds[name][part] += spent
            return [
                Sum(name=name, jobs=jobs, pictures=pictures, seconds=dict(seconds[name]))
                for name, (jobs, pictures) in counts.items()
            ]

        found = self._db.read(look)
        return sorted(found, key=lambda one: (-sum(one.seconds.get(part, 0.0) for part in ENGINE), one.name))

    def shifts(self, wanted: Wanted) -> list[Shift]:
        """Workers' shifts that reach into the time, the newest first; whole ones, also where they began before it."""
        sql = (
            "SELECT worker, service, began, ended, over, start, busy, idle, charged FROM shifts "
            "WHERE service=coalesce(?, service) AND ended>=coalesce(?, 0) AND began<coalesce(?, 1e300) "
            "ORDER BY began DESC"
        )
        values = (wanted.service, wanted.since, wanted.until)
        names = [one.name for one in fields(Shift)]
        rows = self._db.read(lambda db: db.execute(sql, values).fetchall())
        return [Shift(**{**dict(zip(names, row, strict=True)), "over": bool(row[4])}) for row in rows]

    def rate(self, model: str) -> Rate | None:
        """What the latest jobs of a model measured; None: none of them is known."""
        sql = (
            "SELECT seconds, work, pictures FROM ledger WHERE model=? AND state='done' AND work>0 AND pictures>0 "
            "ORDER BY ended DESC LIMIT ?"
        )
        rows = self._db.read(lambda db: db.execute(sql, (model, _MEASURED)).fetchall())
        if not rows:
            return None
        told = [json.loads(row[0]) for row in rows]
        besides = sum(one.get(part, 0.0) for one in told for part in ("encode", "decode", "compute"))
        loads = [one["load"] for one in told if one.get("load", 0.0) > 0.1]  # the others found it in memory
        return Rate(
            jobs=len(rows),
            denoise=sum(one.get("denoise", 0.0) for one in told) / sum(row[1] for row in rows),
            picture=besides / sum(row[2] for row in rows),
            load=sum(loads) / len(loads) if loads else 0.0,
        )

    def close(self) -> None:
        """Write what waits, if it can be written, and close the file."""
        with self._lock:
            writer, self._writer = self._writer, None
        if writer is not None:
            self._entries.put(None)
            writer.join(10 * PATIENCE)
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    @property
    def _db(self) -> Database:
        with self._lock:
            if self._opened is None:
                self._opened = Database(self._file, SCHEMA)
                self._opened.write(migrate)
            return self._opened

    def _write(self) -> None:
        """All entries that wait, in one transaction, until none comes any more."""
        closing = False
        while not closing:
            batch = [self._entries.get()]
            while not self._entries.empty():
                batch.append(self._entries.get())
            closing = None in batch
            entries = [pair for pair in batch if pair is not None]
            while not self._written([entry for entry, _ in entries]):
                if closing:
                    log.error("%d entries of the ledger are lost: the database cannot be written", len(entries))
                    break
                threading.Event().wait(_AGAIN)
            for _, event in entries:
                event.set()

    def _written(self, entries: Sequence[Line | Shift]) -> bool:
        def change(db: sqlite3.Connection) -> None:
            for entry in entries:
                if isinstance(entry, Line):
                    enter_line(db, entry)
                else:
                    db.execute("INSERT OR REPLACE INTO shifts VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(entry))

        try:
            self._db.write(change)
        except Exception:  # whatever a database says: the lines wait until it is well
            log.exception("the ledger cannot be written now")
            return False
        return True


def _where(wanted: Wanted) -> tuple[str, list[Any]]:
    """A condition, and its values."""
    pairs = list(_conditions(wanted))
    return " AND ".join(("1", *(condition for condition, _ in pairs))), [value for _, value in pairs]


def _conditions(wanted: Wanted) -> Iterator[tuple[str, Any]]:
    for name in ("user", "project", "service"):
        if (value := getattr(wanted, name)) is not None:
            yield f"{name}=?", value
    if wanted.since is not None:
        yield "ended>=?", wanted.since
    if wanted.until is not None:
        yield "ended<?", wanted.until
