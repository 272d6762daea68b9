"""`/metrics`: this service in Prometheus' words. Figures are read when they are asked for; nothing runs in between.

Names and meanings stand in `docs/monitoring.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from easel.api.auth import refuse_unless_operator
from easel.jobs.tally import Durations

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    from easel.app import Easel
    from easel.streams.service import QueueService

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_JOBS = "jobs"  # the queue of a service without streams


class Calls:
    """HTTP calls by method, route and status; `note` is called by the outermost frame."""

    def __init__(self) -> None:
        self.seconds = Durations(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One call; `route` is a template ("/easel/v1/jobs/{job_id}"), "" when no route of ours answered."""
        self.seconds.note((method if method in _METHODS else "other", route or "other", str(status)), seconds)


def routes(app: Easel, calls: Calls, queue: QueueService | None) -> APIRouter:
    """`GET /metrics`, for operators."""
    router = APIRouter(tags=["monitoring"])

    @router.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """What there is to watch, for Prometheus; operators only."""
        refuse_unless_operator(request)
        body, media_type = await asyncio.to_thread(_scrape, app, calls, queue, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return router


def _scrape(app: Easel, calls: Calls, queue: QueueService | None, accept: str) -> tuple[bytes, str]:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_collector(app, calls, queue))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _collector(app: Easel, calls: Calls, queue: QueueService | None) -> Collector:
    from prometheus_client.registry import Collector

    class Figures(Collector):
        """Every figure of one service."""

        def collect(self) -> Iterable[Metric]:
            """Read them."""
            yield _gauge("easel_info", "1; the version is a label.", ["version"], {(app.version,): 1})
            yield from _jobs(app)
            yield from _queues(app) if queue is None else _streams(app, queue)
            yield _histogram("easel_http_request_seconds", "HTTP calls.", ["method", "route", "status"], calls.seconds)

    return Figures()


def _jobs(app: Easel) -> Iterator[Metric]:
    tally, kept = app.jobs.tally, app.jobs.kept()
    told = tally.read()
    yield _counter("easel_jobs_accepted", "Jobs that came into the line.", ["kind"], _by_text(told.accepted))
    yield _gauge("easel_jobs_waiting", "Jobs in line.", [], {(): len(app.jobs.waiting())})
    yield _gauge("easel_jobs_running", "Jobs in the engine.", [], {(): len(app.jobs.running())})
    there = [jobs for jobs, _, _ in app.jobs.workers().values()]
    starting = len(app.pool.members()) - len(there) if app.pool is not None else 0
    states = {"starting": max(0, starting), "busy": sum(map(bool, there)), "idle": there.count(0)}
    yield _gauge("easel_worker_processes", "Workers of this gateway, by what they do.", ["state"], _by_text(states))
    yield _histogram("easel_job_seconds", "Jobs that ended, from acceptance on.", ["kind", "state"], tally.ended)
    yield _counter("easel_job_errors", "Failed jobs by what went wrong.", ["error"], _by_text(told.errors))
    yield _counter("easel_pictures", "Pictures of finished jobs, grids not counted.", [], {(): told.pictures})
    text = "Seconds that finished jobs spent, by part: load, encode, denoise, decode, save, an extension."
    yield _counter("easel_engine_seconds", text, ["part"], _by_text(told.seconds))
    text = "Jobs with pictures, by whether their models were in memory (hit) or had to be loaded (miss)."
    found: dict[tuple[str, ...], float] = {("hit" if found else "miss",): count for found, count in told.models.items()}
    yield _counter("easel_model_cache_jobs", text, ["result"], found)
    yield _gauge("easel_results_kept", "Finished jobs whose pictures can still be fetched.", [], {(): kept[0]})
    yield _gauge("easel_results_kept_bytes", "Bytes of their pictures.", [], {(): kept[1]})


def _queues(app: Easel) -> Iterator[Metric]:
    """Without streams the line of jobs is the queue, and this gateway's worker the one that takes from it."""
    tally = app.jobs.tally
    running, waiting = len(app.jobs.running()), len(app.jobs.waiting())
    served = sum(sum(spread.counts) for spread in tally.ended.read().values())
    came = sum(tally.read().accepted.values())
    yield from _queue_figures({_JOBS: running + waiting}, {_JOBS: running}, {_JOBS: came}, {_JOBS: served})
    yield from _backlog(_JOBS, running + waiting, len(app.jobs.workers()))


def _streams(app: Easel, queue: QueueService) -> Iterator[Metric]:
    store, names = queue.store, (queue.input, queue.sink, queue.rear)
    consumers = {name: store.consumers(name) for name in names}
    facts = {name: store.facts(name) for name in names}
    yield from _queue_figures(
        {name: one.length for name, one in facts.items()},
        {name: sum(len(store.held(name, who)) for who in consumers[name]) for name in names},
        {name: one.given for name, one in facts.items()},
        {name: one.given - one.length for name, one in facts.items()},
    )
    there: dict[tuple[str, ...], float] = {(name,): len(found) for name, found in consumers.items()}
    yield _gauge("easel_stream_consumers", "Who takes items from a stream now, at all gateways.", ["queue"], there)
    others = sum(who.group == queue.service for who in consumers[queue.input]) - 1  # gateways
    workers = max(0, others) + len(app.jobs.workers())
    yield from _backlog(queue.service, facts[queue.input].length, workers)


def _queue_figures(
    length: Mapping[str, int], pending: Mapping[str, int], came: Mapping[str, int], served: Mapping[str, int]
) -> Iterator[Metric]:
    yield _gauge("easel_queue_length", "Items in a queue, pending ones too.", ["queue"], _by_text(length))
    yield _gauge("easel_queue_pending", "Items that a consumer holds.", ["queue"], _by_text(pending))
    yield _counter("easel_queue_arrivals", "Items ever put into a queue.", ["queue"], _by_text(came))
    yield _counter("easel_queue_served", "Items that have left a queue.", ["queue"], _by_text(served))


def _backlog(service: str, length: int, workers: int) -> Iterator[Metric]:
    yield _gauge("easel_workers", "Who works on a service's tasks now.", ["service"], {(service,): workers})
    text = "Unfinished tasks for each worker: the signal for scaling out; without workers, all of them."
    yield _gauge("easel_backlog_per_worker", text, ["service"], {(service,): length / max(1, workers)})


def _by_text(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    """A counter; Prometheus sees its name with `_total`."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], durations: Durations) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=labels)
    bounds = [*(str(float(bound)) for bound in durations.bounds), "+Inf"]
    for label, spread in durations.read().items():
        below = [sum(spread.counts[: number + 1]) for number in range(len(bounds))]
        family.add_metric(label, list(zip(bounds, below, strict=True)), spread.total)
    return family
