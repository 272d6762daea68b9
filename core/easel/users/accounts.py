"""All users, in the state folder's database: read anew for every call, so that what is changed counts at once."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Collection
from dataclasses import asdict, fields
from pathlib import Path

from easel.errors import BadRequest, Conflict, UnknownName
from easel.streams.database import Database
from easel.users.account import Account, Limits, check_name
from easel.users.passwords import hashed

DATABASE = "easel.db"  # in the state folder
_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, admin INTEGER NOT NULL, enabled INTEGER NOT NULL, password TEXT NOT NULL,
    token TEXT NOT NULL, stamp TEXT NOT NULL, left_out TEXT NOT NULL, limits TEXT NOT NULL, created REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS users_token ON users (token);
CREATE TABLE IF NOT EXISTS user_work (
    name TEXT NOT NULL, hour INTEGER NOT NULL, jobs INTEGER NOT NULL, work REAL NOT NULL, PRIMARY KEY (name, hour)
) STRICT;
"""
_COLUMNS = "name, admin, enabled, stamp, left_out, limits"
_LEAST = 8  # characters of a password


class Accounts:
    """The users of one service. Thread-safe; other processes may change them meanwhile."""

    def __init__(self, state_dir: Path) -> None:
        self._db = Database(state_dir / DATABASE, _SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Looking

    def all(self) -> tuple[Account, ...]:
        """By name."""
        rows = self._db.read(lambda db: db.execute(f"SELECT {_COLUMNS} FROM users ORDER BY name").fetchall())
        return tuple(map(_account, rows))

    def find(self, name: str) -> Account | None:
        """The user of that name."""
        row = self._db.read(lambda db: db.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,)).fetchone())
        return _account(row) if row else None

    def of_token(self, token: str) -> Account | None:
        """Whose token that is. It is looked up by its digest, so the time that takes tells nothing about it."""
        digest = _digest(token)
        row = self._db.read(
            lambda db: db.execute(f"SELECT {_COLUMNS} FROM users WHERE token = ?", (digest,)).fetchone()
        )
        return _account(row) if row else None

    def password_of(self, name: str) -> str:
        """The hash of a user's password; "" for nobody, and for who has none."""
        row = self._db.read(lambda db: db.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone())
        return str(row[0]) if row else ""

    # Changing

    def add(self, name: str, *, admin: bool = False, password: str = "") -> str:
        """A new user; their token, which is kept as a digest only. Errors: BadRequest, Conflict."""
        check_name(name)
        token, kept = secrets.token_urlsafe(32), _checked(password) if password else ""

        def insert(db: sqlite3.Connection) -> None:
            values = (name, admin, True, kept, _digest(token), secrets.token_hex(8), "[]", "{}", time.time())
            try:
                db.execute(f"INSERT INTO users VALUES ({','.join('?' * len(values))})", values)
            except sqlite3.IntegrityError:
                raise Conflict("there is a user of that name", field="name", value=name) from None

        self._db.write(insert)
        return token

    def new_token(self, name: str) -> str:
        """Another token; the one before, and whoever is logged in, count no more. Errors: UnknownName."""
        token = secrets.token_urlsafe(32)
        self._set(name, token=_digest(token), stamp=secrets.token_hex(8))
        return token

    def set_password(self, name: str, password: str) -> None:
        """Another password; whoever is logged in must do so again. Errors: UnknownName, BadRequest."""
        self._set(name, password=_checked(password), stamp=secrets.token_hex(8))

    def enable(self, name: str, on: bool) -> None:
        """Let in, or shut out at once. Errors: UnknownName, Conflict (nobody would be left to operate)."""
        if not on:
            self._refuse_last_operator(name)
        self._set(name, enabled=int(on), stamp=secrets.token_hex(8))

    def remove(self, name: str) -> None:
        """Forget a user; their folder stays for an operator to look at. Errors: UnknownName, Conflict."""
        self._known(name)
        self._refuse_last_operator(name)

        def delete(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM users WHERE name = ?", (name,))
            db.execute("DELETE FROM user_work WHERE name = ?", (name,))

        self._db.write(delete)

    def limit(self, name: str, limits: Limits) -> None:
        """Other limits. Errors: UnknownName, BadRequest."""
        for one in fields(limits):
            if (value := getattr(limits, one.name)) < 0:
                raise BadRequest("below 0", field=one.name, value=value, allowed="0 (any amount) or more")
        self._set(name, limits=json.dumps(asdict(limits)))

    def leave_out(self, name: str, extensions: Collection[str]) -> None:
        """The extensions that a user does without. Errors: UnknownName."""
        self._set(name, left_out=json.dumps(sorted(extensions)))

    # What was done lately

    def charge(self, account: Account, jobs: int, work: float) -> str:
        """Count jobs and their work, unless that is beyond a limit: then nothing is counted, and which one is told."""
        limits, hour = account.limits, int(time.time() // 3600)

        def count(db: sqlite3.Connection) -> str:
            sums = "SELECT coalesce(sum(jobs), 0), coalesce(sum(work), 0) FROM user_work WHERE name = ? AND hour > ?"
            hourly, _ = db.execute(sums, (account.name, hour - 1)).fetchone()
            daily, worked = db.execute(sums, (account.name, hour - 24)).fetchone()
            for name, used, more in (
                ("jobs_hour", hourly, jobs),
                ("jobs_day", daily, jobs),
                ("work_day", worked, work),
            ):
                if (most := getattr(limits, name)) and used + more > most:
                    return f"{name}: {most} (used: {used:g}, asked for: {more:g})"
            db.execute("DELETE FROM user_work WHERE hour <= ?", (hour - 24,))
            db.execute(
                "INSERT INTO user_work VALUES (?, ?, ?, ?) ON CONFLICT (name, hour) "
                "DO UPDATE SET jobs = jobs + excluded.jobs, work = work + excluded.work",
                (account.name, hour, jobs, work),
            )
            return ""

        return self._db.write(count)

    # Inside

    def _set(self, name: str, **columns: object) -> None:
        self._known(name)
        told = ", ".join(f"{column} = ?" for column in columns)
        self._db.write(lambda db: db.execute(f"UPDATE users SET {told} WHERE name = ?", (*columns.values(), name)))

    def _known(self, name: str) -> Account:
        if (account := self.find(name)) is None:
            raise UnknownName.among("name", name, [one.name for one in self.all()])
        return account

    def _refuse_last_operator(self, name: str) -> None:
        others = [one for one in self.all() if one.admin and one.enabled and one.name != name]
        if self._known(name).admin and not others:
            raise Conflict("is the only operator: make another one first", field="name", value=name)


def _account(row: tuple[str, int, int, str, str, str]) -> Account:
    name, admin, enabled, stamp, left_out, limits = row
    return Account(
        name=name,
        admin=bool(admin),
        enabled=bool(enabled),
        stamp=stamp,
        left_out=frozenset(json.loads(left_out)),
        limits=Limits(**json.loads(limits)),
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _checked(password: str) -> str:
    if len(password) < _LEAST:
        raise BadRequest("too short", field="password", value="…", allowed=f"{_LEAST} characters or more")
    return hashed(password)
