"""Who may call: a token (`Authorization: TOKEN`, `Bearer TOKEN`) or names and passwords (HTTP Basic).

Every route is guarded but the ping, which load balancers ask. A server that other machines can reach has a token even
when nobody chose one, unless `--no-auth` says otherwise.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from easel.api.errors import error_response
from easel.errors import EaselError, Unauthorized
from easel.settings import Settings
from easel.values.user import User

OPEN_PATHS = frozenset({"/internal/ping"})
WRONG = "Incorrect username or password"
CHALLENGE = 'Basic realm="Easel"'  # makes browsers ask for a name and a password


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What opens this server; nothing set: it is open."""

    token: str = ""
    passwords: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Credentials:
        """The credentials of a server; makes, keeps and tells a token where one is needed and none was chosen."""
        pairs = (pair.partition(":") for pair in (settings.api_auth or "").split(",") if pair.strip())
        passwords = tuple((name.strip(), password.strip()) for name, _, password in pairs)
        token = settings.token or ""
        if not token and not passwords and not settings.no_auth and not _is_loopback(settings.host):
            token = _kept_token(settings)
        return cls(token, passwords)

    def check(self, header: str) -> None:
        """Take an `Authorization` header or raise Unauthorized. All comparisons take the same time."""
        if not self.token and not self.passwords:
            return
        scheme, _, rest = header.strip().partition(" ")
        if not header.strip():
            raise Unauthorized
        if self.token and (_same(header.strip(), self.token) | _same(rest.strip(), self.token)):
            return
        if scheme.lower() != "basic":
            raise Unauthorized(WRONG if self.token else None)
        name, password = _basic(rest)
        accepted = [_same(name, known) & _same(password, secret) for known, secret in self.passwords]
        accepted.append(bool(self.token) and _same(password, self.token))  # for clients that only speak Basic
        if not any(accepted):
            raise Unauthorized(WRONG)


class Gatekeeper:
    """Finds out who calls, before anything of a call is read: the `authenticate` hooks first, then the credentials."""

    def __init__(
        self, app: ASGIApp, *, credentials: Credentials, authenticate: Callable[[Request], User | None]
    ) -> None:
        self._app, self._credentials, self._authenticate = app, credentials, authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] in ("http", "websocket"):
            try:
                scope.setdefault("state", {})["user"] = self._who(scope)
            except EaselError as error:
                headers = {"WWW-Authenticate": CHALLENGE} if isinstance(error, Unauthorized) else None
                await error_response(error, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _who(self, scope: Scope) -> User:
        user = self._authenticate(Request(scope)) if scope["type"] == "http" else None
        if user is None and scope["path"] not in OPEN_PATHS:
            header = Headers(scope=scope).get("authorization", "").encode("latin-1")  # as it came
            self._credentials.check(header.decode("utf-8", "replace"))
        return user or User()


def user_of(connection: HTTPConnection) -> User:
    """Who calls; the anonymous user of a service without users."""
    user: User = connection.state.user
    return user


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())


def _basic(encoded: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized from None
    if not colon:
        raise Unauthorized
    return name, password


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _kept_token(settings: Settings) -> str:
    """The token that was made at an earlier start, or a fresh one, which is printed this once."""
    file = settings.state_dir / "token"
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if token := file.read_text("ascii").strip():
            return token
        file.unlink()
        return _kept_token(settings)
    token = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(token + "\n")
    print(f"This server can be reached from other machines. Its token (kept in {file}): {token}", flush=True)  # noqa: T201
    return token
