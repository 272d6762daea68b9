"""The workers of a gateway as a deployment of Ray Serve: what `easel.worker.pool` is for child processes."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from easel.errors import SettingsError, WorkerLost
from easel.extensions.registry import Registry
from easel.jobs.jobs import Jobs
from easel.jobs.places import Signal
from easel.settings import Settings
from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker import messages
from easel.worker.messages import COMMAND, EVENT, Done, Failed, Ready
from easel.worker.pool import Member
from easel.worker.scaling import Scale
from easel.worker.supervisor import PROGRAM, deliver

if TYPE_CHECKING:
    from concurrent.futures import Future

log = logging.getLogger("easel.ray")
_LOOK = 1.0  # seconds between looks at the replicas
_PATIENCE = 10.0  # seconds for the cluster to take in that a job is to stop
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1"}
_AT_HOME = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without it Ray binds this machine's outer address
    "RAY_worker_niceness": "0",  # as important as child processes would be; Ray's own is 15
}
_STARTS = 3  # of a cluster of our own: Ray gives a busy machine half a minute, which is not always enough


@dataclass(eq=False)
class Slot:
    """Room for one call of the deployment; which replica takes it is for Serve to say."""

    workforce: RayWorkforce
    pid: int | None = None  # of the replica that has the job
    checkpoint: str = ""
    call: Future[None] | None = None

    def run(self, job: Job) -> None:
        """Begin a job."""
        self.pid, self.checkpoint = None, job.request.checkpoint
        self.call = self.workforce.begin(self, job)

    def signal(self, job: Job, what: Signal) -> None:
        """Tell a job to stop, wherever it is."""
        self.workforce.tell(job, what)

    def replace(self, why: str, *, long: float, told: str = "") -> None:
        """Give up the call: deadlines are the replica's own business, so nobody asks for this."""
        if self.call is not None:
            self.call.cancel()


