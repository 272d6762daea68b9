"""Every hook through the typed face, and what each call style does when an implementation fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import BaseModel

from easel import (
    BadRequest,
    Conditioning,
    Extension,
    GenerationRequest,
    Image,
    Job,
    JobCancelled,
    JobRefused,
    Prompt,
    SavedImage,
    Script,
    Step,
    User,
    hookimpl,
    hookspecs,
)
from easel.errors import ExtensionError
from easel.extensions.extension import Place
from easel.extensions.hooks import Hooks
from easel.values.request import ScriptCall
from easel.values.result import Draft

PROMPT = Prompt(positive=("a",), negative=("",))
STEERING = Conditioning(width=64, height=64, images=1)
PICTURES = (Image(pixels=Pillow.new("RGB", (1, 1))),)
DRAFT = Draft(images=PICTURES, info={})
SAVED = SavedImage(data=b"", format="png")
STEP = Step(index=0, total=1, stage="first", preview=lambda kind: [np.zeros((1, 1, 3), np.uint8)])


def extension(name: str, folder: Path = Path("nowhere"), **methods: Callable[..., Any]) -> Extension:
    """An extension of these hook methods, each given without `self`."""
    marked = {hook: hookimpl(staticmethod(method)) for hook, method in methods.items()}
    return type("Made", (Extension,), marked)(Place(name=name, folder=folder, data=folder))


def called(hook: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """`body` with the hook's own argument names."""
    names = ", ".join(signature(getattr(hookspecs, hook)).parameters)
    made: Callable[..., Any] = eval(f"lambda {names}: body()", {"body": body})
    return made


def fail() -> Any:
    raise RuntimeError("boom")


# One test for each hook: that it is called, with what, and what is made of the answers --------------------------------


def test_hook_startup_and_shutdown() -> None:
    seen: list[str] = []
    hooks = Hooks.build(
        (),
        [extension(n, startup=lambda app, n=n: seen.append(n), shutdown=lambda app, n=n: seen.append(n)) for n in "ba"],
    )
    assert hooks.startup(None) == ()
    hooks.shutdown(None)
    assert seen == ["a", "b", "b", "a"]


def test_hook_register_scripts() -> None:
    script = Script("Title", BaseModel)
    assert [o.script for o in Hooks.build((), [extension("x", register_scripts=lambda: [script])]).scripts.owned] == [
        script
    ]
    with pytest.raises(ExtensionError, match="the script 'TITLE' belongs to 'a' already") as error:
        Hooks.build(
            (),
            [
                extension("b", register_scripts=lambda: Script("TITLE", BaseModel)),
                extension("a", register_scripts=lambda: script),
            ],
        )
    assert error.value.extension == "b"


class Upscaler:
    name = "Twice"


def test_hook_register_face_restorers() -> None:
    hooks = Hooks.build((), [extension("x", register_face_restorers=lambda: [Upscaler()])])  # it only needs a name
    assert [(owned.extension, owned.value.name) for owned in hooks.face_restorers] == [("x", "Twice")]
    with pytest.raises(ExtensionError, match="the face restorer 'Twice' belongs to 'x' already"):
        Hooks.build((), [extension(name, register_face_restorers=Upscaler) for name in ("x", "y")])
    with pytest.raises(ExtensionError, match=r"returned 3; allowed: FaceRestorer"):
        Hooks.build((), [extension("x", register_face_restorers=lambda: 3)])


def test_hook_register_upscalers() -> None:
    hooks = Hooks.build((), [extension("x", register_upscalers=lambda: (Upscaler(),))])
    assert [(owned.extension, owned.value.name) for owned in hooks.upscalers] == [("x", "Twice")]
    with pytest.raises(ExtensionError, match="the upscaler 'Twice' belongs to 'x' already"):
        Hooks.build((), [extension("x", register_upscalers=Upscaler), extension("y", register_upscalers=Upscaler)])


@pytest.mark.parametrize("hook", ["register_routes", "register_tabs"])
def test_hook_collected(hook: str) -> None:
    hooks = Hooks.build(
        (),
        [
            extension("b", **{hook: lambda app: [app, 2]}),
            extension("c", **{hook: lambda app: None}),
            extension("a", **{hook: lambda: 1}),
        ],
    )
    collected = getattr(hooks, hook)("app")
    assert [(owned.extension, owned.value) for owned in collected] == [("a", 1), ("b", "app"), ("b", 2)]


