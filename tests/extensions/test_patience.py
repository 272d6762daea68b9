"""An extension that never ends loading or starting is broken off, and the service goes on."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from easel.errors import ExtensionError
from easel.extensions.patience import limited
from easel.extensions.registry import Registry
from easel.extensions.status import State

from .conftest import Start, Write

FOREVER = "while True:\n    pass"


@pytest.mark.parametrize(
    ("head", "body", "where"),
    [
        (FOREVER, "", "import"),
        ("", "def __init__(self, place):\n    while True: pass", "load"),
        ("", "@hookimpl\ndef startup(self, app):\n    while True: pass", "startup"),
        ("", "@hookimpl\ndef register_scripts(self):\n    while True: pass", "register_scripts"),
        ("", "@hookimpl\ndef register_routes(self, app):\n    while True: pass", "register_routes"),
    ],
)
def test_a_loop_is_broken_off_and_named(write: Write, registry: Registry, head: str, body: str, where: str) -> None:
    write("one", body, head=head)
    write("two")
    registry.patience = 2.0
    registry.load()
    registry.start(None)
    registry.mount()
    assert (registry.status("one").state, registry.status("two").state) == (State.FAILED, State.ENABLED)
    words = f"failed in {where}: TookTooLong: It took longer than --extension-patience allows."
    assert words in registry.status("one").reason


def test_the_service_serves_without_it(write: Write, start: Start) -> None:
    write("one", head=FOREVER)
    client = start("--extension-patience", "5")
    (row,) = [row for row in client.get("/sdapi/v1/extensions").json() if row["name"] == "one"]
    assert (row["state"], "TookTooLong" in row["reason"]) == ("failed", True)
    assert client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "steps": 2}).status_code == 200


def test_stopping_is_limited_too(write: Write, registry: Registry) -> None:
    write("one", "@hookimpl\ndef shutdown(self):\n    while True: pass")
    registry.patience = 0.5
    registry.load()
    registry.start(None)
    begin = time.monotonic()
    assert registry.disable("one").state is State.DISABLED
    assert time.monotonic() - begin < 20


def test_who_swallows_it_is_told_again() -> None:
    seen = []
    with pytest.raises(ExtensionError, match="took longer"), limited("x", 0.2):
        while True:
            try:
                while True:
                    pass
            except Exception:
                if seen:
                    raise
                seen.append("swallowed")
    assert seen == ["swallowed"]


def test_the_time_may_be_over_before_the_block_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def slowly(thread: threading.Thread) -> None:  # as on a machine that has much else to do
        begin(thread)
        if thread.name.startswith("easel-patience"):
            time.sleep(0.1)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    with pytest.raises(ExtensionError, match="It took longer"), limited("x", 0.01):
        pass
    for _ in range(150):
        time.sleep(0.01)  # more than a second: another exception would come


def test_nothing_is_heard_after_the_end() -> None:
    before = threading.active_count()
    for _ in range(20):
        with suppress(ExtensionError), limited("x", 0.001):  # on a busy machine over before it has begun
            pass
    for _ in range(100):
        time.sleep(0.001)  # where an exception that came too late would be raised
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
