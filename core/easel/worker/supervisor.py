"""Workers as a gateway sees them: a child process from its start to its end, or threads of this process."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Protocol

import psutil

from easel.errors import EaselError
from easel.extensions.registry import Registry
from easel.extensions.watch import Fault
from easel.jobs.jobs import Jobs
from easel.jobs.places import Signal
from easel.settings import Settings
from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker import messages
from easel.worker.host import JobHost
from easel.worker.messages import COMMAND, EVENT, Beat, Done, Failed, Faulted, Lacks, Progressed, Ready
from easel.worker.slate import Slate
from easel.worker.workplace import Workplace

log = logging.getLogger("easel.worker")
PROGRAM = (sys.executable, "-m", "easel.worker")
LAST_SECONDS = 5  # to end by itself
_START = 120.0  # seconds that a start may take at least
_LOOK = 0.5  # seconds between looks at memory and heartbeat


class Overseer(Protocol):
    """Who hears of extensions that fail in a worker: a gateway's registry, or what passes it on to one."""

    def note(self, fault: Fault) -> None:
        """An extension failed."""
        ...

    def lacks(self, reasons: Mapping[str, str]) -> None:
        """A worker could not follow."""
        ...


def deliver(jobs: Jobs, extensions: Overseer, event: Lacks | Faulted | Done | Failed | Progressed) -> None:
    """Hand a worker's event to the jobs, or to who switches extensions."""
    match event:
        case Lacks():
            extensions.lacks(event.reasons)
        case Faulted():
            extensions.note(event.fault)
        case Progressed():
            jobs.progressed(event.id, event.progress)
        case Done():
            jobs.done(event.id, event.result, event.spent)
        case Failed():
            jobs.failed(event.id, event.rebuild(), event.seconds, event.spent)


class InProcessWorker:
    """The engine in threads of this process: for tests and the one-shot command line. Built at the first job."""

    def __init__(self, jobs: Jobs, build: Callable[[], Workplace], extensions: Registry) -> None:
        self._jobs, self._build, self._registry = jobs, build, extensions
        self._lock = threading.Lock()
        self._workplace: Workplace | None = None
        self._extensions: Mapping[str, int] = {}
        self._host: JobHost | None = None

    def run(self, job: Job) -> None:
        """Begin a job."""
        try:
            lacking: Mapping[str, str] = {}
            with self._lock:
                if self._host is None:
                    workplace = self._workplace = self._build()
                    workplace.extensions.watch.tell = self._registry.note
                    lacking = workplace.extensions.follow(self._extensions)
                    self._host = JobHost(
                        workplace.road,
                        lambda event: deliver(self._jobs, self._registry, event),
                        workplace.engine.spent,
                    )
        except EaselError as error:
            self._jobs.failed(job.id, error)
            return
        if lacking:
            self._registry.lacks(lacking)
        job.on_progress = lambda progress: self._jobs.progressed(job.id, progress)
        self._host.run(job)

    def signal(self, job: Job, what: Signal) -> None:
        """The job object is shared: `Jobs` has set its flag already."""

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on in the worker who is on in the gateway."""
        with self._lock:
            self._extensions = extensions
            lacking = self._workplace.extensions.follow(extensions) if self._workplace is not None else {}
        if lacking:
            self._registry.lacks(lacking)

    def refresh(self) -> None:
        """Look at the model folders again."""
        if self._workplace is not None:
            self._workplace.refresh()

    def wake(self) -> None:
        """This worker is always there."""

    def replace(self, why: str, *, long: float, told: str = "") -> None:
        """Threads cannot be killed; a late job is cancelled at its next step."""
        for job in self._jobs.running():
            job.cancel()

    def close(self) -> None:
        """Stop the engine."""
        if self._workplace is not None:
            self._workplace.close()


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker ended, if we ended it; `long`: seconds that a culprit was inside at least."""

    why: str = "the worker died"
    long: float = 0.0
    told: str = ""  # to who waits for a job; of the deadline they hear anyway


