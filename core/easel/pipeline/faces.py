"""Restoring faces: `restore_faces` of a request, right after decoding and before anything is laid over the picture."""

from __future__ import annotations

from dataclasses import replace

from PIL.Image import Image as Pixels

from easel.extensions.hooks import Hooks, Owned
from easel.pipeline.road import ignored
from easel.values.job import Job
from easel.values.request import GenerationRequest
from easel.values.result import ReportLine


def check_faces(hooks: Hooks, job: Job) -> GenerationRequest:
    """The job's request, without `restore_faces` where nobody here can; it is noted what becomes of it."""
    if not job.request.restore_faces:
        return job.request
    chosen = _chosen(hooks, job)
    reason = _why_not(hooks, job, chosen)
    if reason:
        ignored(job, "restore_faces", reason, chosen.extension if chosen else "")
        job.request = replace(job.request, restore_faces=False)
    elif chosen is not None:
        line = ReportLine(item="restore_faces", outcome="applied", reason=chosen.value.name, extension=chosen.extension)
        job.note(line)
    return job.request


def restore_faces(hooks: Hooks, job: Job, pictures: list[Pixels]) -> list[Pixels]:
    """The pictures with their faces restored, where the request asks for it."""
    chosen = _chosen(hooks, job) if job.request.restore_faces else None
    if chosen is None or job.request.explain:
        return pictures
    restorer = chosen.value.for_job(job)
    return [restorer.restore(picture) for picture in pictures]


def _chosen(hooks: Hooks, job: Job) -> Owned | None:
    name = job.request.options.face_restoration_model
    return next((one for one in hooks.face_restorers if one.value.name == name), None)


def _why_not(hooks: Hooks, job: Job, chosen: Owned | None) -> str:
    """In words, what keeps the chosen one from working, and who else could; "" when nothing does."""
    if not hooks.face_restorers:
        return "no face restorer is installed"
    name = job.request.options.face_restoration_model
    reason = f"there is no face restorer {name!r}" if chosen is None else str(chosen.value.lacks)
    others = [one.value.name for one in hooks.face_restorers if one is not chosen and not one.value.lacks]
    return f"{reason}; the option face_restoration_model may be {' or '.join(others)}" if reason and others else reason
