"""What passes between a gateway and its worker, whatever the other one does."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from pathlib import Path
from queue import Queue

import pytest

from easel.errors import BadRequest, EaselError
from easel.extensions.registry import Registry
from easel.jobs.jobs import Jobs
from easel.settings import read_settings
from easel.values.job import Job
from easel.values.request import GenerationRequest
from easel.values.result import Result
from easel.values.wire import decode
from easel.worker.__main__ import outbox
from easel.worker.host import JobHost
from easel.worker.messages import EVENT, Done, Failed, Progressed
from easel.worker.supervisor import ChildWorker


def test_telling_does_not_wait_for_who_does_not_listen() -> None:
    """Else a gateway that sends a large job and a worker that sends a large picture wait for each other for ever."""
    worker, gateway = Pipe()
    emit = outbox(worker)
    told = [Done(str(number), Result(images=(), info={"text": "x" * 2**20})) for number in range(4)]
    telling = threading.Thread(target=lambda: [emit(event) for event in told], daemon=True)
    telling.start()
    telling.join(20)
    assert not telling.is_alive()
    assert [decode(EVENT, gateway.recv_bytes()) for _ in told] == told


def test_errors_cross_as_they_were() -> None:
    error = Failed("1", "BadRequest", "no", {}).rebuild()
    assert type(error) is BadRequest and error.message == "no"
    assert type(Failed("1", "Path", "no", {}).rebuild()) is EaselError


def test_nothing_is_started_once_closed(tmp_path: Path) -> None:
    worker = ChildWorker(Jobs(), read_settings(["--data-dir", str(tmp_path)], {}), Registry([], tmp_path))
    worker.close()
    worker.start({})
    assert worker.pid is None


@pytest.mark.parametrize(("error", "says"), [
    (MemoryError(), "not enough memory"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "not enough memory"),
    (ValueError("/root/secret"), "internal error while running the job (ValueError); see the server's log"),
])  # fmt: skip
def test_what_a_job_raises_is_told_in_words(error: Exception, says: str) -> None:
    class Road:
        """Raises."""

        def run(self, job: Job) -> Result:
            raise error

    told: Queue[Done | Failed | Progressed] = Queue()
    JobHost(Road(), told.put).run(Job(id="1", request=GenerationRequest()))  # type: ignore[arg-type]
    assert isinstance(told.get(timeout=5), Progressed)
    failed = told.get(timeout=5)
    assert isinstance(failed, Failed) and says in failed.message and "secret" not in failed.message
