"""The ledger by HTTP: lines, CSV, and sums by user, project, service … in a time; an estimate of what a request takes.

A caller sees their own lines; operators see everybody's, and the workers' time.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from easel.api.auth import refuse_user_unless_operator, user_of
from easel.errors import BadRequest, Forbidden
from easel.streams.ledger import GROUPS
from easel.values.ledger import PARTS, Wanted, engine_seconds, generation_seconds

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.values.ledger import Billing, Line, Shift
    from easel.values.user import User

_MOST = 100_000  # lines of one answer
_TOLD = ("job", "service", "user", "project", "kind", "state", "status", "attempts", "model", "pictures", "work")
COLUMNS = (*_TOLD, "created", "ended", *PARTS, "extensions", "engine_seconds", "generation_seconds")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet's formulas begin


def routes(app: Easel) -> APIRouter:
    """`/easel/v1/ledger`."""
    router = APIRouter(prefix="/easel/v1", tags=["ledger"])

    @router.get("/ledger")
    async def ledger(wanted: Annotated[Wanted, Depends(_wanted)], limit: int = 100) -> dict[str, Any]:
        """Lines, the newest first: one for every job that ended. Times are Unix seconds or ISO 8601."""
        lines = await asyncio.to_thread(app.ledger.lines, wanted, limit=_count(limit))
        return {"billing": app.settings.billed_by, "lines": [_told(line) for line in lines]}

    @router.get("/ledger.csv", response_class=Response)
    async def as_csv(wanted: Annotated[Wanted, Depends(_wanted)], limit: int = _MOST) -> Response:
        """The same lines for a spreadsheet, a column for each part of the seconds."""
        lines = await asyncio.to_thread(app.ledger.lines, wanted, limit=_count(limit))
        headers = {"Content-Disposition": 'attachment; filename="ledger.csv"', "Cache-Control": "no-store"}
        return Response(await asyncio.to_thread(_csv, lines), media_type="text/csv; charset=utf-8", headers=headers)

    @router.get("/ledger/sums")
    async def sums(request: Request, wanted: Annotated[Wanted, Depends(_wanted)], by: str = "user") -> dict[str, Any]:
        """Lines together by user, project, service, kind, model, state or day; for operators the workers' time too."""
        if by not in GROUPS:
            raise BadRequest("unknown sum", field="by", value=by, allowed=", ".join(GROUPS))
        return await asyncio.to_thread(summed, app, wanted, by, workers=is_operator(user_of(request)))

    return router


def is_operator(user: User) -> bool:
    """Whether they see everybody's lines."""
    try:
        refuse_user_unless_operator(user)
    except Forbidden:
        return False
    return True


def summed(app: Easel, wanted: Wanted, by: str, *, workers: bool) -> dict[str, Any]:
    """The answer of `/easel/v1/ledger/sums`; `workers`: with what workers were allocated."""
    billing, found = app.settings.billed_by, app.ledger.sums(by, wanted)
    whole: dict[str, float] = {}
    for one in found:
        for part, spent in one.seconds.items():
            whole[part] = whole.get(part, 0.0) + spent
    counts = {"jobs": sum(one.jobs for one in found), "pictures": sum(one.pictures for one in found)}
    told: dict[str, Any] = {
        "billing": billing,
        "by": by,
        "since": wanted.since,
        "until": wanted.until,
        "groups": [
            {"name": one.name, "jobs": one.jobs, "pictures": one.pictures, **_seconds(one.seconds, billing)}
            for one in found
        ],
        "total": {**counts, **_seconds(whole, billing)},
    }
    if workers and wanted.user is None and wanted.project is None:
        app.enter_shifts()
        told["workers"] = _workers(app.ledger.shifts(wanted), billing)
    return told


