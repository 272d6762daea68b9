"""Extensions that fail while they serve: counted, set aside with the evidence, released by one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from easel import Job, NotAvailable, Prompt
from easel.errors import ExtensionError, JobRefused
from easel.extensions.quarantine import Quarantine
from easel.extensions.registry import Registry
from easel.extensions.status import State
from easel.extensions.watch import Fault, Inside
from easel.worker.slate import Slate

Write = Callable[..., Path]
PROMPT = Prompt(positive=("",), negative=("",))
FAILS = "@hookimpl\ndef rewrite_prompt(self, prompt): raise ValueError('at ' + prompt.positive[0])"


def rewrite(registry: Registry, job: Job, text: str = "night") -> None:
    registry.hooks.rewrite_prompt(Prompt(positive=(text,), negative=("",)), job)


def test_five_failures_in_a_row_and_it_is_set_aside(write: Write, registry: Registry, job: Job) -> None:
    write("bad", FAILS)
    write("good")
    registry.load()
    for count in range(4):
        rewrite(registry, job)
        assert (registry.status("bad").state, registry.faults("bad")[0].count) == (State.ENABLED, count + 1)
    rewrite(registry, job)
    status = registry.status("bad")
    assert (status.state, registry.hooks.extensions) == (State.QUARANTINED, ("good",))
    assert status.reason == "its rewrite_prompt failed 5 times in a row; the last time: ValueError: at night"
    (fault,) = registry.faults("bad")
    assert (fault.hook, fault.count, fault.message) == ("rewrite_prompt", 5, "ValueError: at night")
    assert "raise ValueError('at ' + prompt.positive[0])" in fault.traceback
    assert time.time() - fault.when < 60


def test_a_success_ends_the_row(write: Write, registry: Registry, job: Job) -> None:
    write("moody", "@hookimpl\ndef rewrite_prompt(self, prompt): 1 / len(prompt.positive[0])")
    registry.load()
    for _ in range(3):
        for text in ("", "", "", "", "fine"):
            rewrite(registry, job, text)
    assert registry.status("moody").state is State.ENABLED


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("def admit_job(self, job): raise OSError(5, 'no')", lambda hooks, job: hooks.admit_job(job)),
        ("def generate(self, job): raise SystemExit(3)", lambda hooks, job: hooks.generate(job)),
        ("def rewrite_prompt(self, prompt): return 'text'", lambda hooks, job: hooks.rewrite_prompt(PROMPT, job)),
        ("def denoise_step(self, step): raise MemoryError", lambda hooks, job: hooks.denoise_step(None, job)),
        ("def process_images(self, images): return [0]", lambda hooks, job: hooks.process_images((), job)),
        ("def review_images(self, images): 1 / 0", lambda hooks, job: hooks.review_images((), job)),
        ("def save_image(self, image): 1 / 0", lambda hooks, job: hooks.save_image(None, job)),
        ("def job_changed(self, job): 1 / 0", lambda hooks, job: hooks.job_changed(job)),
        ("def authenticate(self, request): 1 / 0", lambda hooks, job: hooks.authenticate(None)),
        ("def add_conditioning(self, conditioning): 1 / 0", lambda hooks, job: hooks.add_conditioning(PROMPT, job)),
    ],
)
def test_every_hook_counts(body: str, call: Callable[..., object], write: Write, registry: Registry, job: Job) -> None:
    write("bad", f"@hookimpl\n{body}")
    registry.load()
    for _ in range(5):
        assert registry.status("bad").state is State.ENABLED
        try:
            call(registry.hooks, job)
        except ExtensionError as error:
            assert error.extension == "bad"
    assert registry.status("bad").state is State.QUARANTINED
    call(registry.hooks, job)


def test_a_decision_is_no_failure(write: Write, registry: Registry, job: Job) -> None:
    write("strict", "@hookimpl\ndef admit_job(self, job): raise JobRefused('not today')")
    registry.load()
    for _ in range(9):
        with pytest.raises(JobRefused):
            registry.hooks.admit_job(job)
    assert registry.faults("strict") == ()


def test_it_stays_aside_over_restarts_until_it_is_released(
    write: Write, registry: Registry, job: Job, root: Path, tmp_path: Path
) -> None:
    write("bad", FAILS)
    registry.load()
    for _ in range(5):
        rewrite(registry, job)
    again = Registry([root], tmp_path / "state")
    again.load()
    assert again.enable("bad").state is State.QUARANTINED
    assert again.faults("bad") == registry.faults("bad")
    assert again.release("bad").state is State.ENABLED
    for _ in range(4):
        rewrite(again, job)
    assert again.status("bad").state is State.ENABLED
    rewrite(again, job)
    assert again.status("bad").state is State.QUARANTINED


def test_a_required_one_holds_the_jobs_up(write: Write, root: Path, tmp_path: Path, job: Job) -> None:
    write("guard", FAILS)
    registry = Registry([root], tmp_path / "state", required=("guard",), quarantine=Quarantine(failures=1))
    registry.load()
    rewrite(registry, job)
    with pytest.raises(NotAvailable, match="require the extension guard, which is quarantined: its rewrite_prompt"):
        registry.refuse_without_required()
    registry.release("guard")
    registry.refuse_without_required()


def test_lost_workers_count_within_an_hour(write: Write, registry: Registry) -> None:
    write("hog")
    registry.load()
    for when in (0.0, 4000.0, 4010.0, 4020.0):
        assert registry.status("hog").state is State.ENABLED
        lost = Fault(extension="hog", hook="generate", message="it took too much", when=when, kind="worker")
        registry.note(lost)
    assert registry.status("hog").reason == (
        "3 workers were lost within an hour in its generate; the last time: it took too much"
    )


def test_who_is_inside_is_shown_and_the_core_is_not_blamed(write: Write, registry: Registry, job: Job) -> None:
    shown: list[tuple[Inside, ...]] = []
    registry.watch.show = shown.append
    write("one", "@hookimpl\ndef generate(self, job): return job.compute(lambda: None)")
    registry.load()

    class Runner:
        """The core's side."""

        def compute(self, job: Job, fn: Callable[[], None]) -> None:
            with registry.watch.outside():
                threading.Thread(target=registry.watch.carried(fn)).start()

    job.runner = Runner()  # type: ignore[assignment]
    with registry.watch.inside("one", "generate", job):
        registry.watch.carried(lambda: None)()
    registry.hooks.generate(job)
    hooks = [[one.hook for one in inside] for inside in shown]
    assert hooks[:4] == [["generate"], ["generate"], ["generate"], []]
    assert [] in hooks[4:-1]  # the thread waits, and nobody is inside
    slate = Slate()
    slate.write(shown[0])
    there = Slate(slate.descriptor)
    assert [(one.extension, one.job) for one in there.read()] == [("one", "1")]
    slate.wipe()
    assert there.read() == []
    there.close()
    slate.close()


PERMITS = "@hookimpl\ndef rewrite_prompt(self, prompt): return replace(prompt, positive=('new',), negative=('',))"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("[]", "changed prompt.positive; its manifest declares: nothing"),
        ("['prompt.negative']", "changed prompt.positive; its manifest declares: prompt.negative"),
        ("['prompt.positive']", ""),
        ("['prompt']", ""),
    ],
)
def test_what_the_manifest_does_not_declare_is_not_changed(
    changes: str, words: str, write: Write, registry: Registry, job: Job
) -> None:
    folder = write("one", PERMITS)
    with (folder / "extension.toml").open("a") as file:
        file.write(f"[permissions]\nchanges = {changes}\n")
    registry.load()
    changed = registry.hooks.rewrite_prompt(Prompt(positive=("old",), negative=("",)), job)
    assert changed.positive == (("old",) if words else ("new",))
    assert [fault.message for fault in registry.faults("one")] == ([words] if words else [])
