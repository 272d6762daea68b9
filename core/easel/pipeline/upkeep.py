"""The core's own tasks: what a gateway asks of a worker besides pictures."""

from __future__ import annotations

from pydantic import BaseModel

from easel.engine.engine import Engine, ModelSpec
from easel.errors import EaselError
from easel.extensions.task import task
from easel.pipeline.road import Run
from easel.values.job import Job
from easel.values.result import Draft


class Nothing(BaseModel):
    """No arguments."""


class Checkpoint(BaseModel):
    """A checkpoint by its title."""

    checkpoint: str


class Upkeep:
    """A core plugin; its tasks belong to the extension ""."""

    @task(Nothing)
    def unload(self, arguments: Nothing, job: Job) -> Draft:
        """Drop all loaded models; the next job loads what it needs."""
        _engine(job).unload(job)
        return Draft(images=(), info={})

    @task(Checkpoint)
    def load(self, arguments: Checkpoint, job: Job) -> Draft:
        """Load a checkpoint before somebody needs it."""
        _engine(job).load(job, ModelSpec(checkpoint=arguments.checkpoint))
        return Draft(images=(), info={})

    @task(Nothing)
    def memory(self, arguments: Nothing, job: Job) -> Draft:
        """The memory of the engine's device, as A1111's `/memory` calls it."""
        return Draft(images=(), info=_engine(job).memory())


def _engine(job: Job) -> Engine:
    if not isinstance(job.runner, Run):
        raise EaselError("this job is not on a road")
    return job.runner.engine