def estimate(app: Easel, model: str, passes: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Seconds that a request will take the engine, from what the model's latest jobs took; None: it has had none.

    `passes` as a dry run tells them.
    """
    rate = app.ledger.rate(model)
    if rate is None:
        return None
    work = sum(one["width"] * one["height"] * one["steps"] * one["pictures"] / 1e6 * one["times"] for one in passes)
    pictures = sum(one["pictures"] * one["times"] for one in passes if one["stage"] == "first")
    warm = any(model in checkpoints for _, checkpoints, _ in app.jobs.workers().values())
    denoise, rest, load = rate.denoise * work, rate.picture * pictures, 0.0 if warm else rate.load
    charged = denoise + rest + (load if app.settings.billed_by == "worker" else 0.0)
    return {
        "seconds": round(load + denoise + rest, 3),
        "charged_seconds": round(charged, 3),
        "load": round(load, 3),
        "denoise": round(denoise, 3),
        "others": round(rest, 3),  # encode, decode, compute
        "megapixel_steps": round(work, 4),
        "measured_jobs": rate.jobs,
        "waiting_jobs": len(app.jobs.waiting()),
    }


def _wanted(
    request: Request,
    user: str | None = None,
    project: str | None = None,
    service: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Wanted:
    """What was asked for, of what the caller may see. Errors: BadRequest (a time), Forbidden (another's lines)."""
    caller = user_of(request)
    if not is_operator(caller):
        if user not in (None, caller.name):
            raise Forbidden("only operators see what others used")
        user = caller.name
    begin, end = _time("since", since), _time("until", until)
    return Wanted(user=user, project=project, service=service, since=begin, until=end)


def _time(field: str, text: str | None) -> float | None:
    if not text:
        return None
    allowed = "Unix seconds, or a time like 2026-01-31 or 2026-01-31T12:00:00Z"
    try:
        try:
            time = float(text)
        except ValueError:
            read = datetime.fromisoformat(text)
            time = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        time = -1.0
    if not 0 <= time < 1e12:
        raise BadRequest("not a time", field=field, value=text, allowed=allowed)
    return time


def _count(limit: int) -> int:
    if not 1 <= limit <= _MOST:
        raise BadRequest("out of range", field="limit", value=limit, allowed=f"1 to {_MOST}")
    return limit


def _told(line: Line) -> dict[str, Any]:
    return asdict(line) | _rounded(line.seconds)


def _seconds(seconds: Mapping[str, float], billing: Billing) -> dict[str, Any]:
    told = _rounded(seconds)
    return told | {"charged_seconds": told["generation_seconds" if billing == "generation" else "engine_seconds"]}


def _rounded(seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "seconds": {part: round(spent, 4) for part, spent in seconds.items()},
        "engine_seconds": round(engine_seconds(seconds), 4),
        "generation_seconds": round(generation_seconds(seconds), 4),
    }


def _workers(shifts: Sequence[Shift], billing: Billing) -> dict[str, Any]:
    """All that workers were allocated, and what became of it: start, idle, jobs, lost and running add up to it."""
    told = {
        "allocated": sum(one.ended - one.began for one in shifts),
        "start": sum(one.start for one in shifts),
        "idle": sum(one.idle for one in shifts),
        "jobs": sum(one.charged for one in shifts),
        "lost": sum(one.busy - one.charged for one in shifts if one.over),
        "running": sum(one.busy - one.charged for one in shifts if not one.over),
    }
    charged = 0.0 if billing == "generation" else told["allocated"]
    rounded = {name: round(value, 4) for name, value in (told | {"charged_seconds": charged}).items()}
    return {"workers": len(shifts), **rounded}


def _csv(lines: Sequence[Line]) -> str:
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for line in lines:
        others = sum(spent for part, spent in line.seconds.items() if part not in PARTS)
        parts = (line.seconds.get(part, 0.0) for part in PARTS)
        numbers = (*parts, others, engine_seconds(line.seconds), generation_seconds(line.seconds))
        times = (datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds") for time in (line.created, line.ended))
        told = (_safe(getattr(line, name)) for name in _TOLD)
        table.writerow([*told, *times, *(f"{number:.4f}" for number in numbers)])
    return written.getvalue()


def _safe(value: object) -> object:
    """A text that no spreadsheet takes for a formula: names are what callers chose."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
