"""A service as people run it, in a process of its own, and Debian's Chromium in front of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from easel.bench.service import easel_command, easel_environment

_CHROMIUM = shutil.which("chromium")
_ARGUMENTS = [
    "--no-sandbox",  # for root, in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_BEGINS = 120.0  # seconds that a start may take on a busy machine
WAIT = 60_000  # milliseconds for what needs a worker


@dataclass(frozen=True)
class Service:
    """A running `easel serve`."""

    url: str
    data: Path


@contextmanager
def serving(data: Path, *flags: str) -> Iterator[Service]:
    """`easel serve` on a free port, ended afterwards."""
    log = data.with_suffix(".log")
    command = [*easel_command(), "serve", "--data-dir", str(data), "--port", "0", *flags]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=easel_environment(), stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            deadline = time.monotonic() + _BEGINS
            while "the page is ready" not in (said := log.read_text()):
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
            found = re.search(r"running on (http://\S+)", said)
            assert found, said
            yield Service(found[1] + "/", data)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for many tests: each leaves it as it was."""
    with serving(tmp_path_factory.mktemp("page") / "data", "--filebrowser") as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Of one module: while playwright is there the thread has an event loop, and other tests want none."""
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


Opens = Callable[..., Page]


def tab(page: Page, name: str) -> None:
    """Open a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Opens]:
    """`opened(url)`: the page in a browser window of its own, that of another person. No request leaves the machine."""
    contexts, asked, failures = [], [], []

    def open_page(url: str, **options: object) -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(url)
        page.get_by_role("tab", name="txt2img").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {host for host in asked if host} <= {"127.0.0.1"}
    assert not failures


@pytest.fixture
def page(service: Service, opened: Opens) -> Page:
    """The page."""
    return opened(service.url)