def test_hook_authenticate() -> None:
    seen: list[str] = []
    answers = [
        extension("a", authenticate=lambda request: seen.append("a")),
        extension("b", authenticate=lambda request: User("bo")),
        extension("c", authenticate=lambda request: seen.append("c")),
    ]
    assert Hooks.build((), answers).authenticate(object()) == User("bo")  # type: ignore[arg-type]
    assert seen == ["a"]
    assert Hooks.build().authenticate(object()) is None  # type: ignore[arg-type]


def test_hook_admit_job(job: Job) -> None:
    def refuse(job: Job) -> None:
        raise JobRefused("no credit")

    Hooks.build((), [extension("a", admit_job=lambda job: False)]).admit_job(job)
    with pytest.raises(JobRefused, match="no credit"):
        Hooks.build((), [extension("a", admit_job=refuse)]).admit_job(job)


def test_hook_generate(job: Job) -> None:
    class Core:
        @hookimpl(trylast=True)
        def generate(self, job: Job) -> Draft:
            return DRAFT

    other = replace(DRAFT, info={"by": "a script"})
    assert Hooks.build([Core()]).generate(job) is DRAFT
    assert Hooks.build([Core()], [extension("s", generate=lambda job: None)]).generate(job) is DRAFT
    assert Hooks.build([Core()], [extension("s", generate=lambda job: other)]).generate(job) is other
    assert Hooks.build().generate(job) is None


@pytest.mark.parametrize(
    ("hook", "value"),
    [
        ("rewrite_prompt", PROMPT),
        ("add_conditioning", STEERING),
        ("process_images", PICTURES),
        ("review_images", PICTURES),
    ],
)
def test_hook_chained(hook: str, value: Any, job: Job) -> None:
    new = replace(value, **{}) if not isinstance(value, tuple) else (replace(value[0]),)
    seen: list[Any] = []

    def keep(one: Any) -> Any:
        return lambda *args: seen.append(args[0]) or one

    first = signature(getattr(hookspecs, hook)).parameters
    made = [
        extension(name, **{hook: _with_names(first, keep(answer))})
        for name, answer in (("a", None), ("b", new), ("c", None))
    ]
    assert getattr(Hooks.build((), made), hook)(value, job) is new
    assert [one is value for one in seen] == [True, True, False]
    assert seen[2] is new
    assert [(line.item, line.outcome, line.extension) for line in job.report] == [(hook, "applied", "b")]
    assert set(job.seconds) == {"a", "b", "c"}


def _with_names(parameters: Any, body: Callable[..., Any]) -> Callable[..., Any]:
    names = ", ".join(parameters)
    made: Callable[..., Any] = eval(f"lambda {names}: body({names})", {"body": body})
    return made


def test_hook_denoise_step(job: Job) -> None:
    seen: list[object] = []
    Hooks.build((), [extension("a", denoise_step=lambda step, job: seen.append((step, job)))]).denoise_step(STEP, job)
    assert seen == [(STEP, job)]


def test_hook_save_image(job: Job) -> None:
    assert Hooks.build((), [extension("a", save_image=lambda image: SAVED)]).save_image(PICTURES[0], job) is SAVED


def test_hook_job_changed(job: Job) -> None:
    seen: list[object] = []
    Hooks.build((), [extension("a", job_changed=lambda job: seen.append(job))]).job_changed(job)
    assert seen == [job]


TESTED_TOGETHER = {
    "startup": test_hook_startup_and_shutdown,
    "shutdown": test_hook_startup_and_shutdown,
    "register_routes": test_hook_collected,
    "register_tabs": test_hook_collected,
    "rewrite_prompt": test_hook_chained,
    "add_conditioning": test_hook_chained,
    "process_images": test_hook_chained,
    "review_images": test_hook_chained,
}


def test_every_hook_has_its_method_with_its_arguments_and_its_test() -> None:
    for hook in hookspecs.STYLES:
        ours = list(signature(getattr(Hooks, hook)).parameters)[1:]
        assert ours == list(signature(getattr(hookspecs, hook)).parameters), hook
        assert hook in TESTED_TOGETHER or f"test_hook_{hook}" in globals(), hook


# Order ----------------------------------------------------------------------------------------------------------------


