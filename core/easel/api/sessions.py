"""Who has shown their token or password once, at `/login`: a signed cookie that scripts cannot read.

The cookie names the user and when it ends, and is signed with a key of this server's own, kept in the state folder. It
counts for a changing call only when the call comes from our own pages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers

COOKIE = "easel-session"
SECONDS = 30 * 24 * 3600
SAFE = ("GET", "HEAD", "OPTIONS")

_FORM = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Easel: log in</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; color-scheme: light dark }}
 form {{ display: grid; gap: .6rem; width: 18rem }}
 input, button {{ font: inherit; padding: .4rem .6rem }}
 p {{ margin: 0 }}
</style>
<form method="post" action="{action}">
 <h1>Easel</h1>
 <p>{said}</p>
 <input name="username" placeholder="Name (empty for a token)" autocomplete="username">
 <input name="password" type="password" placeholder="Password or token" autocomplete="current-password" autofocus required>
 <button>Log in</button>
</form>
</html>"""  # noqa: E501


@dataclass(frozen=True, slots=True, repr=False)
class Sessions:
    """Makes and checks cookies. `epoch` ties them to the credentials: other credentials, and all must log in again."""

    key: bytes
    epoch: str = ""

    @classmethod
    def of(cls, state_dir: Path, *credentials: str) -> Sessions:
        """The sessions of a server; the key is made at the first start."""
        return cls(kept_secret(state_dir / "session-key").encode(), "\0".join(credentials))

    def cookie(self, user: str, *, now: float | None = None) -> str:
        """A value that says who the bearer is, for `SECONDS`."""
        ends = int((time.time() if now is None else now) + SECONDS)
        said = f"{base64.urlsafe_b64encode(user.encode()).decode()}.{ends}"
        return f"{said}.{self._signature(said)}"

    def user(self, cookie: str) -> str | None:
        """Whom a cookie names; None for one that is forged, spoilt or too old."""
        said, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return None
        name, _, ends = said.partition(".")
        return base64.urlsafe_b64decode(name).decode() if int(ends) > time.time() else None

    def _signature(self, said: str) -> str:
        return hmac.new(self.key, f"{self.epoch}\0{said}".encode(), hashlib.sha256).hexdigest()


def kept_secret(file: Path) -> str:
    """The secret in a file that only its owner can read; made with the file, whoever of several is first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if secret := file.read_text("ascii").strip():
            return secret
        file.unlink()  # left empty by a start that was cut off
        return kept_secret(file)
    secret = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(secret + "\n")
    return secret


def from_own_page(headers: Headers) -> bool:
    """Did a page of this server make the call? Browsers say so, and pages cannot make them lie."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin", "")
    return origin.partition("://")[2] == headers.get("host", "")


def login_page(action: str, said: str) -> str:
    """The form as HTML."""
    return _FORM.format(action=html.escape(action), said=html.escape(said))
