"""The ledger through the front door: a line for every job, whatever became of it; sums, CSV, who sees what."""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from easel.api.ledger import COLUMNS
from easel.streams.ledger import Ledger
from easel.values.ledger import Line, Shift, Wanted

from .conftest import Serve, Service
from .test_jobs import LONG, SMALL, finished, submit
from .test_progress import until

WHO = '''
from easel import Extension, User, hookimpl

class Who(Extension):
    """Believes a header."""

    @hookimpl
    def authenticate(self, request):
        """By a header."""
        name = request.headers.get("x-user", "")
        return User(name.strip("!"), admin=name.endswith("!")) if name else None
'''
MANIFEST = """
name = "who"
title = "Who"
version = "1.0.0"
summary = "Believes a header."
entry = "Who"
easel = ">=1,<2"
"""


def asked(at: Service, path: str = "", status: int = 200, caller: str = "", **query: Any) -> Any:
    answer = at.client.get(f"/easel/v1/ledger{path}", params=query, headers={"x-user": caller})
    assert answer.status_code == status, answer.text
    return answer.json() if path != ".csv" else answer


def made(service: Service, user: str = "", project: str = "", **fields: Any) -> int:
    body = SMALL | fields | {"alwayson_scripts": {"uid": project} if project else {}}
    status: int = service.client.post("/sdapi/v1/txt2img", json=body, headers={"x-user": user}).status_code
    return status


def test_every_job_has_one_line(serve: Serve) -> None:
    service = serve("--max-jobs-in-flight", "1", step_seconds=0.02)
    assert made(service, project="cats", batch_size=2) == 200
    assert made(service, enable_hr=True, hr_upscaler="Latent", hr_checkpoint_name="tiny", prompt="<lora:no:1>") == 200
    running, waiting = submit(service, LONG), submit(service, LONG)
    until(lambda: service.client.get(f"/easel/v1/jobs/{running}").json()["step"] > 2)
    for one in (waiting, running):
        service.client.post(f"/easel/v1/jobs/{one}/cancel")
        finished(service, one)
    service.engine.closed = True
    assert made(service, project="dogs") == 500
    lines = asked(service)["lines"]
    assert [line["state"] for line in lines] == ["failed", "cancelled", "cancelled", "done", "done"]
    assert [line["project"] for line in lines] == ["dogs", "", "", "", "cats"]
    failed, stopped, unbegun, hires, first = lines
    assert (failed["status"], first["status"], first["pictures"], first["kind"]) == (1, 0, 2, "txt2img")
    assert first["seconds"]["denoise"] == pytest.approx(4 * 0.02) and first["seconds"]["save"] > 0
    assert first["work"] == pytest.approx(2 * 4 * 64 * 64 / 1e6) and hires["work"] > first["work"]
    assert stopped["seconds"]["denoise"] > 0 and set(unbegun["seconds"]) == {"queue"}
    assert unbegun["attempts"] == 0 and stopped["attempts"] == 1
    assert first["created"] < first["ended"] <= hires["ended"]
    told = service.client.get(f"/easel/v1/jobs/{stopped['job']}").json()
    assert told["seconds"]["denoise"] == pytest.approx(stopped["seconds"]["denoise"], abs=1e-3)


def test_sums_and_times_and_both_ways_to_charge(serve: Serve, tmp_path: Path) -> None:
    service = serve(step_seconds=0.02)
    for project in ("cats", "cats", "dogs"):
        assert made(service, project=project) == 200
    told = asked(service, "/sums", by="project")
    assert told["billing"] == "worker"
    assert {one["name"]: (one["jobs"], one["pictures"]) for one in told["groups"]} == {"cats": (2, 2), "dogs": (1, 1)}
    assert told["total"]["charged_seconds"] == pytest.approx(3 * 4 * 0.02, abs=0.001)
    workers = told["workers"]
    parts = sum(workers[name] for name in ("start", "idle", "jobs", "lost", "running"))
    assert workers["allocated"] == pytest.approx(parts, rel=0.01) and workers["jobs"] == pytest.approx(0.24, abs=0.001)
    assert workers["charged_seconds"] == workers["allocated"] and workers["lost"] == 0
    (day,) = asked(service, "/sums", by="day", since="2020-01-01", until=str(time.time() + 9))["groups"]
    assert (day["jobs"], day["name"]) == (3, time.strftime("%Y-%m-%d", time.gmtime()))
    assert asked(service, "/sums", until="2020-01-01T00:00:00Z")["total"]["jobs"] == 0
    assert [one["project"] for one in asked(service, project="dogs", service="easel")["lines"]] == ["dogs"]
    assert "since" in str(asked(service, status=422, since="yesterday"))
    assert "by" in str(asked(service, "/sums", status=422, by="colour"))
    assert "limit" in str(asked(service, status=422, limit=0))


