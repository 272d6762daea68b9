"""What passes between a gateway and its worker, whatever the other one does."""

from __future__ import annotations

import threading
from multiprocessing import Pipe
from pathlib import Path

from easel.errors import BadRequest, EaselError
from easel.jobs.jobs import Jobs
from easel.settings import read_settings
from easel.values.result import Result
from easel.values.wire import decode
from easel.worker.__main__ import outbox
from easel.worker.messages import EVENT, Done, Failed
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
    error = Failed("1", "BadRequest", "no", 0.0).rebuild()
    assert type(error) is BadRequest and error.message == "no"
    assert type(Failed("1", "Path", "no", 0.0).rebuild()) is EaselError


def test_nothing_is_started_once_closed(tmp_path: Path) -> None:
    worker = ChildWorker(Jobs(), read_settings(["--data-dir", str(tmp_path)], {}))
    worker.close()
    worker.start()
    assert worker.pid is None
