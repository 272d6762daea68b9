"""The proof: a service of its own, real but for its engine, with two users who have one of everything and walk it."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import uvicorn
from fastapi import FastAPI

from easel.api.links import Link
from easel.api.server import create_api
from easel.app import Easel
from easel.engine.engine import DenoisePlan, ModelFacts, ModelSpec
from easel.engine.fake_engine import FACTS, FakeEngine, FakeLatents
from easel.models.store import ModelStore
from easel.settings import Settings, read_settings
from easel.testing.isolation.belongings import SLOW, Person, give, take_back
from easel.testing.isolation.routes import page_of, routes_of
from easel.testing.isolation.walk import Walk, Walked
from easel.ui import page_of as page_for
from easel.values.job import Job
from easel.values.step import Step
from easel.values.user import acting_as
from easel.worker.workplace import Workplace, assemble, model_store

_NAMES = ("ann", "bob")
_PAUSE = 0.5  # seconds between the steps of a job that is to run as long as the walk lasts
_FLAGS = ("--edition", "cluster", "--in-process", "--port", "0", "--max-jobs-in-flight", "3", "--loglevel", "ERROR")


class ProvingEngine(FakeEngine):
    """Draws without models; a checkpoint is what the store finds for the job's user. Some jobs take their time."""

    def __init__(self, store: ModelStore) -> None:
        super().__init__()
        self._store = store

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        """Of a file that the user has."""
        info = self._store.checkpoint(model.checkpoint)
        return replace(FACTS, title=info.title, name=info.model_name, short_hash=info.short_hash)

    def denoise(self, job: Job, model: ModelSpec, plan: DenoisePlan) -> FakeLatents:
        """Slowly, for who asked for it."""
        if SLOW not in job.request.prompt:
            return super().denoise(job, model, plan)

        def slowly(step: Step) -> None:
            plan.on_step(step)
            until = time.monotonic() + _PAUSE
            while time.monotonic() < until and not job.stopping:
                job.raise_if_cancelled()
                time.sleep(0.02)

        return super().denoise(job, model, replace(plan, on_step=slowly))


def run(words: Sequence[str]) -> int:
    """`easel prove-isolation [flags of the service]`; 1 when something crosses."""
    if {"-h", "--help"} & set(words):
        print(__doc__.strip() + "\n\nusage: easel prove-isolation [flags of easel serve]\n"
              "It runs in a folder of its own; name the flags of your service (--filebrowser, --root-extensions,\n"
              "--extensions-path …), so that the same routes are walked.")  # fmt: skip
        return 0
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        found = prove(words)  # what strangers do wrong is no news here, but gradio prints it
    for walked in found:
        for crossing in walked.crossings:
            print(f"CROSSING {crossing}")
    first = found[0]
    for route, why in first.left.items():
        print(f"not walked: {route}: {why}")
    silent = [route for route, answered in first.answered.items() if not answered]
    print(f"answered none of the walker's calls (refused, or wrong for it): {', '.join(silent) or 'none'}")
    calls, crossings = (sum(sum(one.calls.values()) for one in found), sum(len(one.crossings) for one in found))
    print(f"{len(first.calls)} routes, {calls} calls by {len(found)} users, {crossings} crossings")
    return int(bool(crossings))


def prove(words: Sequence[str], *, both: bool = True, folder: Path | None = None) -> list[Walked]:
    """Walk a service with these flags, in a folder of its own; `both`: each user among the other's things."""
    with tempfile.TemporaryDirectory(prefix="easel-proof-") as made:
        settings = read_settings(["--filebrowser", *words, *_FLAGS, "--data-dir", str(folder or made)], {})
        with _running(settings) as service:
            return _walks(service, both=both)


@dataclass(frozen=True, slots=True)
class _Service:
    app: Easel
    api: FastAPI
    url: str


def _walks(service: _Service, *, both: bool) -> list[Walked]:
    people = [_person(service, name) for name in _NAMES]
    pages = [_page(person) if page_of(service.api) else "" for person in people]
    with acting_as(service.app.accounts.find(people[0].name).user):  # type: ignore[union-attr]
        routes, schemas = routes_of(service.api, service.app.extensions), _schemas(service.api)
    walks, nobody = [], httpx.Client(base_url=service.url, timeout=30)
    for stranger in (1, 0) if both else (1,):
        victim = 1 - stranger
        things = give(people[victim], pages[victim])
        walks.append(Walk(people[stranger], nobody, things, schemas, (pages[victim], pages[stranger])).over(routes))
        take_back(things)
    for client in (nobody, *(person.http for person in people)):
        client.close()
    return walks


def _schemas(api: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = api.openapi().get("components", {}).get("schemas", {})
    return found


def _person(service: _Service, name: str) -> Person:
    assert service.app.accounts is not None
    token = service.app.accounts.add(name)
    state = service.app.service.state_dir
    home = service.app.homes.settings_of(name).data_dir
    http = httpx.Client(base_url=service.url, headers={"Authorization": token}, timeout=60)
    return Person(name, token, http, home, (state / "users" / name, state / "page" / name))


def _page(person: Person) -> str:
    """Where a user's page lives."""
    text = person.http.get("/", headers={"Accept": "text/html"}, timeout=300).text
    return f"/page/{text.partition('/page/')[2][:12]}"


@contextmanager
def _running(settings: Settings) -> Iterator[_Service]:
    """The service, on a port of this machine, in this process."""
    logging.getLogger("easel").setLevel(logging.CRITICAL)
    app = Easel(settings, build=_build)
    page = page_for(app) if settings.page else None
    api = create_api(app, page.router() if page else None)
    config = uvicorn.Config(
        api, host="127.0.0.1", port=0, log_config=None, access_log=False, ws=Link, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="easel-proof", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the service did not start")
        time.sleep(0.02)
    try:
        yield _Service(app, api, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        if page is not None:
            page.end_streams()
        app.jobs.close()
        server.should_exit = True
        thread.join(30)


def _build(settings: Settings) -> Workplace:
    store = model_store(settings)
    return assemble(settings, store, ProvingEngine(store))
