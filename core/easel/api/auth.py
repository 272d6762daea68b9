"""Who may call: a token (`Authorization: TOKEN`, `Bearer TOKEN`), names and passwords (HTTP Basic), or our cookie.

Every route is guarded but the ping, which load balancers ask, and the login. A server that other machines can reach has
a token even when nobody chose one, unless `--no-auth` says otherwise.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from easel.api.errors import error_response
from easel.api.login import ASK, cookie_of
from easel.api.members import Members
from easel.api.passes import WRONG, basic
from easel.api.replay import task_of, user_of_task
from easel.api.sessions import SAFE, Sessions, from_own_page, kept_secret, login_page
from easel.errors import EaselError, Forbidden, SettingsError, Unauthorized
from easel.settings import Settings
from easel.values.user import User, acting_as

OPEN_PATHS = frozenset({"/internal/ping", "/login"})
_LOOK_EVERY = 1.0  # seconds
CHALLENGE = 'Basic realm="Easel"'  # makes browsers ask for a name and a password


class ShutOut(Exception):
    """Whoever gets this answer may not have the rest of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What opens this server; nothing set: it is open."""

    token: str = ""
    passwords: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Credentials:
        """The credentials of a server; makes, keeps and tells a token where one is needed and none was chosen."""
        given = f"{settings.api_auth or ''},{settings.gradio_auth or ''},{_in_file(settings.gradio_auth_path)}"
        pairs = (pair.partition(":") for pair in given.split(",") if pair.strip())
        passwords = tuple((name.strip(), password.strip()) for name, _, password in pairs)
        token = settings.token or ""
        if not token and not passwords and not settings.no_auth and not is_loopback(settings.host):
            token = _kept_token(settings)
        return cls(token, passwords)

    @property
    def epoch(self) -> tuple[str, ...]:
        """What cookies are tied to."""
        return self.token, *map(":".join, self.passwords)

    @property
    def open(self) -> bool:
        """Anybody may call."""
        return not self.token and not self.passwords

    def log_in(self, name: str, password: str, address: str = "") -> str:
        """The user of a login form; the token alone is enough. Errors: Unauthorized."""
        if self.open:
            return ""
        accepted = [_same(name, known) & _same(password, secret) for known, secret in self.passwords]
        accepted.append(bool(self.token) and _same(password, self.token))  # for clients that only speak Basic
        if not any(accepted):
            raise Unauthorized(WRONG)
        return ""  # one anonymous user, whoever came in

    def check(self, header: str, address: str = "") -> User:
        """Take an `Authorization` header or raise Unauthorized. All comparisons take the same time."""
        if self.open:
            return User()
        scheme, _, rest = header.strip().partition(" ")
        if not header.strip():
            raise Unauthorized
        if self.token and (_same(header.strip(), self.token) | _same(rest.strip(), self.token)):
            return User()
        if scheme.lower() != "basic":
            raise Unauthorized(WRONG if self.token else None)
        return User(self.log_in(*basic(rest)))

    def of_cookie(self, said: str) -> User | None:
        """Whom a cookie means."""
        return User(said)

    def known(self, user: User) -> User:
        """The user that an extension has named: it is believed."""
        return user


class Gatekeeper:
    """Finds out who calls, before anything of a call is read: the `authenticate` hooks, then credentials and cookie.

    What follows acts as that user (`acting_user`). Of a service with users, whoever is shut out while a long answer or
    a WebSocket is open loses it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        credentials: Credentials | Members,
        sessions: Sessions | None,
        authenticate: Callable[[Request], User | None],
    ) -> None:
        self._app, self._credentials, self._sessions, self._authenticate = app, credentials, sessions, authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            if isinstance(self._credentials, Members):  # argon2 takes its time
                user = await asyncio.to_thread(self._who, scope)
            else:
                user = self._who(scope)
        except EaselError as error:
            await _refuse(error, scope, receive, send)
            return
        scope.setdefault("state", {})["user"] = user
        if isinstance(self._credentials, Members) and user.name:
            receive, send = self._while_welcome(self._credentials, user, scope, receive, send)
        with acting_as(user), suppress(ShutOut):
            await self._app(scope, receive, send)

    def _while_welcome(
        self, members: Members, user: User, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Receive, Send]:
        """The same, as long as the user is not shut out; looked at once a second at most."""
        looked = time.monotonic()

        async def welcome() -> bool:
            nonlocal looked
            if time.monotonic() - looked < _LOOK_EVERY:
                return True
            looked = time.monotonic()
            return await asyncio.to_thread(members.stays, user)

        async def heard() -> Message:
            message = await receive()
            if scope["type"] == "websocket" and message["type"] == "websocket.receive" and not await welcome():
                await send({"type": "websocket.close", "code": 1008, "reason": "shut out"})
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        async def told(message: Message) -> None:
            going_on = message["type"] == "websocket.send" or message.get("more_body", False)
            if going_on and not await welcome():
                raise ShutOut
            await send(message)

        return heard, told

    def _who(self, scope: Scope) -> User:
        if (task := task_of(scope)) is not None:  # was let in when it was submitted
            return user_of_task(task)
        user = self._authenticate(Request(scope)) if scope["type"] == "http" else None
        if user is not None:
            return self._credentials.known(user)
        if scope["path"] in OPEN_PATHS or self._credentials.open:
            return User()
        headers = Headers(scope=scope)
        if (user := self._by_cookie(scope, headers)) is not None:
            return user
        given = headers.get("authorization", "").encode("latin-1")  # as it came
        return self._credentials.check(given.decode("utf-8", "replace"), (scope.get("client") or ("",))[0])

    def _by_cookie(self, scope: Scope, headers: Headers) -> User | None:
        """Who logged in; a cookie does not speak for a call that another site's page made. Errors: Forbidden."""
        cookie = cookie_of(headers)
        said = self._sessions.user(cookie) if self._sessions and cookie and "authorization" not in headers else None
        user = self._credentials.of_cookie(said) if said is not None else None
        if user is None:
            return None
        changing = scope["type"] == "websocket" or scope["method"] not in SAFE
        if changing and not from_own_page(headers):
            raise Forbidden("this call comes from another site's page")
        return user


