"""Workers as a gateway sees them: a child process that is replaced when it dies, or threads of this process."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil

from easel.errors import EaselError
from easel.extensions.registry import Registry
from easel.extensions.watch import Fault
from easel.jobs.jobs import Jobs, Signal
from easel.settings import Settings
from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker import messages
from easel.worker.host import JobHost
from easel.worker.messages import COMMAND, EVENT, Done, Failed, Faulted, Lacks, Progressed, Ready
from easel.worker.slate import Slate
from easel.worker.workplace import Workplace

log = logging.getLogger("easel.worker")
RESTART_PAUSE = (0.0, 1.0, 5.0, 15.0, 30.0)  # seconds before the n-th start in a row without a Ready
LAST_SECONDS = 5  # to end by itself
_LOOK = 0.5  # seconds between looks at the memory
GIVE_UP_AFTER = 3  # starts in a row without a Ready: then waiting jobs fail, and further starts are still tried


def deliver(jobs: Jobs, extensions: Registry, event: Lacks | Faulted | Done | Failed | Progressed) -> None:
    """Hand a worker's event to the jobs, or to who switches extensions."""
    match event:
        case Lacks():
            extensions.lacks(event.reasons)
        case Faulted():
            extensions.note(event.fault)
        case Progressed():
            jobs.progressed(event.id, event.progress)
        case Done():
            jobs.done(event.id, event.result)
        case Failed():
            jobs.failed(event.id, event.rebuild(), event.seconds)


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
                    self._host = JobHost(workplace.road, lambda event: deliver(self._jobs, self._registry, event))
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

    def replace(self) -> None:
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


class ChildWorker:
    """A child process with one engine. When it dies a fresh one takes its place and its jobs are reported lost."""

    def __init__(self, jobs: Jobs, settings: Settings, extensions: Registry) -> None:
        self._jobs, self._settings, self._registry = jobs, settings, extensions
        self._slate = Slate()
        self._death = Death()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._extensions: Mapping[str, int] = {}
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, extensions: Mapping[str, int] | None = None) -> None:
        """Start the first child; `jobs.ready` is called as soon as it takes jobs."""
        self._extensions = extensions or {}
        self._start()
        threading.Thread(target=self._read, name="easel-worker-reader", daemon=True).start()
        threading.Thread(target=self._limit_memory, name="easel-worker-memory", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """Of the present child."""
        return self._process.pid if self._process else None

    def run(self, job: Job) -> None:
        """Begin a job."""
        self._send(messages.Run(job.id, job.user, job.name, job.created, job.request))

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a running job to stop."""
        self._send(messages.Signal(job.id, what))

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Have on in the worker, and in those that come after it, who is on in the gateway."""
        with self._lock:
            self._extensions = extensions
            self._tell(encode(messages.Follow(extensions), COMMAND))

    def refresh(self) -> None:
        """Let the worker look at the model folders again."""
        self._send(messages.Refresh())

    def replace(self) -> None:
        """Kill the child; the reader notices and starts a fresh one."""
        self._kill(Death("it ran past the job deadline", long=self._settings.job_deadline / 10))

    def close(self) -> None:
        """Stop for good."""
        self._closed.set()
        self._send(messages.Close())
        self._reap()
        self._slate.close()

    def _kill(self, death: Death) -> None:
        if self._process is not None:
            self._death = death
            self._process.kill()

    def _limit_memory(self) -> None:
        """Replace a worker that takes more main memory than it may."""
        limit = self._settings.worker_memory * 2**30
        while limit and not self._closed.wait(_LOOK):
            with suppress(psutil.Error):
                if self._process is not None and psutil.Process(self._process.pid).memory_info().rss > limit:
                    why = f"it took more than {self._settings.worker_memory:g} GB of memory"
                    self._kill(Death(why, told=why))

    def _blame(self) -> str:
        """In words, why the worker died and in whose code; who that was is noted. "" when nothing is known."""
        death, self._death = self._death, Death()
        found = next((one for one in self._slate.read() if time.monotonic() - one.since >= death.long), None)
        self._slate.wipe()
        if found is None:
            return death.told
        fault = Fault(extension=found.extension, hook=found.hook, message=death.why, when=time.time(), kind="worker")
        self._registry.note(fault)
        inside = f"it was inside the extension {found.extension!r} ({found.hook})"
        return ", and ".join(filter(None, (death.told, inside)))

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            if self._closed.is_set():
                ours.close()
                return
            fd = theirs.fileno()
            slate = self._slate.descriptor
            command = [sys.executable, "-m", "easel.worker", str(fd), str(slate)]
            self._process = subprocess.Popen(command, pass_fds=(fd, slate), stdin=subprocess.DEVNULL)
            self._connection = Connection(ours.detach())
            self._tell(encode(messages.Open(self._settings), COMMAND))
            self._tell(encode(messages.Follow(self._extensions), COMMAND))

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
            log.warning("the worker does not listen any more")  # the reader sees the end and replaces it

    def _read(self) -> None:
        starts = 0
        while not self._closed.is_set():
            if self._listen():
                starts = 0
            if self._closed.is_set():
                return
            status, culprit = self._reap(), self._blame()
            log.error("the worker ended (exit status %s); starting a fresh one. %s", status, culprit)
            self._jobs.lost(culprit)
            pause = RESTART_PAUSE[min(starts, len(RESTART_PAUSE) - 1)]
            starts += 1
            if starts >= GIVE_UP_AFTER:
                self._jobs.unable("the worker does not start; the server's log says why")
            if self._closed.wait(pause):
                return
            self._start()

    def _listen(self) -> bool:
        """Hand on what the child says until it ends; whether it ever took jobs."""
        with self._lock:
            connection = self._connection
        if connection is None:
            return False
        ready = False
        while True:
            try:
                data = connection.recv_bytes()
            except (EOFError, OSError):
                break
            try:
                event = decode(EVENT, data)
                if isinstance(event, Ready):
                    ready = True
                    self._jobs.ready()
                else:
                    deliver(self._jobs, self._registry, event)
            except Exception:  # one bad message must not leave all others unheard
                log.exception("a message of the worker could not be used")
        with self._lock:
            connection.close()
            self._connection = None
        return ready
