"""`/metrics`: every figure comes from what happened; the dashboard and the page name what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from easel.streams.items import Interest

from .conftest import Serve, Service
from .test_jobs import LONG, SMALL, finished, submit
from .test_progress import until

DOCS = Path(__file__).parents[2] / "docs"
Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def figures(service: Service) -> Figures:
    answer = service.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(found: Figures, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_jobs_are_counted(service: Service) -> None:
    before = figures(service)
    service.post("txt2img", SMALL | {"batch_size": 2})
    service.client.post("/sdapi/v1/txt2img", json=SMALL | {"steps": -1})
    after = figures(service)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("easel_jobs_accepted_total", kind="txt2img") == 1
    assert more("easel_job_seconds_count", kind="txt2img", state="done") == 1
    assert more("easel_pictures_total") == 2
    assert more("easel_engine_seconds_total", part="save") > 0
    assert more("easel_queue_arrivals_total", queue="jobs") == more("easel_queue_served_total", queue="jobs") == 1
    assert more("easel_http_request_seconds_count", method="POST", route="/sdapi/v1/txt2img", status="200") == 1
    assert more("easel_http_request_seconds_count", method="POST", route="/sdapi/v1/txt2img", status="422") == 1
    assert value(after, "easel_results_kept_bytes") > 100
    assert value(after, "easel_jobs_running") == value(after, "easel_backlog_per_worker", service="jobs") == 0


def test_what_runs_and_what_fails(serve: Serve) -> None:
    service = serve("--max-jobs-in-flight", "1", step_seconds=0.01)
    running, waiting = submit(service, LONG), submit(service, LONG)
    until(lambda: value(figures(service), "easel_jobs_running") == 1)
    found = figures(service)
    assert (value(found, "easel_jobs_waiting"), value(found, "easel_queue_length", queue="jobs")) == (1, 2)
    assert value(found, "easel_backlog_per_worker", service="jobs") == 2
    for job in (waiting, running):
        service.client.post(f"/easel/v1/jobs/{job}/cancel")
        finished(service, job)
    found = figures(service)
    assert value(found, "easel_job_seconds_count", kind="txt2img", state="cancelled") == 2
    assert value(found, "easel_queue_length", queue="jobs") == 0


def test_routes_are_templates_and_strangers_share_one(service: Service) -> None:
    for path in ("/easel/v1/jobs/a", "/easel/v1/jobs/b", "/no/such/1", "/no/such/2"):
        service.client.get(path)
    service.client.request("BREW", "/easel/v1/jobs")
    service.client.post(
        "/sdapi/v1/png-info", content=b"{}", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    routes = {dict(labels).get("route", "") for _, labels in figures(service)}
    assert "/easel/v1/jobs/{job_id}" in routes and "/sdapi/v1/png-info" in routes and "other" in routes
    assert not [route for route in routes if "/no/" in route or route.endswith(("/a", "/b"))]
    assert "BREW" not in {dict(labels).get("method") for _, labels in figures(service)}


def test_durations_are_sorted_into_buckets(service: Service) -> None:
    service.client.get("/internal/ping")
    labels = {"method": "GET", "route": "/internal/ping", "status": "200"}
    found = figures(service)
    count = value(found, "easel_http_request_seconds_count", **labels)
    assert count > 0
    assert value(found, "easel_http_request_seconds_bucket", **labels, le="300.0") == count
    assert value(found, "easel_http_request_seconds_bucket", **labels, le="+Inf") == count
    assert value(found, "easel_http_request_seconds_sum", **labels) < 300 * count


def test_only_operators_may_look(serve: Serve) -> None:
    service = serve("--token", "secret")
    assert service.client.get("/metrics").status_code == 401
    assert service.client.get("/metrics", headers={"Authorization": "secret"}).status_code == 200


def test_metrics_cost_nothing_before_they_are_asked_for() -> None:
    code = "import sys, easel.api.server; print('prometheus_client' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.fixture
def queue_figures(serve: Serve) -> Figures:
    """Of a service with streams: one task done, its result and another item in the sink, which a watcher holds."""
    service = serve("--edition", "api", "--service-name", "sd")
    body, sink = json.dumps(SMALL), "/api/predict/sd/sink"
    assert service.client.post("/api/predict/sd/sdapi/v1/txt2img", content=body).status_code == 200
    assert service.client.post(sink, content=b"x").status_code == 200
    until(lambda: service.client.get(f"{sink}?_count_=true").text == "2")
    assert service.app.queue is not None
    watcher = Interest(group="eas", consumer="ann")
    service.app.queue.store.join(service.app.queue.sink, watcher)
    service.app.queue.store.claim(service.app.queue.sink, watcher, 1)
    return figures(service)


def test_streams(queue_figures: Figures) -> None:
    def of(name: str, queue: str) -> float:
        return value(queue_figures, name, queue=queue)

    assert [of(f"easel_queue_{what}", "sd") for what in ("length", "arrivals_total", "served_total")] == [0, 1, 1]
    assert [of(f"easel_queue_{what}", "sd/sink") for what in ("length", "pending", "arrivals_total")] == [2, 1, 2]
    assert of("easel_queue_served_total", "sd/sink") == of("easel_queue_length", "sd/rear") == 0
    assert of("easel_stream_consumers", "sd") == of("easel_stream_consumers", "sd/sink") == 1
    assert value(queue_figures, "easel_workers", service="sd") == 1
    assert value(queue_figures, "easel_backlog_per_worker", service="sd") == 0
    calls = {dict(labels)["route"] for name, labels in queue_figures if name == "easel_http_request_seconds_count"}
    assert "/api/predict/{path:path}" in calls and "/sdapi/v1/txt2img" not in calls  # the task's own call is no call


def names(text: str) -> set[str]:
    return set(re.findall(r"\beasel_\w+", text))


def test_the_dashboard_and_the_page_name_what_there_is(service: Service, queue_figures: Figures) -> None:
    service.post("txt2img", SMALL)
    there = {name for name, _ in (*figures(service), *queue_figures)} | {
        "easel_job_errors_total",
        "easel_model_cache_jobs_total",
    }
    dashboard = json.loads((DOCS / "grafana" / "easel.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in names(target["expr"])}
    assert len(asked) > 15 and asked <= there
    rows = [line for line in (DOCS / "monitoring.md").read_text().splitlines() if line.startswith("| `easel_")]
    told = {name for row in rows for name in names(row.split("|")[1])}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in there}
    assert told == families
    assert names((DOCS / "monitoring.md").read_text()) <= there | told
