"""The worker process: `python -m easel.worker FD SLATE`, started by the supervisor.

FD is its end of the socket pair, SLATE the descriptor of a piece of memory on which it puts down whose code it runs.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from easel.settings import Settings
from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker.host import JobHost
from easel.worker.messages import (
    COMMAND,
    EVENT,
    Beat,
    Close,
    Done,
    Failed,
    Faulted,
    Follow,
    Lacks,
    Open,
    Progressed,
    Ready,
    Refresh,
    Run,
    Signal,
)
from easel.worker.slate import Slate
from easel.worker.workplace import Workplace, build_workplace, guard_egress

ENGINE_THREAD = "easel-engine"
_BEAT = 1.0  # seconds
Emit = Callable[[Ready | Beat | Lacks | Faulted | Done | Failed | Progressed], None]


def main(build: Callable[[Settings], Workplace] = build_workplace) -> None:
    """Serve commands until the gateway closes or dies. `build` puts the engine and what is around it together."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes: the gateway says when to end
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # a child of ours that outlived us would keep the gateway waiting
    connection = Connection(descriptor)
    opening = decode(COMMAND, connection.recv_bytes())
    if not isinstance(opening, Open):
        raise SystemExit("the first command must be Open")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(name)s: %(message)s")
    threading.excepthook = _end_without_engine
    emit = outbox(connection)
    _offer_to_the_kernel()
    guard_egress(opening.settings)
    workplace = build(opening.settings)
    workplace.extensions.watch.tell = lambda fault: emit(Faulted(fault))
    workplace.extensions.watch.show = Slate(int(sys.argv[2])).write
    host = JobHost(workplace.road, emit, workplace.engine.spent)
    emit(Ready(os.getpid()))
    threading.Thread(target=_beat, args=(emit,), name="easel-beat", daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the gateway is gone, and with it everybody who could want a picture
        while _obey(decode(COMMAND, connection.recv_bytes()), host, workplace, emit):
            pass
    os._exit(0)  # job threads may sit in a forward pass: nobody waits for them


def _beat(emit: Emit) -> None:
    while True:
        time.sleep(_BEAT)
        emit(Beat())


def _offer_to_the_kernel() -> None:
    """When the machine runs out of memory a worker is to die, never its gateway."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def outbox(connection: Connection) -> Emit:
    """What sends events in order and never waits: who reads commands must not wait for a gateway that sends one."""
    events: SimpleQueue[bytes] = SimpleQueue()

    def send() -> None:
        with suppress(OSError):  # the gateway is gone, as the reading of commands finds too
            while True:
                connection.send_bytes(events.get())

    threading.Thread(target=send, name="easel-outbox", daemon=True).start()
    return lambda event: events.put(encode(event, EVENT))


def _end_without_engine(fault: threading.ExceptHookArgs) -> None:
    """A worker whose engine broke (a GPU that only gives errors) is of no use: the gateway starts a fresh one."""
    threading.__excepthook__(fault)
    if fault.thread is not None and fault.thread.name == ENGINE_THREAD:
        os._exit(1)


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
        case Follow():
            if lacking := workplace.extensions.follow(command.extensions):
                emit(Lacks(lacking))
        case Refresh():
            workplace.refresh()
        case Close():
            return False
    return True


if __name__ == "__main__":
    main()
