"""Passwords: hashed with argon2, compared in the same time whether or not there is such a user."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_REMEMBERED = 256


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # when the first password comes: a service with tokens alone needs none

    return PasswordHasher()


def hashed(password: str) -> str:
    """What is kept of a password."""
    return _hasher().hash(password)


class Passwords:
    """Compares passwords. HTTP Basic sends one with every call: of those that were right a keyed digest is remembered,
    so that only the first comparison takes argon2's time."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self._nobody = ""

    def same(self, password: str, kept: str) -> bool:
        """Is it the password of that hash? An empty hash is nobody's, and takes as long to refuse."""
        digest = hmac.new(self._key, f"{kept}\0{password}".encode(), hashlib.sha256).digest()
        with self._lock:
            if kept and digest in self._right:
                self._right.move_to_end(digest)
                return True
        from argon2.exceptions import Argon2Error, InvalidHashError

        self._nobody = self._nobody or hashed(secrets.token_hex())
        try:
            _hasher().verify(kept or self._nobody, password)
        except (Argon2Error, InvalidHashError):
            return False
        if not kept:
            return False
        with self._lock:
            self._right[digest] = None
            while len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
        return True