@dataclass(eq=False)
class ChildWorker:
    """One child process with one engine. `ended` is called once, when it is gone and its jobs were reported lost."""

    jobs: Jobs
    settings: Settings
    extensions: Overseer
    program: Sequence[str] = PROGRAM
    ended: Callable[[ChildWorker], None] = lambda worker: None
    started: float = field(default_factory=time.monotonic)
    ready_after: float | None = None  # seconds that its start took; None: it has not taken jobs yet
    status: int | None = None  # it ended with; negative: the number of the signal
    _slate: Slate = field(default_factory=Slate)
    _death: Death = Death()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)
    _gone: threading.Event = field(default_factory=threading.Event)
    _heard: float = 0.0
    _connection: Connection | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self, extensions: Mapping[str, int]) -> None:
        """Start the process, with who is on; `jobs.ready` is called as soon as it takes jobs. Errors: OSError."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._closed.is_set():
                ours.close()
                return
            fd = theirs.fileno()
            slate = self._slate.descriptor
            command = [*self.program, str(fd), str(slate)]
            self._process = subprocess.Popen(command, pass_fds=(fd, slate), stdin=subprocess.DEVNULL)
            self._heard = time.monotonic()
            self._connection = Connection(ours.detach())
            self._tell(encode(messages.Open(self.settings), COMMAND))
            self._tell(encode(messages.Follow(extensions), COMMAND))
        threading.Thread(target=self._live, name="easel-worker-reader", daemon=True).start()
        threading.Thread(target=self._watch, name="easel-worker-watch", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of the child."""
        return self._process.pid if self._process else None

    def run(self, job: Job) -> None:
        """Begin a job."""
        self._send(messages.Run(job.id, job.user, job.name, job.created, job.request))

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a running job to stop."""
        self._send(messages.Signal(job.id, what))

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on in the worker who is on in the gateway."""
        self._send(messages.Follow(extensions))

    def refresh(self) -> None:
        """Let the worker look at the model folders again."""
        self._send(messages.Refresh())

    def replace(self, why: str, *, long: float, told: str = "") -> None:
        """Kill the child."""
        self._kill(Death(why, long, told))

    def close(self) -> None:
        """End it, gently at first."""
        self._closed.set()
        self._send(messages.Close())
        if self._reap() is None:  # it was never started
            self._slate.close()

    def _kill(self, death: Death) -> None:
        if self._process is not None and not self._gone.is_set():
            self._death = death
            self._process.kill()

    def _watch(self) -> None:
        """Kill a worker that takes more main memory than it may, or that is not heard of any more."""
        limit, silence = self.settings.worker_memory * 2**30, self.settings.worker_silence
        while not self._gone.wait(_LOOK):
            with suppress(psutil.Error):
                if limit and psutil.Process(self.pid).memory_info().rss > limit:
                    why = f"it took more than {self.settings.worker_memory:g} GB of memory"
                    self._kill(Death(why, told=why))
            allowed = silence if self.ready_after is not None else max(_START, self.settings.phase_deadline)
            if allowed and time.monotonic() - self._heard > allowed:
                why = f"it was not heard of for {allowed:g} s"
                self._kill(Death(why, long=allowed / 2, told=why))

    def _blame(self) -> str:
        """In words, why the worker died and in whose code; who that was is noted. "" when nothing is known."""
        death = self._death
        found = next((one for one in self._slate.read() if time.monotonic() - one.since >= death.long), None)
        if found is None:
            return death.told
        fault = Fault(extension=found.extension, hook=found.hook, message=death.why, when=time.time(), kind="worker")
        self.extensions.note(fault)
        inside = f"it was inside the extension {found.extension!r} ({found.hook})"
        return ", and ".join(filter(None, (death.told, inside)))

    def _reap(self) -> int | None:
        """Wait for the child's end, which is made when it does not come; its exit status."""
        with self._lock:
            process = self._process
        if process is None:
            return None
        try:
            return process.wait(timeout=LAST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _send(self, command: object) -> None:
        data = encode(command, COMMAND)
        with self._lock:
            self._tell(data)

    def _tell(self, data: bytes) -> None:
        """Send; the caller holds the lock."""
        if self._connection is None:
            return
        try:
            self._connection.send_bytes(data)
        except (BrokenPipeError, ConnectionError, OSError):
            log.warning("the worker does not listen any more")  # the reader sees the end

    def _live(self) -> None:
        """Hand on what the child says until it ends, and its jobs back."""
        self._listen()
        self.status = self._reap()
        self._gone.set()
        if not self._closed.is_set():
            culprit = self._blame()
            log.error("the worker %s ended (exit status %s). %s", self.pid, self.status, culprit)
            self.jobs.lost(self, culprit)
        self._slate.close()
        self.ended(self)

    def _listen(self) -> None:
        with self._lock:
            connection = self._connection
        if connection is None:
            return
        while True:
            try:
                data = connection.recv_bytes()
            except (EOFError, OSError):
                break
            self._heard = time.monotonic()
            try:
                event = decode(EVENT, data)
                if isinstance(event, Ready):
                    self.ready_after = time.monotonic() - self.started
                    self.jobs.ready(self, start=self.ready_after)
                elif not isinstance(event, Beat):
                    deliver(self.jobs, self.extensions, event)
            except Exception:  # one bad message must not leave all others unheard
                log.exception("a message of the worker could not be used")
        with self._lock:
            connection.close()
            self._connection = None
