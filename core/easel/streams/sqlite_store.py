"""Streams in the service's own SQLite file: durable, for one gateway."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from easel.killpoints import killpoint
from easel.streams import ledger
from easel.streams.database import Database
from easel.streams.items import REQUEST_ID, Call, Facts, Interest, Item, KeyUsedOtherwise, Place, StreamFull
from easel.streams.store import Outcome, Put
from easel.values.ledger import Line, Wanted

_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams(
  name TEXT PRIMARY KEY, capacity INTEGER, owner TEXT, given INTEGER DEFAULT 0, length INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items(
  stream TEXT, idx INTEGER, priority INTEGER, tags TEXT, call TEXT, data BLOB, PRIMARY KEY(stream, idx));
CREATE INDEX IF NOT EXISTS urgent ON items(stream, priority, idx) WHERE priority > 0;
CREATE TABLE IF NOT EXISTS deliveries( -- of items that some group has, had, or is done with
  stream TEXT, idx INTEGER, grp TEXT, state INTEGER, consumer TEXT, count INTEGER,
  PRIMARY KEY(stream, idx, grp)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS standing ON deliveries(stream, grp, state, idx);
CREATE TABLE IF NOT EXISTS cursors( -- up to where a group's consumers of one scope were given a priority's items
  stream TEXT, grp TEXT, scope TEXT, priority INTEGER, idx INTEGER,
  PRIMARY KEY(stream, grp, scope, priority)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys(
  stream TEXT, key TEXT, fingerprint TEXT, idx INTEGER, request TEXT, PRIMARY KEY(stream, key)) WITHOUT ROWID;
"""
_PENDING, _RETURNED, _DONE = 0, 1, 2  # deliveries.state
_KEYS_KEPT = 100_000  # of a stream: the oldest are forgotten
_SET_CURSOR = "INSERT INTO cursors VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET idx=excluded.idx"
_ITEM = "i.idx, i.data, i.tags, i.priority, i.call"