def test_a_table_for_spreadsheets(service: Service) -> None:
    assert made(service, project='=HYPERLINK("x")') == 200
    answer = asked(service, ".csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="ledger.csv"'
    head, row, *_ = csv.reader(io.StringIO(answer.text))
    assert tuple(head) == COLUMNS and len(row) == len(head)
    found = dict(zip(head, row, strict=True))
    assert found["project"] == '\'=HYPERLINK("x")' and found["state"] == "done" and float(found["denoise"]) >= 0


def test_a_caller_sees_their_own_lines_and_an_operator_all(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "extensions" / "who"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(WHO)
    (folder / "extension.toml").write_text(MANIFEST)
    service = serve()
    assert made(service, user="ann") == made(service, user="bo") == 200
    assert {line["user"] for line in asked(service, caller="ann")["lines"]} == {"ann"}
    assert {line["user"] for line in asked(service, caller="root!")["lines"]} == {"ann", "bo"}
    assert {one["name"] for one in asked(service, "/sums", caller="bo")["groups"]} == {"bo"}
    assert "workers" not in asked(service, "/sums", caller="bo") and "workers" in asked(
        service, "/sums", caller="root!"
    )
    assert "ann" not in asked(service, ".csv", caller="bo").text
    asked(service, status=403, caller="bo", user="ann")
    assert {line["user"] for line in asked(service, caller="root!", user="ann")["lines"]} == {"ann"}


def test_an_estimate_before_the_run(serve: Serve) -> None:
    service = serve("--billing", "generation", step_seconds=0.02)

    def explained(body: dict[str, Any]) -> Any:
        answer = service.client.post("/easel/v1/explain", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert explained(SMALL)["estimate"] is None  # nothing was measured yet
    assert made(service) == 200
    told = explained(SMALL | {"steps": 40, "n_iter": 3})
    assert [one["times"] for one in told["passes"]] == [3]
    assert told["estimate"]["denoise"] == pytest.approx(3 * 40 * 0.02, rel=0.01)
    assert told["estimate"]["measured_jobs"] == 1 and told["estimate"]["charged_seconds"] >= 2.4
    assert len(asked(service)["lines"]) == 1  # explaining has none


def test_a_ledger_of_an_earlier_version(tmp_path: Path) -> None:
    file = tmp_path / "easel.db"
    with sqlite3.connect(file) as db:
        db.execute(
            "CREATE TABLE ledger(job TEXT PRIMARY KEY, service TEXT, user TEXT, project TEXT, status INTEGER, "
            "attempts INTEGER, seconds TEXT, ended REAL)"
        )
        for job, status in (("a", 0), ("b", 7)):
            row = (job, "sd", "ann", "p", status, 2, '{"denoise": 1.5}', 5.0)
            db.execute("INSERT INTO ledger VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.close()
    for _ in range(2):  # the second time nothing is left to do
        ledger = Ledger(file)
        known = [line for line in ledger.lines(Wanted(), limit=9) if line.job in "ab"]
        assert [(line.state, line.attempts, line.seconds) for line in known] == [
            ("done", 2, {"denoise": 1.5}), ("failed", 2, {"denoise": 1.5}),
        ]  # fmt: skip
        ledger.enter(Line(job="c", service="sd", kind="txt2img", ended=9.0))
        assert ledger.lines(Wanted(), limit=1)[0].kind == "txt2img"
        ledger.close()


def test_a_database_that_fails_delays_lines_and_loses_none(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    ledger = Ledger(tmp_path / "state" / "easel.db")
    began = time.monotonic()
    ledger.enter(Line(job="a", service="sd"), patience=0.1)
    assert time.monotonic() - began < 1
    (tmp_path / "state").unlink()
    ledger.enter(Line(job="b", service="sd"), Shift(worker="w", service="sd", began=1, ended=2), patience=20)
    assert {line.job for line in ledger.lines(Wanted(), limit=9)} == {"a", "b"}
    assert [one.worker for one in ledger.shifts(Wanted())] == ["w"]
    ledger.close()