async def _refuse(error: EaselError, scope: Scope, receive: Receive, send: Send) -> None:
    """An answer for a program, a login form for a browser, a closed door for a WebSocket."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(PlainTextResponse(error.message, error.status))
        return
    answer: Response = error_response(error)
    if isinstance(error, Unauthorized):
        accepts = Headers(scope=scope).get("accept", "")
        if (
            scope["method"] == "GET"
            and accepts.startswith("text/html")
            and not Headers(scope=scope).get("authorization")
        ):
            answer = HTMLResponse(login_page(f"{scope.get('root_path', '')}/login", ASK), 401)
        else:
            answer.headers["WWW-Authenticate"] = CHALLENGE
    await answer(scope, receive, send)


def user_of(connection: HTTPConnection) -> User:
    """Who calls; the anonymous user of a service without users."""
    user: User = connection.state.user
    return user


def refuse_unless_operator(connection: HTTPConnection) -> None:
    """The one decision about who may change the service for everybody. Errors: Forbidden.

    Without users, whoever came in is the operator; of users, administrators are.
    """
    refuse_user_unless_operator(user_of(connection))


def refuse_user_unless_operator(user: User) -> None:
    """The same for somebody who is known already. Errors: Forbidden."""
    if user.name and not user.admin:
        raise Forbidden("only operators of this service may do this")


def _in_file(file: Path | None) -> str:
    """The `user:password` pairs in a file, separated by commas. Errors: SettingsError."""
    if file is None:
        return ""
    try:
        pairs = file.read_text("utf-8").replace("\n", ",").split(",")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--gradio-auth-path: {file} cannot be read: {error}") from error
    wrong = any(
        not name.strip() or not password.strip()
        for name, _, password in (pair.partition(":") for pair in pairs if pair.strip())
    )
    if wrong or not any(pair.strip() for pair in pairs):
        raise SettingsError(f"--gradio-auth-path: expected user:password, one a line, in {file}")
    return ",".join(pairs)


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(), secret.encode())


def is_loopback(host: str) -> bool:
    """Can only programs of this machine reach a server that listens there?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _kept_token(settings: Settings) -> str:
    """The token that was made at an earlier start, or a fresh one, which is printed this once."""
    file = settings.state_dir / "token"
    known = file.exists()
    token = kept_secret(file)
    if not known:
        print(f"This server can be reached from other machines. Its token (kept in {file}): {token}", flush=True)  # noqa: T201
    return token