def test_order_tryfirst_then_by_name_then_trylast_the_core_last_in_each(job: Job) -> None:
    def plugin(name: str, **options: bool) -> Any:
        def rewrite_prompt(prompt: Prompt) -> Prompt:
            return replace(prompt, positive=(*prompt.positive, name))

        def generate() -> None:
            order.append(name)

        return {
            hook: hookimpl(**options)(staticmethod(function))  # type: ignore[call-overload]
            for hook, function in (("rewrite_prompt", rewrite_prompt), ("generate", generate))
        }

    order: list[str] = []
    wanted: list[str] = []
    extensions, core = [], []
    for kind, options in (("first", {"tryfirst": True}), ("plain", {}), ("last", {"trylast": True})):
        for name in "ab":
            methods = plugin(f"{kind} {name}", **options)
            made = type("Made", (Extension,), methods)(Place(name=f"{name}-{kind}", folder=Path(), data=Path()))
            extensions.append(made)
            wanted.append(f"{kind} {name}")
        for name in ("core 2", "core 1"):
            core.append(type(name, (), plugin(f"{kind} {name}", **options))())
            wanted.append(f"{kind} {name}")
    hooks = Hooks.build(core, extensions[::-1])
    assert list(hooks.rewrite_prompt(PROMPT, job).positive[1:]) == wanted
    hooks.generate(job)
    assert order == wanted


# Failures -------------------------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[Any, ...]] = {
    "authenticate": (object(),),
    "admit_job": (),
    "generate": (),
    "save_image": (PICTURES[0],),
    "review_images": (PICTURES,),
    "rewrite_prompt": (PROMPT,),
    "add_conditioning": (STEERING,),
    "process_images": (PICTURES,),
    "denoise_step": (STEP,),
    "job_changed": (),
}
WITHOUT_JOB = ("authenticate",)
CLOSED = ("authenticate", "admit_job", "generate", "save_image", "review_images")
SKIPPED = ("rewrite_prompt", "add_conditioning", "process_images")
LOGGED = ("denoise_step", "job_changed")


def call(hooks: Hooks, hook: str, job: Job) -> Any:
    return getattr(hooks, hook)(*CALLS[hook], *(() if hook in WITHOUT_JOB else (job,)))


@pytest.mark.parametrize("hook", CLOSED)
def test_a_closed_hook_fails_naming_extension_and_hook(hook: str, job: Job) -> None:
    hooks = Hooks.build((), [extension("bad", **{hook: called(hook, fail)})])
    with pytest.raises(ExtensionError) as error:
        call(hooks, hook, job)
    assert (error.value.extension, error.value.hook, error.value.reason) == ("bad", hook, "RuntimeError: boom")
    assert isinstance(error.value.__cause__, RuntimeError)


@pytest.mark.parametrize("hook", SKIPPED)
def test_a_failing_link_of_a_chain_is_left_out_with_a_warning(hook: str, job: Job) -> None:
    hooks = Hooks.build((), [extension("bad", **{hook: called(hook, fail)}), extension("fine")])
    assert call(hooks, hook, job) is CALLS[hook][0]
    assert job.warnings == [f"extension 'bad' failed in {hook}: RuntimeError: boom; its part was left out"]
    assert [(line.item, line.outcome, line.extension) for line in job.report] == [(hook, "ignored", "bad")]


@pytest.mark.parametrize("hook", SKIPPED)
def test_a_failing_link_fails_a_strict_job(hook: str) -> None:
    hooks = Hooks.build((), [extension("bad", **{hook: called(hook, fail)})])
    with pytest.raises(ExtensionError, match="'bad' failed in"):
        call(hooks, hook, Job(id="1", request=GenerationRequest(strict=True)))


@pytest.mark.parametrize("hook", SKIPPED)
def test_a_failing_link_fails_a_job_that_named_its_script(hook: str) -> None:
    bad = extension("bad", register_scripts=lambda: Script("Mine", BaseModel), **{hook: called(hook, fail)})
    other = extension("other", register_scripts=lambda: Script("Yours", BaseModel))
    hooks = Hooks.build((), [bad, other])
    for request in (GenerationRequest(script=ScriptCall("mine")), GenerationRequest(always_on=(ScriptCall("MINE"),))):
        with pytest.raises(ExtensionError, match="'bad' failed in"):
            call(hooks, hook, Job(id="1", request=request))
    call(hooks, hook, Job(id="1", request=GenerationRequest(script=ScriptCall("yours"))))


@pytest.mark.parametrize("hook", [*SKIPPED, "review_images"])
def test_a_link_that_returns_the_wrong_thing_has_failed(hook: str, job: Job) -> None:
    hooks = Hooks.build((), [extension("bad", **{hook: called(hook, lambda: "text")})])
    if hook == "review_images":
        with pytest.raises(ExtensionError, match="returned str; allowed: tuple or None"):
            call(hooks, hook, job)
    else:
        assert call(hooks, hook, job) is CALLS[hook][0]
        assert "returned str; allowed: " in job.warnings[0]


