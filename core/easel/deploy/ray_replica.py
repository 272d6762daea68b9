"""A replica of Ray Serve: it keeps one worker process and hands it jobs, by the same code as a gateway does.

What crosses are the worker's own messages (`easel.worker.messages`), so that a replica and a child process are one
kind of worker. Ray is imported here: this module is for those who compute on a cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray import serve
from ray.exceptions import RayError

from easel.errors import EaselError, NotFound
from easel.extensions.watch import Fault
from easel.jobs.jobs import Jobs
from easel.values.job import Job
from easel.values.wire import decode, encode
from easel.worker.messages import COMMAND, EVENT, Done, Failed, Faulted, Lacks, Open, Progressed, Ready, Run
from easel.worker.pool import Pool
from easel.worker.scaling import Scale, wanted


class Board:
    """Where a gateway puts what running jobs are told; an actor. Each call of a replica reads what concerns its job."""

    def __init__(self) -> None:
        self._asked: dict[str, list[str]] = {}
        self._changed = asyncio.Condition()

    async def put(self, job: str, what: str) -> None:
        """Tell a job to stop, in one of the ways of `Signal`."""
        async with self._changed:
            self._asked.setdefault(job, []).append(what)
            self._changed.notify_all()

    async def asked(self, job: str, seen: int) -> list[str]:
        """What a job was told beyond the first `seen`, as soon as there is anything."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._asked.get(job, ())) > seen)
            return self._asked[job][seen:]

    async def forget(self, job: str) -> None:
        """A job has ended."""
        self._asked.pop(job, None)


class Notices(deque[bytes]):
    """What a worker has to say of extensions, until a call takes it to the gateway."""

    def note(self, fault: Fault) -> None:
        """An extension failed."""
        self.append(encode(Faulted(fault), EVENT))

    def lacks(self, reasons: Mapping[str, str]) -> None:
        """The worker could not follow."""
        self.append(encode(Lacks(reasons), EVENT))


class Replica:
    """The deployment's class. `opening` is the message that opens a worker, `program` what is started as one."""

    def __init__(self, opening: bytes, program: Sequence[str]) -> None:
        opened = decode(COMMAND, opening)
        assert isinstance(opened, Open)
        settings = replace(opened.settings, workers=1, min_workers=1)
        self._jobs = Jobs(
            max_in_flight=settings.max_jobs_in_flight,
            deadline=settings.job_deadline,
            phase_deadline=settings.phase_deadline,
        )
        self._notices = Notices()
        self._pool = Pool(self._jobs, settings, self._notices, program=program)
        self._jobs.attach(self._pool)
        self._pool.start({})
        self._extensions: Mapping[str, int] = {}
        self._refreshed = 0

    async def run(
        self, command: bytes, extensions: Mapping[str, int], refreshed: int, board: Any
    ) -> AsyncIterator[bytes]:
        """Do a job; yields the worker's events, the last one Done or Failed.

        `extensions`: who is on in the gateway; `refreshed`: how often it had model folders looked at again.
        """
        run = decode(COMMAND, command)
        assert isinstance(run, Run)
        yield encode(Ready(os.getpid()), EVENT)
        if checkpoint := serve.get_multiplexed_model_id():
            await self.warm(checkpoint)
        if extensions != self._extensions:
            self._pool.follow(extensions)
            self._extensions = extensions
        if refreshed > self._refreshed:
            self._pool.refresh()
            self._refreshed = refreshed
        job = await self._submit(run)
        heed = asyncio.create_task(self._heed(job, board))
        try:
            async for event in self._events(job):
                yield event
            yield encode(await self._end(job), EVENT)
        finally:
            heed.cancel()
            self._jobs.signal("cancel", job)  # nobody listens any more: a no-op for one that has ended

    async def warm(self, checkpoint: str) -> str:
        """Take note that a checkpoint is in this replica's memory from now on (see `deployment`)."""
        return checkpoint

    async def __del__(self) -> None:  # Serve awaits it when the replica has drained
        await asyncio.to_thread(self._jobs.close)

    async def _submit(self, run: Run) -> Job:
        earlier = self._jobs.find(run.id)
        if earlier is not None and not self._jobs.state(earlier).final:  # of a gateway that died since
            self._jobs.signal("cancel", earlier)
            with suppress(EaselError):
                await self._jobs.wait(earlier)
        return await asyncio.to_thread(
            self._jobs.submit, run.request, user=run.user, name=run.name, id=run.id, created=run.created
        )

    async def _events(self, job: Job) -> AsyncIterator[bytes]:
        loop, bell, told = asyncio.get_running_loop(), asyncio.Event(), job.progress
        with self._jobs.listening(job, lambda: loop.call_soon_threadsafe(bell.set)):
            while not self._jobs.state(job).final:
                if job.progress is not told:
                    told = job.progress
                    yield encode(Progressed(job.id, told), EVENT)
                await bell.wait()
                bell.clear()
        while self._notices:
            yield self._notices.popleft()

    async def _end(self, job: Job) -> Done | Failed:
        try:
            return Done(job.id, await self._jobs.wait(job))
        except EaselError as error:
            return Failed(job.id, type(error).__name__, error.message, self._jobs.seconds(job))

    async def _heed(self, job: Job, board: Any) -> None:
        seen = 0
        with suppress(RayError, NotFound):  # the gateway is gone, and its jobs are cancelled
            while True:
                for what in await board.asked.remote(job.id, seen):
                    seen += 1
                    self._jobs.signal(what, job)


class BacklogPolicy:
    """Our rule for the number of workers as Serve asks for one; it waits `idle_timeout` before it ends any."""

    def __init__(self, least: int, most: int, backlog: float) -> None:
        self._scale = Scale(least, most, backlog, 0.0)

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """The number of replicas, for the calls that run and wait."""
        return wanted(self._scale, context.target_num_replicas, context.total_num_requests), {}


def deployment(opening: bytes, program: Sequence[str], scale: Scale, *, first: bool) -> serve.Application:
    """What is deployed: replicas for the service that `opening` describes, as many as `scale` wants.

    Unless it is the `first` time, those that are there go on, as far as the new scale leaves them room.
    """
    opened = decode(COMMAND, opening)
    assert isinstance(opened, Open)
    settings = opened.settings

    class Worker(Replica):
        warm = serve.multiplexed(max_num_models_per_replica=settings.warm_checkpoints)(Replica.warm)

    configured = serve.deployment(
        Worker,
        name="worker",
        max_ongoing_requests=settings.max_jobs_in_flight,
        ray_actor_options={"num_cpus": settings.worker_cpus, "num_gpus": settings.worker_gpus},
        autoscaling_config={
            "min_replicas": scale.least,
            "initial_replicas": scale.least if first else None,
            "max_replicas": scale.most,
            "target_ongoing_requests": scale.backlog,
            "upscale_delay_s": 0.0,
            "downscale_delay_s": scale.idle,
            "downscale_to_zero_delay_s": scale.idle,
            "metrics_interval_s": 1.0,
            "look_back_period_s": 2.0,
            "policy": {
                "policy_function": "easel.deploy.ray_replica:BacklogPolicy",
                "policy_kwargs": {"least": scale.least, "most": scale.most, "backlog": scale.backlog},
            },
        },
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=settings.job_deadline,
        health_check_period_s=5.0,
        health_check_timeout_s=settings.worker_silence or 3600.0,
    )
    # Without a version of ours Serve would take new bounds for new code, and start every replica anew.
    configured._version = hashlib.sha256(opening + "\0".join(program).encode()).hexdigest()
    return configured.bind(opening, tuple(program))
