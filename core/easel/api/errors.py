"""The one place where errors become HTTP answers, in A1111's two shapes.

What a handler raises: `{"error", "detail", "body", "errors"}`. A body that cannot be read:
`{"detail": [{"loc", "msg", "type"}]}`, worded as pydantic 1 did.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from json import JSONDecodeError
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from easel.api.pai import additions_in, failed
from easel.errors import BadRequest, EaselError

_PYDANTIC_1 = {
    "missing": ("field required", "value_error.missing"),
    "string_type": ("str type expected", "type_error.str"),
    "dict_type": ("value is not a valid dict", "type_error.dict"),
    "model_attributes_type": ("value is not a valid dict", "type_error.dict"),
    "int_parsing": ("value is not a valid integer", "type_error.integer"),
    "bool_parsing": ("value could not be parsed to a boolean", "type_error.bool"),
}


def install(app: FastAPI) -> None:
    """Answer errors in A1111's shapes."""
    app.add_exception_handler(EaselError, _easel_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(Exception, _unexpected)


def error_response(
    error: EaselError, headers: dict[str, str] | None = None, *, more: Mapping[str, Any] | None = None
) -> JSONResponse:
    """An error of ours; what a client did wrong is an HTTPException in A1111's words. `more` keys stand before."""
    name = "HTTPException" if error.status < 500 else type(error).__name__
    body = {**(more or {}), **_four_keys(name, error.message)}
    return JSONResponse(body, status_code=error.status, headers=headers)


def _four_keys(name: str, detail: str, errors: str = "") -> dict[str, str]:
    return {"error": name, "detail": detail, "body": "", "errors": errors}


async def _easel_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EaselError)
    return error_response(error)


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.detail == HTTPStatus(error.status_code).phrase:  # no route, wrong method
        return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=headers)
    body = _four_keys("HTTPException", str(error.detail))
    return JSONResponse(body, status_code=error.status_code, headers=headers)


async def _unreadable(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [_pydantic_1(problem, error.body) for problem in error.errors()]
    body: dict[str, Any] = {"detail": problems}
    if additions := additions_in(error.body.get("alwayson_scripts") if isinstance(error.body, dict) else None):
        where = ".".join(str(part) for part in problems[0]["loc"][1:])
        body = failed(additions, BadRequest(f"{where}: {problems[0]['msg']}")) | body
    return JSONResponse(body, status_code=422)


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    """A fault of ours: the log has the traceback, the caller only its kind."""
    body = _four_keys(type(error).__name__, "", "an unexpected error; the server's log tells more")
    return JSONResponse(body, status_code=500)


def _pydantic_1(problem: dict[str, Any], body: Any) -> dict[str, Any]:
    kind, where = problem["type"], list(problem["loc"])
    if kind == "json_invalid" and isinstance(body, str):
        error = JSONDecodeError(problem["ctx"]["error"], body, int(where[-1]))
        context = {"msg": error.msg, "pos": error.pos, "lineno": error.lineno, "colno": error.colno}
        return {"loc": where, "msg": str(error), "type": "value_error.jsondecode", "ctx": context}
    message, kind = _PYDANTIC_1.get(kind, (problem["msg"], kind))
    described: dict[str, Any] = {"loc": where, "msg": message, "type": kind}
    given = {key: value for key, value in problem.get("ctx", {}).items() if not isinstance(value, Exception)}
    return described | ({"ctx": given} if given else {})
