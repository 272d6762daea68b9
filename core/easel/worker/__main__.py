"""The worker process: `python -m easel.worker FD`, started by the supervisor; FD is its end of the socket pair."""

from __future__ import annotations

import logging
import os
import sys
import threading
from multiprocessing.connection import Connection

from easel.values.wire import decode, encode
from easel.worker.build import build_road
from easel.worker.host import JobHost, tell_progress
from easel.worker.messages import COMMAND, EVENT, Close, Done, Failed, Open, Progressed, Ready, Refresh, Run, Select
from easel.worker.messages import Signal as SignalCommand

from easel.values.job import Job


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

    built = build_road(opening.settings)
    host = JobHost(built.road, emit)
    emit(Ready(os.getpid()))
    try:
        while True:
            command = decode(COMMAND, connection.recv_bytes())
            match command:
                case Run():
                    job = Job(id=command.id, user=command.user, name=command.name, created=command.created, request=command.request)
                    job.on_progress = tell_progress(emit, job.id)
                    host.run(job)
                case SignalCommand():
                    running = host.get(command.id)
                    if running is not None:
                        getattr(running, command.what)()
                case Select():
                    built.extensions.select(command.enabled)
                case Refresh():
                    built.store.refresh()
                case Close():
                    break
    except EOFError:
        pass  # the gateway is gone, and with it everybody who could want a picture
    os._exit(0)  # job threads may sit in a forward pass: nobody waits for them


if __name__ == "__main__":
    main()
