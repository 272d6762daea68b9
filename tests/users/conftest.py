"""A service of the cluster edition as a process, with two users in it at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from easel.users.accounts import Accounts

SCRIPT = Path(__file__).parent / "service.py"
SMALL = {"steps": 2, "width": 64, "height": 64, "seed": 1, "save_images": True}


@dataclass(repr=False)
class Person:
    """A user's client."""

    name: str
    token: str
    http: httpx.Client

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def picture(self, prompt: str, **more: Any) -> Any:
        return self.post("/sdapi/v1/txt2img", **SMALL, prompt=prompt, **more)


@dataclass(repr=False)
class Cluster:
    """The service; `person` makes a user while it runs."""

    data: Path
    url: str
    process: subprocess.Popen[str]
    told: list[str] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)

    def accounts(self) -> Accounts:
        return Accounts(self.data / ".easel")

    def person(self, name: str, *, admin: bool = False) -> Person:
        accounts = self.accounts()
        try:
            token = accounts.add(name, admin=admin)
        finally:
            accounts.close()
        return Person(name, token, self.client(Authorization=token))

    def client(self, **headers: str) -> httpx.Client:
        self.clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=60))
        return self.clients[-1]

    def end(self) -> None:
        """Stop it."""
        for client in self.clients:
            client.close()
        self.process.terminate()
        self.process.wait(30)

    def home(self, person: Person) -> Path:
        return self.data / "users" / person.name


Start = Callable[..., Cluster]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`start("--lora-dir", DIR, step_seconds=0.1)`: a service that runs to the end of the module."""
    running: list[Cluster] = []

    def begin(*flags: str, step_seconds: float = 0.0, data: Path | None = None) -> Cluster:
        data = data or tmp_path_factory.mktemp("cluster")
        environment = {**os.environ, "STEP_SECONDS": str(step_seconds)}
        command = [sys.executable, str(SCRIPT), "--data-dir", str(data), *flags]
        log = data.parent / f"{data.name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, text=True)
        for _ in range(1200):
            told = log.read_text()
            if found := re.search(r"running on (http://[\d.:]+)", told, re.IGNORECASE):
                running.append(Cluster(data, found[1], process, told.splitlines()))
                return running[-1]
            assert process.poll() is None, told
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    yield begin
    for one in running:
        one.end()


@pytest.fixture(scope="module")
def cluster(start: Start) -> Cluster:
    """One with the usual flags."""
    return start("--filebrowser", "--max-jobs-in-flight", "2", step_seconds=0.02)


@pytest.fixture(scope="module")
def ann(cluster: Cluster) -> Person:
    return cluster.person("ann")


@pytest.fixture(scope="module")
def bob(cluster: Cluster) -> Person:
    return cluster.person("bob")