class RayWorkforce:
    """The deployment of one gateway, named as the service. `program` is what each replica starts as its worker."""

    def __init__(
        self, jobs: Jobs, settings: Settings, extensions: Registry, *, program: Sequence[str] = PROGRAM
    ) -> None:
        self._jobs, self._settings, self._registry = jobs, settings, extensions
        self._opening = encode(messages.Open(settings), COMMAND)
        self._program = program
        self.scale = Scale.of(settings)
        self._slots: list[Slot] = []
        self._extensions: Mapping[str, int] = {}
        self._refreshed = 0
        self._states: Mapping[str, int] = {}
        self._handle: Any = None
        self._board: Any = None
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._loop = asyncio.new_event_loop()

    def start(self, extensions: Mapping[str, int]) -> None:
        """Join the cluster and deploy. Errors: SettingsError (no Ray, no cluster, or it cannot be deployed)."""
        self._extensions = extensions
        threading.Thread(target=self._loop.run_forever, name="easel-ray", daemon=True).start()
        ray, serve = connect(self._settings.ray)
        from easel.deploy.ray_replica import Board

        serve.start(proxy_location="Disabled")
        self._board = ray.remote(Board).options(num_cpus=0, max_concurrency=100_000).remote()
        self._deploy()
        threading.Thread(target=self._look, name="easel-ray-states", daemon=True).start()

    def begin(self, slot: Slot, job: Job) -> Future[None]:
        """Call the deployment with a job."""
        return asyncio.run_coroutine_threadsafe(self._call(slot, job), self._loop)

    def tell(self, job: Job, what: Signal) -> Any:
        """Put it on the board."""
        return self._board.put.remote(job.id, what)

    def wake(self) -> None:
        """Serve sees the calls that wait."""

    def follow(self, extensions: Mapping[str, int]) -> None:
        """Every call says who is on."""
        self._extensions = extensions

    def refresh(self) -> None:
        """Every call says how often the model folders were to be looked at."""
        self._refreshed += 1

    def resize(self, workers: int) -> None:
        """Another greatest number of replicas; those beyond it finish what they have."""
        with self._lock:
            self.scale = self.scale.to(workers)
            self._deploy()

    def members(self) -> list[Member]:
        """The replicas as Serve tells of them, and what those that have jobs are at."""
        busy: dict[int, list[Slot]] = {}
        for slot in self._busy():
            if slot.pid is not None:
                busy.setdefault(slot.pid, []).append(slot)
        starting = sum(self._states.get(state, 0) for state in ("STARTING", "UPDATING", "RECOVERING"))
        idle = self._states.get("RUNNING", 0) + self._states.get("STOPPING", 0) - len(busy)
        return [
            *(Member(pid=pid, state="busy", jobs=len(slots), checkpoints=_named(slots)) for pid, slots in busy.items()),
            *[Member(pid=None, state="idle")] * max(0, idle),
            *[Member(pid=None, state="starting")] * starting,
        ]

    def close(self) -> None:
        """Cancel what runs and take the deployment away; a cluster of our own ends too."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._handle is not None:
            import ray
            from ray import serve

            try:
                asked = [self.tell(job, "cancel") for job in self._jobs.running()]
                ray.get(asked, timeout=_PATIENCE)
                serve.delete(self._settings.service_name)
                if self._settings.ray == "local":
                    serve.shutdown()
            except Exception:  # a cluster that is gone is as good as closed
                log.exception("the deployment could not be taken away")
            if self._settings.ray == "local":
                _end_cluster(ray)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _busy(self) -> list[Slot]:
        places = self._jobs.workers()
        return [slot for slot in self._slots if slot in places and places[slot][0]]

    def _deploy(self) -> None:
        """Deploy, or change the bounds of what is deployed; then as many slots as keep that busy."""
        from ray import serve

        from easel.deploy.ray_replica import deployment

        first = self._handle is None
        application = deployment(self._opening, self._program, self.scale, first=first)
        target = serve.RunTarget(application, name=self._settings.service_name, route_prefix=None)
        try:  # later nobody waits: a replica that is one too many may have work for a long time
            (self._handle,) = serve.run_many([target], wait_for_applications_running=first)
        except (RuntimeError, TimeoutError) as error:
            raise SettingsError(f"Ray Serve could not deploy the workers: {error}") from error
        each = max(self._settings.max_jobs_in_flight, math.ceil(self.scale.backlog))
        while len(self._slots) < self.scale.most * each:
            self._slots.append(Slot(self))
            self._jobs.ready(self._slots[-1])
        for slot in self._slots[self.scale.most * each :]:
            if self._jobs.retire(slot):
                self._slots.remove(slot)

    async def _call(self, slot: Slot, job: Job) -> None:
        run = messages.Run(job.id, job.user, job.name, job.created, job.request)
        handle = self._handle.options(stream=True, multiplexed_model_id=job.request.checkpoint)
        ended, why = False, "its replica ended"
        try:
            events = handle.run.remote(encode(run, COMMAND), dict(self._extensions), self._refreshed, self._board)
            async for data in events:
                event = decode(EVENT, data)
                if isinstance(event, Ready):
                    slot.pid = event.pid
                elif isinstance(event, Failed) and event.error == WorkerLost.__name__:
                    why = event.message
                else:
                    ended |= isinstance(event, Done | Failed)
                    await asyncio.to_thread(deliver, self._jobs, self._registry, event)
        except Exception:  # whatever Ray says: the job is not done
            log.exception("the call for job %s broke off", job.id)
        finally:
            self._board.forget.remote(job.id)
        if not ended and not self._closed.is_set():
            await asyncio.to_thread(self._lost, slot, why)

    def _lost(self, slot: Slot, why: str) -> None:
        self._jobs.lost(slot, why)
        self._jobs.ready(slot)

    def _look(self) -> None:
        from ray import serve

        while not self._closed.wait(_LOOK):
            try:
                with self._lock:  # Serve reads and makes configurations in one thread at a time
                    applications = serve.status().applications
                if (found := applications.get(self._settings.service_name)) is not None:
                    self._states = {str(state): n for state, n in found.deployments["worker"].replica_states.items()}
            except Exception:  # the next look may find it well
                log.exception("the replicas could not be looked at")


def _named(slots: Sequence[Slot]) -> tuple[str, ...]:
    """The checkpoints that calls ask for."""
    return tuple(sorted({slot.checkpoint for slot in slots if slot.checkpoint}))


def connect(address: str) -> tuple[Any, Any]:
    """Join a cluster: `local` starts one on this machine alone, `auto` finds the one it is part of.

    Errors: SettingsError.
    """
    for name, value in (_QUIET | (_AT_HOME if address == "local" else {})).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise SettingsError("--ray needs the ray package: pip install 'easel-studio[ray]'") from error
    if ray.is_initialized():
        return ray, serve
    where: dict[str, Any] = {"address": address} | ({"include_dashboard": False} if address == "local" else {})
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(**where, namespace="easel", log_to_driver=False, configure_logging=False)
            break
        except Exception as error:  # Ray raises bare ones too
            if address == "local" and attempt < _STARTS:
                log.warning("Ray did not start, which is tried again: %s", error)
                ray.shutdown()
                continue
            cure = "start one with `ray start --head`, or take --ray local"
            raise SettingsError(f"--ray {address}: there is no such cluster ({error}); {cure}") from error
    return ray, serve


def _end_cluster(ray: Any) -> None:
    """End a cluster of our own, with those of its processes that would find out themselves only after a while."""
    family = psutil.Process().children(recursive=True)
    ray.shutdown()
    for one in family:
        with suppress(psutil.Error):
            if one.name().startswith("ray::") or "/ray/" in " ".join(one.cmdline()):
                one.kill()