class SqliteStore:
    """A `StreamStore`; see there."""

    name, shared = "sqlite", False

    def __init__(self, file: Path) -> None:
        """`file`: the service's database, made when it is missing."""
        self._db = Database(file, _SCHEMA + ledger.SCHEMA)
        self._db.write(ledger.migrate)
        self._here: dict[str, dict[tuple[str, str], Interest]] = {}  # by stream, then group and name
        self._watchers: list[Callable[[str], None]] = []
        self._lock = threading.Lock()

    def open(self, stream: str, *, capacity: int, owner: str = "") -> None:
        """See `StreamStore`."""

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO streams(name, capacity, owner) VALUES(?, ?, ?) "
                "ON CONFLICT(name) DO UPDATE SET capacity=excluded.capacity, owner=excluded.owner",
                (stream, capacity, owner),
            )
            db.execute(
                "UPDATE deliveries SET state=? WHERE stream=? AND state=?", (_RETURNED, stream, _PENDING)
            )  # those who held them are gone with the process they spoke to

        self._db.write(change)
        self._here.setdefault(stream, {})

    def put(self, stream: str, item: Put) -> tuple[int, str]:
        """See `StreamStore`."""
        placed = self._db.write(lambda db: _put(db, stream, item))
        self._tell(stream)
        return placed

    def read(self, stream: str, *, start: int = 0, count: int = 1, tags: Mapping[str, str] | None = None) -> list[Item]:
        """See `StreamStore`."""
        where, values = _tagged(tags)
        sql = f"SELECT {_ITEM} FROM items i WHERE i.stream=? AND i.idx>=?{where} ORDER BY i.idx LIMIT ?"
        return self._db.read(lambda db: [_item(row) for row in db.execute(sql, (stream, start, *values, count))])

    def delete(self, stream: str, indexes: Sequence[int]) -> None:
        """See `StreamStore`."""
        self._db.write(lambda db: _remove(db, stream, indexes))
        self._tell(stream)

    def truncate(self, stream: str, below: int) -> None:
        """See `StreamStore`."""

        def change(db: sqlite3.Connection) -> None:
            gone = db.execute("DELETE FROM items WHERE stream=? AND idx<?", (stream, below)).rowcount
            db.execute("DELETE FROM deliveries WHERE stream=? AND idx<?", (stream, below))
            db.execute("UPDATE streams SET length=length-? WHERE name=?", (gone, stream))

        self._db.write(change)
        self._tell(stream)

    def facts(self, stream: str) -> Facts:
        """See `StreamStore`."""
        sql = (
            "SELECT length, given, (SELECT min(idx) FROM items WHERE stream=s.name), "
            "(SELECT max(idx) FROM items WHERE stream=s.name) FROM streams s WHERE name=?"
        )
        length, given, first, last = self._db.read(lambda db: db.execute(sql, (stream,)).fetchone())
        return Facts(length=length, first=first or 0, last=last or given, given=given)

    def count(self, stream: str, *, priority: int | None = None, tags: Mapping[str, str] | None = None) -> int:
        """See `StreamStore`."""
        if priority is None and not tags:
            return self.facts(stream).length
        where, values = _tagged(tags)
        if priority is not None:
            where, values = f"{where} AND i.priority=?", [*values, priority]
        sql = f"SELECT count(*) FROM items i WHERE i.stream=?{where}"
        found: int = self._db.read(lambda db: db.execute(sql, (stream, *values)).fetchone()[0])
        return found

    def join(self, stream: str, who: Interest) -> None:
        """See `StreamStore`."""
        with self._lock:
            self._here[stream][who.group, who.consumer] = who

    def leave(self, stream: str, who: Interest) -> None:
        """See `StreamStore`."""
        with self._lock:
            self._here[stream].pop((who.group, who.consumer), None)
            last = not any(group == who.group for group, _ in self._here[stream])

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE deliveries SET state=? WHERE stream=? AND grp=? AND state=? AND consumer=?",
                (_RETURNED, stream, who.group, _PENDING, who.consumer),
            )
            if last:  # it pins nothing any more
                db.execute("DELETE FROM cursors WHERE stream=? AND grp=? AND scope<>''", (stream, who.group))
                if not _owner(db, stream):
                    done = db.execute("SELECT DISTINCT idx FROM deliveries WHERE stream=? AND state=?", (stream, _DONE))
                    self._remove_unneeded(db, stream, [idx for (idx,) in done.fetchall()])

        self._db.write(change)
        self._tell(stream)

    def alive(self, stream: str, who: Interest) -> None:
        """See `StreamStore`; here the only gateway knows who is connected to it."""

    def consumers(self, stream: str) -> list[Interest]:
        """See `StreamStore`."""
        with self._lock:
            return list(self._here[stream].values())

    def claim(self, stream: str, who: Interest, window: int) -> list[Item]:
        """See `StreamStore`."""
        return self._db.write(lambda db: _claim(db, stream, who, window))

    def held(self, stream: str, who: Interest) -> list[int]:
        """See `StreamStore`."""
        sql = "SELECT idx FROM deliveries WHERE stream=? AND grp=? AND state=? AND consumer=? ORDER BY idx"
        rows = self._db.read(lambda db: db.execute(sql, (stream, who.group, _PENDING, who.consumer)).fetchall())
        return [idx for (idx,) in rows]

    def commit(self, stream: str, group: str, indexes: Sequence[int]) -> None:
        """See `StreamStore`."""

        def change(db: sqlite3.Connection) -> None:
            owner = _owner(db, stream)
            others = any(one.group != group for one in self.consumers(stream))
            if group == owner or (not owner and not others):
                _remove(db, stream, indexes)
                return
            db.executemany(
                "INSERT INTO deliveries SELECT stream, idx, ?, ?, '', 0 FROM items WHERE stream=? AND idx=? "
                "ON CONFLICT DO UPDATE SET state=excluded.state",
                [(group, _DONE, stream, index) for index in indexes],
            )
            if not owner:
                self._remove_unneeded(db, stream, indexes)

        self._db.write(change)
        self._tell(stream)

    def release(self, stream: str, group: str, indexes: Sequence[int], *, counted: bool = True) -> None:
        """See `StreamStore`."""
        self._db.write(
            lambda db: db.executemany(
                "UPDATE deliveries SET state=?, count=count-? WHERE stream=? AND idx=? AND grp=? AND state=?",
                [(_RETURNED, not counted, stream, index, group, _PENDING) for index in indexes],
            )
        )
        self._tell(stream)

    def place(self, stream: str, index: int, group: str) -> Place | None:
        """See `StreamStore`."""
        return self._db.read(lambda db: _place(db, stream, index, group))

    def finish(self, stream: str, task: Item, sink: str, outcome: Outcome) -> bool:
        """See `StreamStore`."""

        def change(db: sqlite3.Connection) -> bool:
            current = db.execute(
                "SELECT 1 FROM deliveries JOIN streams ON name=stream AND owner=grp "
                "WHERE stream=? AND idx=? AND state=? AND count=?",
                (stream, task.index, _PENDING, task.deliveries),
            ).fetchone()
            if current is None:
                return False
            if outcome.dead:
                _put(db, f"{stream}/rear", Put(data=task.data, tags=task.tags, call=task.call), within=False)
            _remove(db, stream, [task.index])
            if outcome.result is not None:
                _put(db, sink, outcome.result, within=False)
            ledger.enter_line(db, outcome.line)
            killpoint("finishing")
            return True

        ended = self._db.write(change)
        for name in (stream, sink):
            self._tell(name)
        return ended

    def ledger(self, *, limit: int = 1000) -> list[Line]:
        """See `StreamStore`."""
        return self._db.read(lambda db: ledger.newest(db, Wanted(), limit))

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """See `StreamStore`."""
        self._watchers = [*self._watchers, changed]

        def end() -> None:
            self._watchers = [one for one in self._watchers if one is not changed]

        return end

    def close(self) -> None:
        """See `StreamStore`."""
        self._db.close()

    def _tell(self, stream: str) -> None:
        for changed in self._watchers:
            changed(stream)

    def _remove_unneeded(self, db: sqlite3.Connection, stream: str, indexes: Sequence[int]) -> None:
        """Of items that some group is done with, those that no other group with a consumer waits for."""
        here = self.consumers(stream)
        gone = []
        for index in indexes:
            row = db.execute("SELECT tags FROM items WHERE stream=? AND idx=?", (stream, index)).fetchone()
            if row is None:
                continue
            sql = "SELECT grp FROM deliveries WHERE stream=? AND idx=? AND state=?"
            done = {group for (group,) in db.execute(sql, (stream, index, _DONE))}
            tags = json.loads(row[0])
            if not any(one.group not in done and one.wants(index, tags) for one in here):
                gone.append(index)
        _remove(db, stream, gone)


