"""`/login`: a name and password, or the token, once; then a cookie (see `sessions`)."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import Headers

from easel.api.sessions import COOKIE, SECONDS, Sessions, login_page
from easel.errors import Forbidden, JobRefused, Unauthorized

if TYPE_CHECKING:
    from easel.api.auth import Credentials
    from easel.api.members import Members

ASK = "Enter the token that the server printed at its first start, or a name and password."


def routes(credentials: Credentials | Members, sessions: Sessions | None) -> APIRouter:
    """`GET` and `POST /login`, `POST /logout`; on an open server everybody is in already."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def form(request: Request) -> HTMLResponse:
        """The form."""
        return HTMLResponse(login_page(f"{request.scope.get('root_path', '')}/login", ASK))

    @router.post("/login")
    async def login(request: Request) -> Response:
        """Check, set the cookie, go to the page; programs (`Accept` without HTML) get `{"success": true}`."""
        given = parse_qs((await request.body()).decode("utf-8", "replace"))
        name, password = (given.get(field, [""])[0] for field in ("username", "password"))
        browser, prefix = "text/html" in request.headers.get("accept", ""), request.scope.get("root_path", "")
        try:
            user = await asyncio.to_thread(
                credentials.log_in, name, password, request.client.host if request.client else ""
            )
        except (Unauthorized, Forbidden, JobRefused) as error:
            if not browser:
                raise
            return HTMLResponse(login_page(f"{prefix}/login", error.message), error.status)
        answer: Response = RedirectResponse(f"{prefix}/", 303) if browser else _success()
        if sessions is not None:
            secure = request.url.scheme == "https"
            answer.set_cookie(
                COOKIE, sessions.cookie(user), max_age=SECONDS, httponly=True, samesite="lax", secure=secure
            )
        return answer

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        """Forget the cookie."""
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    return router


def cookie_of(headers: Headers) -> str:
    """Our cookie in a call; "" without."""
    jar = SimpleCookie()
    jar.load(headers.get("cookie", "")[:8192])
    return jar[COOKIE].value if COOKIE in jar else ""


def _success() -> Response:
    return Response('{"success": true}', media_type="application/json")
