from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from easel.errors import BadRequest, DeadlinePassed, EaselError, JobCancelled, JobRefused, NotFound, WorkerLost
from easel.jobs.jobs import Jobs
from easel.jobs.places import Signal
from easel.jobs.record import Once
from easel.values.image import SavedImage
from easel.values.job import Job, JobState, Progress
from easel.values.ledger import Line, Shift
from easel.values.request import EncodedPicture, GenerationRequest, InitImages
from easel.values.result import LOST, QUEUE, Result

RESULT = Result(images=(), info={}, seconds={"denoise": 1.0})
REQUEST = GenerationRequest(prompt="a cat")


class Bench:
    """A worker that holds what it is given until the test says what becomes of it."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.given, self.signals, self.replaced = jobs, list[Job](), list[tuple[str, str]](), 0

    def run(self, job: Job) -> None:
        self.given.append(job)

    def signal(self, job: Job, what: Signal) -> None:
        self.signals.append((job.id, what))

    def wake(self) -> None: ...

    def follow(self, extensions: Mapping[str, int]) -> None: ...

    def refresh(self) -> None: ...

    def replace(self, why: str, *, long: float, told: str = "") -> None:
        self.replaced += 1
        self.jobs.lost(self, told)

    def close(self) -> None: ...


def bench(**arguments: object) -> tuple[Jobs, Bench]:
    jobs = Jobs(**arguments)  # type: ignore[arg-type]
    worker = Bench(jobs)
    jobs.attach(worker)
    jobs.ready(worker)
    return jobs, worker


def test_a_job_runs_and_its_result_is_waited_for() -> None:
    jobs, worker = bench()
    job = jobs.submit(REQUEST, user="ann", name="mine")
    assert worker.given == [job] and jobs.state(job) is JobState.RUNNING and jobs.find("mine") is job
    jobs.progressed(job.id, Progress(stage="first", step=3, steps=10))
    assert job.progress.fraction == pytest.approx(0.3)
    jobs.done(job.id, RESULT)
    done = asyncio.run(jobs.wait(job))
    assert done.seconds.keys() == {QUEUE, "denoise"} and replace(done, seconds=RESULT.seconds) == RESULT
    assert jobs.state(job) is JobState.DONE and not jobs.running()


def test_no_more_in_flight_than_allowed_and_the_rest_waits() -> None:
    jobs, worker = bench(max_in_flight=2)
    made = [jobs.submit(REQUEST) for _ in range(3)]
    assert worker.given == made[:2] and jobs.waiting() == made[2:]
    jobs.done(made[0].id, RESULT)
    assert worker.given == made and not jobs.waiting()


def test_a_full_line_refuses() -> None:
    jobs, _ = bench(max_in_flight=1, max_waiting=1)
    jobs.submit(REQUEST)
    jobs.submit(REQUEST)
    with pytest.raises(JobRefused, match="1 jobs are waiting"):
        jobs.submit(REQUEST)


def test_errors_reach_who_waits() -> None:
    jobs, _ = bench()
    job = jobs.submit(REQUEST)
    jobs.failed(job.id, BadRequest("no"))
    with pytest.raises(BadRequest, match="no"):
        jobs.wait_blocking(job)
    assert jobs.state(job) is JobState.FAILED


def test_cancelling_a_waiting_and_a_running_job() -> None:
    jobs, worker = bench(max_in_flight=1)
    running, waiting = jobs.submit(REQUEST), jobs.submit(REQUEST)
    jobs.signal("cancel", waiting)
    with pytest.raises(JobCancelled):
        jobs.wait_blocking(waiting)
    jobs.signal("cancel", running)
    assert worker.signals == [(running.id, "cancel")]
    with pytest.raises(JobCancelled):
        running.raise_if_cancelled()


def test_a_lost_workers_jobs_fail_after_their_deliveries() -> None:
    jobs, worker = bench(max_delivery=2)
    job = jobs.submit(REQUEST)
    jobs.progressed(job.id, Progress())
    jobs.lost(worker)
    assert jobs.state(job) is JobState.QUEUED and worker.given == [job]
    jobs.ready(worker)
    assert worker.given == [job, job]
    jobs.progressed(job.id, Progress())
    jobs.lost(worker)
    with pytest.raises(WorkerLost):
        jobs.wait_blocking(job)
    assert jobs.seconds(job).keys() == {QUEUE, LOST}


def test_the_time_of_a_worker_that_died_is_told_and_what_was_lost_in_it() -> None:
    entries: list[Line | Shift] = []
    jobs, worker = bench(max_delivery=1, service="sd", enter=lambda *given: entries.extend(given))
    first = jobs.submit(REQUEST)
    jobs.done(first.id, RESULT, {"busy": 1.0, "idle": 0.0})
    job = jobs.submit(replace(REQUEST, uid="cats"), user="ann")
    jobs.progressed(job.id, Progress())
    time.sleep(0.02)
    jobs.lost(worker)
    done, _, shift, lost = entries
    assert isinstance(shift, Shift) and shift.over and (shift.busy, shift.charged) == (1.0, 1.0)
    assert isinstance(done, Line) and (done.state, done.seconds["denoise"]) == ("done", 1.0)
    assert isinstance(lost, Line) and (lost.state, lost.user, lost.project) == ("failed", "ann", "cats")
    assert lost.seconds["lost"] >= 0.02


def test_a_job_that_was_never_begun_is_not_charged_with_the_loss() -> None:
    jobs, worker = bench(max_delivery=1)
    job = jobs.submit(REQUEST)
    jobs.lost(worker)
    jobs.ready(worker)
    assert worker.given == [job, job]


def test_past_the_deadline_the_worker_is_replaced_and_only_the_late_job_fails() -> None:
    jobs, worker = bench(deadline=1.5)
    late = jobs.submit(REQUEST)
    jobs.progressed(late.id, Progress())
    time.sleep(1.0)
    innocent = jobs.submit(REQUEST)
    jobs.progressed(innocent.id, Progress())
    with pytest.raises(DeadlinePassed):
        jobs.wait_blocking(late)
    assert worker.replaced == 1 and jobs.state(innocent) is JobState.QUEUED


def test_closing_leaves_nobody_waiting() -> None:
    jobs, _ = bench(max_in_flight=1)
    made = [jobs.submit(REQUEST) for _ in range(2)]
    jobs.close()
    for job in made:
        with pytest.raises(WorkerLost, match="the service is shutting down"):
            jobs.wait_blocking(job)
    with pytest.raises(JobRefused):
        jobs.submit(REQUEST)


def test_nobody_waits_for_a_worker_that_cannot_start() -> None:
    jobs = Jobs()
    jobs.attach(Bench(jobs))
    job = jobs.submit(REQUEST)
    jobs.unable("no torch")
    with pytest.raises(WorkerLost, match="no torch"):
        jobs.wait_blocking(job)


def test_a_stop_asked_for_before_the_worker_knew_the_job_reaches_it() -> None:
    told: list[Jobs] = []

    def on_change(job: Job) -> None:
        if told and told[0].state(job) is JobState.RUNNING:
            told[0].signal("cancel", job)

    jobs, worker = bench(job_changed=on_change)
    told.append(jobs)
    job = jobs.submit(REQUEST)
    assert worker.given == [job] and worker.signals == [(job.id, "cancel")] * 2  # too early, and again


def test_a_stop_outlives_the_worker_that_was_told() -> None:
    jobs, worker = bench(max_delivery=2)
    job = jobs.submit(REQUEST)
    jobs.signal("interrupt", job)
    jobs.lost(worker)
    worker.signals.clear()
    jobs.ready(worker)
    assert worker.given == [job, job] and worker.signals == [(job.id, "interrupt")]


def test_a_caller_that_gave_up_does_not_trouble_the_worker() -> None:
    jobs, _ = bench()
    job = jobs.submit(REQUEST)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(jobs.wait(job), 0.01)

    asyncio.run(give_up())
    jobs.done(job.id, RESULT)
    assert jobs.state(job) is JobState.DONE


def result(size: int) -> Result:
    return Result(images=(SavedImage(data=bytes(size), format="png"),), info={})


def test_results_and_start_pictures_are_kept_within_a_budget() -> None:
    jobs, _ = bench(kept_bytes=250)
    made = [jobs.submit(replace(REQUEST, init=InitImages(pictures=(EncodedPicture(b"png"),)))) for _ in range(3)]
    for job in made:
        jobs.done(job.id, result(100))
    assert [job.request.init is None for job in made] == [True, False, False]
    with pytest.raises(NotFound, match="not kept any more"):
        jobs.wait_blocking(made[0])
    assert jobs.state(made[0]) is JobState.DONE
    assert [jobs.wait_blocking(job).images[0].data for job in made[1:] * 2] == [bytes(100)] * 4
    kept = jobs.outcome(made[2])
    assert isinstance(kept, Result) and kept.images == result(100).images
    large = jobs.submit(REQUEST)
    assert jobs.outcome(large) is None
    jobs.done(large.id, result(1000))  # somebody is just about to read it
    assert jobs.wait_blocking(large).images == result(1000).images


def test_a_job_long_gone_is_not_found() -> None:
    jobs, _ = bench()
    first = jobs.submit(REQUEST, once=Once("key", "a"))
    jobs.done(first.id, RESULT)
    for _ in range(256):
        jobs.done(jobs.submit(REQUEST).id, RESULT)
    with pytest.raises(NotFound, match="not known any more"):
        jobs.state(first)
    assert jobs.submit(REQUEST, once=Once("key", "b")) is not first


def test_the_same_submission_counts_once() -> None:
    jobs, worker = bench()
    once = Once("key", "a cat")
    job = jobs.submit(REQUEST, user="ann", once=once)
    assert jobs.submit(REQUEST, user="ann", once=once) is job and worker.given == [job]
    other = jobs.submit(REQUEST, user="bob", once=once)  # keys are each user's own
    assert other is not job
    jobs.done(job.id, RESULT)
    assert jobs.wait_blocking(jobs.submit(REQUEST, user="ann", once=once)) is jobs.wait_blocking(job)
    with pytest.raises(BadRequest, match="Idempotency-Key: was used for another request"):
        jobs.submit(REQUEST, user="ann", once=Once("key", "a dog"))
    jobs.failed(other.id, EaselError("broken"))
    assert jobs.submit(REQUEST, user="bob", once=once) is not other  # what failed may be tried again


def test_listeners_hear_of_every_change() -> None:
    jobs, _ = bench()
    job, heard = jobs.submit(REQUEST), []
    with jobs.listening(job, lambda: heard.append((jobs.state(job), job.progress.step))):
        jobs.progressed(job.id, Progress(step=3))
        jobs.done(job.id, RESULT)
    assert heard == [(JobState.RUNNING, 3), (JobState.DONE, 3)]


def test_what_cannot_be_handed_over_fails_and_holds_no_place() -> None:
    jobs, worker = bench(max_in_flight=1)

    def run(job: Job) -> None:
        raise ValueError("cannot be written")

    worker.run = run  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(EaselError, match="internal error"):
            jobs.wait_blocking(jobs.submit(REQUEST))
    assert not jobs.running()


def test_a_job_that_comes_while_a_worker_leaves_is_given_to_it_or_waits() -> None:
    """Four threads ask while workers come and go: whoever has left is given nothing any more, and nothing is lost."""
    jobs = Jobs(max_in_flight=100, max_waiting=10_000)
    asked, workers, left = list[Job](), list[Bench](), list[int]()

    def ask() -> None:
        for _ in range(500):
            asked.append(jobs.submit(REQUEST))
            time.sleep(0)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    while any(thread.is_alive() for thread in asking) or jobs.waiting() or jobs.running():
        worker, done = Bench(jobs), 0
        workers.append(worker)
        jobs.ready(worker)
        while not jobs.retire(worker):
            for job in worker.given[done:]:
                jobs.done(job.id, RESULT)
                done += 1
        left.append(len(worker.given))
    assert [len(worker.given) for worker in workers] == left
    assert sum(left) == 2000 == len({job.id for job in asked}) and sum(map(bool, left)) > 5
    assert all(jobs.wait_blocking(job).info is RESULT.info for job in asked[-10:])