def _owner(db: sqlite3.Connection, stream: str) -> str:
    owner: str = db.execute("SELECT owner FROM streams WHERE name=?", (stream,)).fetchone()[0]
    return owner


def _put(db: sqlite3.Connection, stream: str, item: Put, *, within: bool = True) -> tuple[int, str]:
    request = item.tags[REQUEST_ID]
    if item.key:
        sql = "SELECT idx, request, fingerprint FROM keys WHERE stream=? AND key=?"
        if (known := db.execute(sql, (stream, item.key)).fetchone()) is not None:
            if known[2] != item.fingerprint:
                raise KeyUsedOtherwise("was used for another request", field="Idempotency-Key", value=item.key)
            return known[0], known[1]
    sql = "UPDATE streams SET given=given+1, length=length+1 WHERE name=? AND (length<capacity OR ?) RETURNING given"
    row = db.execute(sql, (stream, not within)).fetchone()
    if row is None:
        raise StreamFull
    index: int = row[0]
    call = item.call.text() if item.call else ""
    tags = json.dumps(dict(item.tags), ensure_ascii=False)
    db.execute("INSERT INTO items VALUES(?, ?, ?, ?, ?, ?)", (stream, index, item.priority, tags, call, item.data))
    if item.key:
        db.execute("INSERT INTO keys VALUES(?, ?, ?, ?, ?)", (stream, item.key, item.fingerprint, index, request))
    if index % 1000 == 0:
        db.execute("DELETE FROM keys WHERE stream=? AND idx<?", (stream, index - _KEYS_KEPT))
    return index, request


def _claim(db: sqlite3.Connection, stream: str, who: Interest, window: int) -> list[Item]:
    sql = "SELECT count(*) FROM deliveries WHERE stream=? AND grp=? AND state=? AND consumer=?"
    room = window - db.execute(sql, (stream, who.group, _PENDING, who.consumer)).fetchone()[0]
    if room <= 0:
        return []
    where, values = _tagged(who.tags)
    rows = db.execute(
        f"SELECT {_ITEM} FROM deliveries d JOIN items i ON i.stream=d.stream AND i.idx=d.idx "
        f"WHERE d.stream=? AND d.grp=? AND d.state=? AND i.idx>=?{where} ORDER BY i.priority DESC, i.idx LIMIT ?",
        (stream, who.group, _RETURNED, who.start, *values, room),
    ).fetchall()
    fresh: list[Any] = []
    for priority in _priorities(db, stream):
        fresh += _fresh(db, stream, who, priority, room - len(fresh))
        if len(fresh) == room:
            break
    chosen = sorted(rows + fresh, key=lambda row: (-row[3], row[0]))[:room]
    _move_cursors(db, stream, who, fresh, {row[0] for row in chosen})
    counts = {
        row[0]: db.execute(
            "INSERT INTO deliveries VALUES(?, ?, ?, ?, ?, 1) "
            "ON CONFLICT DO UPDATE SET state=excluded.state, consumer=excluded.consumer, count=count+1 RETURNING count",
            (stream, row[0], who.group, _PENDING, who.consumer),
        ).fetchone()[0]
        for row in chosen
    }
    return [_item(row, counts[row[0]]) for row in chosen]


