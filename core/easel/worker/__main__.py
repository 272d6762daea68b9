"""The worker process: `python -m easel.worker FD`, started by the supervisor; FD is its end of the socket pair."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker.host import Emit, JobHost
from easel.worker.messages import (
    COMMAND,
    EVENT,
    Close,
    Done,
    Failed,
    Open,
    Progressed,
    Ready,
    Refresh,
    Run,
    Signal,
    Switch,
)
from easel.worker.workplace import Workplace, build_workplace


def main() -> None:
    """Serve commands until the gateway closes or dies."""
    connection = Connection(int(sys.argv[1]))
    opening = decode(COMMAND, connection.recv_bytes())
    if not isinstance(opening, Open):
        raise SystemExit("the first command must be Open")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(name)s: %(message)s")
    sending = threading.Lock()

    def emit(event: Ready | Done | Failed | Progressed) -> None:
        data = encode(event, EVENT)
        with sending:
            connection.send_bytes(data)

    workplace = build_workplace(opening.settings)
    host = JobHost(workplace.road, emit)
    emit(Ready(os.getpid()))
    with suppress(EOFError):  # the gateway is gone, and with it everybody who could want a picture
        while _obey(decode(COMMAND, connection.recv_bytes()), host, workplace, emit):
            pass
    os._exit(0)  # job threads may sit in a forward pass: nobody waits for them


def _obey(command: object, host: JobHost, workplace: Workplace, emit: Emit) -> bool:
    """Do as told; False after Close."""
    match command:
        case Run():
            job = Job(
                id=command.id,
                user=command.user,
                name=command.name,
                created=command.created,
                request=command.request,
                on_progress=lambda progress: emit(Progressed(command.id, progress)),
            )
            host.run(job)
        case Signal():
            running = host.get(command.id)
            if running is not None:
                getattr(running, command.what)()
        case Switch():
            workplace.switch(command.name, command.on)
        case Refresh():
            workplace.store.refresh()
        case Close():
            return False
    return True


if __name__ == "__main__":
    main()
