"""What becomes of extensions: states, switching, sets that jobs hold, faults at start."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from easel import GenerationRequest, Job, NotAvailable, Prompt, UnknownName
from easel.errors import Forbidden
from easel.extensions.hooks import Hooks
from easel.extensions.registry import Registry
from easel.extensions.status import State

Write = Callable[..., Path]
PROMPT = Prompt(positive=("",), negative=("",))
SAYS = "@hookimpl\ndef rewrite_prompt(self, prompt): return replace(prompt, positive=(*prompt.positive, self.name))"
LIVES = """
@hookimpl
def startup(self, app): app.append("up " + self.name)
@hookimpl
def shutdown(self, app): app.append("down " + self.name)
"""


def states(registry: Registry) -> dict[str, State]:
    return {status.name: status.state for status in registry.list()}


def said(registry: Registry, job: Job) -> tuple[str, ...]:
    return registry.hooks.rewrite_prompt(PROMPT, job).positive[1:]


def test_before_loading_there_is_an_empty_set(registry: Registry, job: Job) -> None:
    assert registry.list() == ()
    assert registry.hooks.rewrite_prompt(PROMPT, job) is PROMPT


def test_the_manifest_decides_at_first_sight_the_operator_afterwards(
    write: Write, registry: Registry, root: Path, tmp_path: Path
) -> None:
    write("on")
    write("off", enabled=False)
    registry.load()
    assert states(registry) == {"on": State.ENABLED, "off": State.DISABLED}
    registry.enable("off")
    assert registry.disable("on").reason == "switched off"
    again = Registry([root], tmp_path / "state")
    again.load()
    assert states(again) == {"on": State.DISABLED, "off": State.ENABLED}
    assert again.hooks.extensions == ("off",)


def test_a_required_extension_is_on_and_stays_on(write: Write, root: Path, tmp_path: Path) -> None:
    write("guard", enabled=False)
    registry = Registry([root], tmp_path / "state", required=("guard",))
    registry.load()
    assert states(registry) == {"guard": State.ENABLED}
    with pytest.raises(Forbidden, match="extension 'guard' is required by the settings"):
        registry.disable("guard")
    with registry.hold() as hooks:
        assert hooks.extensions == ("guard",)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("@hookimpl\ndef startup(self, app): raise OSError(2, 'no weights')", "guard, which is failed: .* no weights"),
        (None, "guard, which is not there"),
    ],
)
def test_without_a_required_extension_no_job_runs(
    body: str | None, words: str, write: Write, root: Path, tmp_path: Path
) -> None:
    if body is not None:
        write("guard", body)
    registry = Registry([root], tmp_path / "state", required=("guard",))
    registry.load()
    registry.start(object())
    with pytest.raises(NotAvailable, match=words), registry.hold():
        pass


def test_a_worker_follows_its_gateway_and_remembers_nothing(write: Write, registry: Registry, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(name, LIVES)
    life: list[str] = []
    registry.load()
    registry.start(life)
    assert registry.follow({"one": 1, "two": 2}) == {}
    assert life == ["up one", "up two"]  # the first stamps are taken as they are
    assert registry.follow({"one": 1}) == {}
    assert registry.follow({"one": 3}) == {}  # a fresh instance there: a fresh one here
    assert life[2:] == ["down two", "up one", "down one"]
    assert registry.hooks.extensions == ("one",)
    write("three", "@hookimpl\ndef startup(self, app): 1 / 0")
    assert registry.follow({"one": 3, "three": 4, "four": 5}) == {
        "three": "extension 'three' failed in startup: ZeroDivisionError: division by zero",
        "four": "it is not found there",
    }
    assert not (tmp_path / "state").exists()


def test_who_cannot_run_in_the_worker_does_not_count_as_on(write: Write, registry: Registry) -> None:
    for name in ("one", "two"):
        write(name)
    registry.load()
    told: list[dict[str, int]] = []
    registry.changed = lambda: told.append(dict(registry.stamps()))
    registry.lacks({"one": "no memory", "gone": ""})
    status = registry.status("one")
    assert (status.state, status.reason) == (State.FAILED, "in the worker: no memory")
    assert registry.hooks.extensions == ("two",)
    assert told == [{"two": 2}]


def test_a_spoilt_memory_is_told_and_the_manifests_count(
    write: Write, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("one")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "extensions.json").write_text('{"one": fal')
    registry.load()
    assert states(registry) == {"one": State.ENABLED}
    assert "cannot be read" in caplog.text
    registry.disable("one")
    assert json.loads((tmp_path / "state" / "extensions.json").read_text()) == {"switched": {"one": False}}


def test_the_settings_can_switch_off_for_good(write: Write, root: Path, tmp_path: Path) -> None:
    write("one")
    registry = Registry([root], tmp_path / "state", disabled=["one"])
    registry.load()
    (status,) = registry.list()
    assert (status.state, status.reason) == (State.DISABLED, "switched off by the settings")
    with pytest.raises(Forbidden, match="'one' is switched off by the settings"):
        registry.enable("one")
    with pytest.raises(UnknownName, match="did you mean 'one'"):
        registry.enable("ones")


def test_the_second_of_a_name_is_listed_as_shadowed(write: Write, root: Path, tmp_path: Path) -> None:
    first = write("same", SAYS)
    write("same", head="raise SystemExit", root=tmp_path / "later")
    registry = Registry([root, tmp_path / "later"], tmp_path / "state")
    registry.load()
    one, two = registry.list()
    assert (one.state, one.folder) == (State.ENABLED, first)
    assert (two.state, two.reason) == (State.FOUND, f"{first} has the same name and comes first")


def test_a_bad_manifest_stays_failed_whatever_is_switched(write: Write, registry: Registry) -> None:
    write("broken", colour="red")
    registry.load()
    for status in (*registry.list(), registry.enable("broken"), registry.disable("broken")):
        assert (status.state, "unknown key 'colour'" in status.reason) == (State.FAILED, True)


@pytest.mark.parametrize("what", ["register_scripts", "register_upscalers"])
def test_a_duplicate_sets_the_second_aside_and_names_both(what: str, write: Write, registry: Registry) -> None:
    values = {"register_scripts": "Script('Same', BaseModel)", "register_upscalers": "Path('Same')"}
    head = "from pathlib import Path\nfrom pydantic import BaseModel"
    for name in ("a", "b"):
        write(name, f"@hookimpl\ndef {what}(self): return {values[what]}", head=head)
    registry.load()
    assert states(registry) == {"a": State.ENABLED, "b": State.FAILED}
    assert "extension 'b' failed in" in registry.list()[1].reason
    assert "belongs to 'a' already" in registry.list()[1].reason
    registry.disable("a")
    assert registry.enable("b").state is State.ENABLED


def test_startup_that_fails_sets_aside_and_is_tried_again(write: Write, registry: Registry, job: Job) -> None:
    write("bad", "@hookimpl\ndef startup(self, app): app.pop()\n" + SAYS)
    write("good", SAYS)
    registry.load()
    app: list[str] = []
    registry.start(app)
    assert states(registry) == {"bad": State.FAILED, "good": State.ENABLED}
    assert registry.list()[0].reason == "extension 'bad' failed in startup: IndexError: pop from empty list"
    assert said(registry, job) == ("good",)
    app.append("something to pop")
    assert registry.enable("bad").state is State.ENABLED
    assert said(registry, job) == ("bad", "good")


ROUTER = """
@hookimpl
def register_routes(self, app):
    from fastapi import APIRouter
    router = APIRouter()
    @router.get("/mine")
    def mine() -> str: return self.name
    return router