def _priorities(db: sqlite3.Connection, stream: str) -> Iterator[int]:
    """The priorities that items have, highest first; each is one step into the index."""
    level: int | None = 1 << 62
    while level is not None and level > 0:
        sql = "SELECT max(priority) FROM items WHERE stream=? AND priority>0 AND priority<?"
        level = db.execute(sql, (stream, level)).fetchone()[0]
        if level is not None:
            yield level
    yield 0


def _fresh(db: sqlite3.Connection, stream: str, who: Interest, priority: int, count: int) -> list[Any]:
    """Rows of a priority that the group was never given, from its cursor on."""
    where, values = _tagged(who.tags)
    sql = "SELECT idx FROM cursors WHERE stream=? AND grp=? AND scope=? AND priority=?"
    cursor = db.execute(sql, (stream, who.group, who.scope, priority)).fetchone() or (0,)
    rows = db.execute(
        f"SELECT {_ITEM} FROM items i WHERE i.stream=? AND i.priority=? {'AND i.priority>0' if priority else ''} "
        f"AND i.idx>? AND i.idx>=?{where} AND NOT EXISTS "
        "(SELECT 1 FROM deliveries d WHERE d.stream=i.stream AND d.idx=i.idx AND d.grp=?) ORDER BY i.idx LIMIT ?",
        (stream, priority, cursor[0], who.start, *values, who.group, count),
    ).fetchall()
    if not rows and who.scope:  # what is there is not wanted: not to be looked at again
        (given,) = db.execute("SELECT given FROM streams WHERE name=?", (stream,)).fetchone()
        if given > cursor[0]:
            db.execute(_SET_CURSOR, (stream, who.group, who.scope, priority, given))
    return rows


def _move_cursors(db: sqlite3.Connection, stream: str, who: Interest, fresh: list[Any], chosen: set[int]) -> None:
    """Behind the last fresh row of each priority that was chosen: chosen ones are always the first of their line."""
    reached: dict[int, int] = {}
    for row in fresh:
        if row[0] in chosen:
            reached[row[3]] = row[0]
    db.executemany(
        _SET_CURSOR,
        [(stream, who.group, who.scope, priority, index) for priority, index in reached.items()],
    )


def _remove(db: sqlite3.Connection, stream: str, indexes: Sequence[int]) -> None:
    gone = 0
    for index in indexes:
        gone += db.execute("DELETE FROM items WHERE stream=? AND idx=?", (stream, index)).rowcount
        db.execute("DELETE FROM deliveries WHERE stream=? AND idx=?", (stream, index))
    db.execute("UPDATE streams SET length=length-? WHERE name=?", (gone, stream))


def _place(db: sqlite3.Connection, stream: str, index: int, group: str) -> Place | None:
    item = db.execute("SELECT priority FROM items WHERE stream=? AND idx=?", (stream, index)).fetchone()
    if item is None:
        return None
    holder = db.execute(
        "SELECT grp, consumer FROM deliveries JOIN streams ON name=stream "
        "WHERE stream=? AND idx=? AND state=? AND grp IN (?, owner)",
        (stream, index, _PENDING, group),
    ).fetchone()
    if holder is not None:
        return Place(holder=".".join(holder))
    ahead = db.execute(
        "SELECT count(*) FROM items i JOIN streams s ON s.name=i.stream WHERE i.stream=? AND "
        "(i.priority>? OR (i.priority=? AND i.idx<?)) AND NOT EXISTS (SELECT 1 FROM deliveries d "
        "WHERE d.stream=i.stream AND d.idx=i.idx AND d.grp IN (?, s.owner) AND d.state<>?)",
        (stream, item[0], item[0], index, group, _RETURNED),
    ).fetchone()[0]
    return Place(ahead=ahead)


def _tagged(tags: Mapping[str, str] | None) -> tuple[str, list[Any]]:
    """A condition on `i.tags`, and its values."""
    pairs = list((tags or {}).items())
    one = " AND EXISTS (SELECT 1 FROM json_each(i.tags) t WHERE t.key=? AND t.value=?)"
    return one * len(pairs), [text for pair in pairs for text in pair]


def _item(row: Any, deliveries: int = 0) -> Item:
    index, data, tags, priority, call = row
    return Item(
        index=index,
        data=bytes(data),
        tags=json.loads(tags),
        priority=priority,
        call=Call.read(call),
        deliveries=deliveries,
    )