@pytest.mark.parametrize("hook", LOGGED)
def test_a_notified_one_that_fails_is_logged_and_the_others_hear(
    hook: str, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    fine = called(hook, lambda: seen.append("fine"))
    call(
        Hooks.build((), [extension("bad", **{hook: called(hook, fail)}), extension("fine", **{hook: fine})]), hook, job
    )
    assert seen == ["fine"]
    assert f"extension 'bad' failed in {hook}: RuntimeError: boom" in caplog.text
    assert job.warnings == []


@pytest.mark.parametrize("hook", [*CLOSED, *SKIPPED])
@pytest.mark.parametrize("error", [JobRefused, JobCancelled, BadRequest])
def test_easels_own_errors_pass_unchanged(hook: str, error: type[Exception], job: Job) -> None:
    def decide() -> None:
        raise error

    with pytest.raises(error) as raised:
        call(Hooks.build((), [extension("a", **{hook: called(hook, decide)})]), hook, job)
    assert type(raised.value) is error


def test_sys_exit_in_a_hook_is_a_failure(job: Job) -> None:
    hooks = Hooks.build((), [extension("bad", rewrite_prompt=called("rewrite_prompt", lambda: sys.exit(1)))])
    assert hooks.rewrite_prompt(PROMPT, job) is PROMPT
    assert "SystemExit: 1" in job.warnings[0]


def test_an_error_of_the_core_is_not_blamed_on_anybody(job: Job) -> None:
    class Core:
        @hookimpl(trylast=True)
        def generate(self, job: Job) -> Draft:
            raise KeyError("ours")

    def watch(job: Job) -> Iterator[None]:
        return (yield)

    watcher = type("Made", (Extension,), {"generate": hookimpl(wrapper=True)(staticmethod(watch))})
    with pytest.raises(KeyError, match="ours"):
        Hooks.build([Core()], [watcher(Place(name="w", folder=Path(), data=Path()))]).generate(job)


# Wrappers around "first" hooks ----------------------------------------------------------------------------------------


def wrapper(name: str, function: Callable[..., Any]) -> Extension:
    made = type("Made", (Extension,), {"generate": hookimpl(wrapper=True)(staticmethod(function))})
    return made(Place(name=name, folder=Path(), data=Path()))  # type: ignore[no-any-return]


def test_a_wrapper_sees_and_changes_the_answer(job: Job) -> None:
    def wrap(job: Job) -> Iterator[None]:
        draft = yield
        return replace(draft, info={"wrapped": True})

    hooks = Hooks.build((), [extension("s", generate=lambda job: DRAFT), wrapper("w", wrap)])
    draft = hooks.generate(job)
    assert draft is not None
    assert draft.info == {"wrapped": True}


def test_a_wrapper_may_answer_for_a_failure_below(job: Job) -> None:
    def wrap(job: Job) -> Iterator[None]:
        try:
            return (yield)
        except ExtensionError:
            return DRAFT

    assert (
        Hooks.build((), [extension("s", generate=called("generate", fail)), wrapper("w", wrap)]).generate(job) is DRAFT
    )


@pytest.mark.parametrize("when", ["before", "after", "twice"])
def test_a_wrapper_that_fails_is_named(when: str, job: Job) -> None:
    def wrap(job: Job) -> Iterator[None]:
        if when == "before":
            fail()
        draft = yield
        if when == "after":
            fail()
        yield
        return draft

    with pytest.raises(ExtensionError) as error:
        Hooks.build((), [extension("s", generate=lambda job: DRAFT), wrapper("w", wrap)]).generate(job)
    assert error.value.extension == "w"
    assert error.value.reason == ("a wrapper yields exactly once" if when == "twice" else "RuntimeError: boom")


# What a job's report says ---------------------------------------------------------------------------------------------


def test_the_trace_says_which_fields_changed_once_for_all_batches(job: Job) -> None:
    change = extension("x", rewrite_prompt=lambda prompt: replace(prompt, negative=("ugly",), adapters=()))
    hooks = Hooks.build((), [change])
    for _ in range(3):
        hooks.rewrite_prompt(PROMPT, job)
    assert [line.reason for line in job.report] == ["changed negative"]
    hooks = Hooks.build((), [extension("y", process_images=lambda images: (*images, PICTURES[0]))])
    hooks.process_images(PICTURES, job)
    assert job.report[-1].reason == "1 in, 2 out, 1 unchanged"


def test_the_time_of_each_extension_is_charged_to_the_job_and_the_core_is_not(job: Job) -> None:
    class Core:
        @hookimpl
        def rewrite_prompt(self, prompt: Prompt) -> None: ...

    Hooks.build([Core()], [extension("x", rewrite_prompt=lambda prompt: None)]).rewrite_prompt(PROMPT, job)
    assert list(job.seconds) == ["x"]
    assert 0 < job.seconds["x"] < 1