"""


def test_routes_and_tabs_that_fail_set_aside(write: Write, registry: Registry) -> None:
    write("bad", "@hookimpl\ndef register_routes(self, app): 1 / 0\n@hookimpl\ndef register_tabs(self): return 'tab'")
    write("good", ROUTER + "@hookimpl\ndef register_tabs(self): return 'mine'")
    write("second", ROUTER)
    write("shadows", ROUTER.replace("/mine", "/core"))
    write("tabs", "@hookimpl\ndef register_tabs(self): return ['mine']")
    write("text", "@hookimpl\ndef register_routes(self, app): return 'text'")
    registry.load()
    registry.mount(["GET /core"])
    assert [owned.extension for owned in registry.hooks.routers] == ["good"]
    assert [owned.value for owned in registry.hooks.tabs] == ["mine"]
    reasons = {status.name: status.reason for status in registry.list()}
    assert reasons == {
        "bad": "extension 'bad' failed in register_routes: ZeroDivisionError: division by zero",
        "good": "",
        "second": "extension 'second' failed in register_routes: GET /mine belongs to 'good' already",
        "shadows": "extension 'shadows' failed in register_routes: GET /core belongs to 'the core' already",
        "tabs": "extension 'tabs' failed in register_tabs: the tab 'mine' belongs to 'good' already",
        "text": "extension 'text' failed in register_routes: returned 'text'; allowed: APIRouter",
    }
    registry.disable("good")
    assert registry.hooks.routers == registry.hooks.tabs == ()
    assert registry.enable("second").state is State.ENABLED
    assert [owned.extension for owned in registry.hooks.routers] == ["second"]


def test_a_job_keeps_the_set_it_began_with_and_shutdown_waits_for_it(
    write: Write, registry: Registry, job: Job
) -> None:
    write("one", SAYS + LIVES)
    registry.load()
    life: list[str] = []
    registry.start(life)
    with registry.hold() as hooks:
        registry.disable("one")
        assert said(registry, job) == ()
        assert hooks.rewrite_prompt(PROMPT, job).positive[1:] == ("one",)
        assert life == ["up one"]
        registry.enable("one")  # a new instance beside the one that is still held
    assert life == ["up one", "up one", "down one"]
    registry.disable("one")
    assert life == ["up one", "up one", "down one", "down one"]
    registry.stop()
    assert life[4:] == []


def test_who_fails_only_later_is_set_aside_then(write: Write, registry: Registry, job: Job) -> None:
    write("fickle", "works = [None] * 3\n@hookimpl\ndef register_scripts(self): return self.works.pop()")
    write("good", SAYS)
    registry.load()
    assert states(registry) == {"fickle": State.ENABLED, "good": State.ENABLED}
    registry.disable("good")
    assert states(registry) == {"fickle": State.FAILED, "good": State.DISABLED}
    registry.enable("good")
    assert said(registry, job) == ("good",)


def test_stop_shuts_everybody_down(write: Write, registry: Registry) -> None:
    for name in ("one", "two"):
        write(name, LIVES)
    registry.load()
    life: list[str] = []
    registry.start(life)
    registry.stop()
    assert life == ["up one", "up two", "down two", "down one"]


def test_under_load_every_job_sees_exactly_one_set(write: Write, registry: Registry) -> None:
    for name in ("one", "two"):
        write(name, SAYS + LIVES)
    registry.load()
    life: list[str] = []
    registry.start(life)
    done = threading.Event()
    seen: set[tuple[str, ...]] = set()

    def run_jobs() -> None:
        while not done.is_set():
            with registry.hold() as hooks:
                job = Job(id="1", request=GenerationRequest())
                words = [hooks.rewrite_prompt(PROMPT, job).positive[1:] for _ in range(5)]
                assert words == [hooks.extensions] * 5
                seen.add(words[0])

    threads = [threading.Thread(target=run_jobs) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        registry.disable("one")
        registry.disable("two")
        registry.enable("one")
        registry.enable("two")
    done.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert seen <= {("one", "two"), ("two",), ("one",), ()}
    assert len(seen) > 1
    assert [life.count(f"up {name}") - life.count(f"down {name}") for name in ("one", "two")] == [1, 1]


def test_a_slow_start_holds_nobody_up(write: Write, registry: Registry) -> None:
    write("slow", "@hookimpl\ndef startup(self, app): app['began'].set(); app['go on'].wait(10)", enabled=False)
    registry.load()
    app = {"began": threading.Event(), "go on": threading.Event()}
    registry.start(app)
    switching = threading.Thread(target=registry.enable, args=("slow",))
    switching.start()
    assert app["began"].wait(10)
    with registry.hold() as hooks:  # a job begins and ends meanwhile
        assert hooks.extensions == ()
    assert registry.list()[0].name == "slow"
    app["go on"].set()
    switching.join(10)
    assert registry.hooks.extensions == ("slow",)


def test_memory_stays_flat_over_many_switches(write: Write, registry: Registry) -> None:
    write("one", SAYS + LIVES)
    registry.load()
    registry.start([])

    def switch(times: int) -> int:
        for _ in range(times):
            registry.disable("one")
            registry.enable("one")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    def sets() -> int:
        return sum(type(one) is Hooks for one in gc.get_objects())

    gc.collect()
    sets_before = sets()
    tracemalloc.start()
    try:
        before = switch(2)
        after = switch(10)
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024  # a set and its instance take more than 6.4 KiB
    assert sets() <= sets_before


def test_an_extension_has_a_folder_of_its_own(write: Write, registry: Registry, tmp_path: Path) -> None:
    folder = write("one", "@hookimpl\ndef startup(self, app): app.extend([self.data, self.folder, self.name])")
    registry.load()
    seen: list[object] = []
    registry.start(seen)
    assert seen == [tmp_path / "state" / "extensions" / "one", folder, "one"]
    assert (tmp_path / "state" / "extensions" / "one").is_dir()
