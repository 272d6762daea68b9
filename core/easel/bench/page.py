"""The page in a real browser: its first load against an empty page of gradio, and how soon it answers a person."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from easel.bench.figures import Figure, Report, Target
from easel.bench.service import easel_command, easel_environment
from easel.bench.timing import Effort, alternate
from easel.errors import EaselError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXTENSIONS, LORAS = 50, 5_000
_BEGINS = 180.0  # seconds that a server may take on a busy machine
_EMPTY = """
import os
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio, uvicorn
from fastapi import FastAPI
with gradio.Blocks(analytics_enabled=False) as blocks:
    gradio.HTML("<p id='ready'>ready</p>")
app = gradio.mount_gradio_app(FastAPI(), blocks, "/", ssr_mode=False)
uvicorn.run(app, port=0)
"""
_MANIFEST = 'name = "{0}"\ntitle = "{1}"\nversion = "1"\nsummary = "does nothing"\nentry = "{1}"\neasel = ">=1,<2"\n'
_CODE = "from easel import Extension\n\n\nclass {0}(Extension):\n    pass\n"
_TITLE = "the page in Chromium"


def measure(effort: Effort) -> Report:
    """Loads take turns, each in a browser without a cache; then a person's actions, one after the other."""
    if (chromium := browser_of()) is None:
        return Report(name="page", title=_TITLE, figures=(), remark="Not measured: it needs playwright and Chromium.")
    from playwright.sync_api import sync_playwright

    extensions, loras = (2, 50) if effort.quick else (EXTENSIONS, LORAS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="easel-bench-")))
        _fill(folder / "data", extensions, loras)
        serve = [*easel_command(), "serve", "--data-dir", str(folder / "data"), "--port", "0", "--filebrowser"]
        ours = stack.enter_context(_serving(serve, folder / "easel.log", "the page is ready"))
        empty = stack.enter_context(_serving([sys.executable, "-c", _EMPTY], folder / "empty.log", "running on"))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        stack.callback(browser.close)
        rounds = alternate(
            {
                "Easel": lambda: _load(browser, ours, "#txt2img_generate"),
                "empty": lambda: _load(browser, empty, "#ready"),
            },
            effort.rounds,
        )
        answers = _answers(browser, ours, 1 if effort.quick else 6)
    cuts = quantiles(answers, n=20, method="inclusive")
    here = "" if not effort.quick else "--quick"
    return Report(
        name="page",
        title=f"{_TITLE}, {extensions} more extensions and {loras:,} LoRAs",
        figures=(
            Figure(
                what="first load, until Generate can be clicked",
                value=rounds.median("Easel"),
                against="an empty page of gradio",
                opponent=rounds.median("empty"),
                ratio=rounds.ratio("Easel", "empty"),
                target=Target("at most", 1.5, here=here),
                samples=rounds.seconds,
            ),
            Figure(what="a person's action, median", value=cuts[9], target=Target("below", 0.15, here=here)),
            Figure(what="… the slowest twentieth", value=cuts[18], samples={"seconds": answers}),
        ),
        remark=f"Loads: median of {effort.rounds} alternating rounds, without a cache. Actions: {', '.join(_ACTIONS)}.",
    )


def browser_of() -> str | None:
    """The Chromium to measure with; None where there is none, or no playwright to lead it."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    return next(filter(None, found), None) if find_spec("playwright") else None


def _fill(data: Path, extensions: int, loras: int) -> None:
    """Extensions that do nothing, and files that are named like LoRAs: the page only lists them."""
    for number in range(extensions):
        name, title = f"idle-{number}", f"Idle{number}"
        place = data / "extensions" / name
        place.mkdir(parents=True)
        (place / "extension.toml").write_text(_MANIFEST.format(name, title))
        (place / "__init__.py").write_text(_CODE.format(title))
    place = data / "models" / "Lora"
    place.mkdir(parents=True)
    header = b'{"__metadata__":{}}'
    for number in range(loras):
        (place / f"style-{number:05}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


@contextmanager
def _serving(command: list[str], log: Path, ready: str) -> Iterator[str]:
    """A server in a process of its own; its address, once its log says that it is `ready`. Errors: EaselError."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=easel_environment(), stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            deadline = time.monotonic() + _BEGINS
            while ready not in (said := log.read_text(errors="replace")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise EaselError(f"the server does not begin; the end of its log:\n{said[-2000:]}")
                time.sleep(0.1)
            found = re.search(r"running on (http://[\w.:]+)", said)
            assert found is not None
            address = found[1].replace("0.0.0.0", "127.0.0.1") + "/"
            urllib.request.urlopen(address, timeout=60).close()
            yield address
        finally:
            process.terminate()


def _load(browser: Browser, address: str, ready: str) -> float:
    """Seconds from asking for a page to its being usable, for somebody who never was there."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    begin = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator(ready).wait_for()
    seconds = time.perf_counter() - begin
    context.close()
    return seconds


def _answers(browser: Browser, address: str, times: int) -> list[float]:
    """Seconds from each action to what it shows; every action was done once before, so that all is loaded."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address)
    page.locator("#txt2img_panel select").first.wait_for()
    seconds: list[float] = []
    for number in range(times + 1):
        for act in _ACTIONS.values():
            spent = act(page, number)
            if number:
                seconds.append(spent)
    return seconds


def _timed(page: Page, act: str, seen: str) -> float:
    """Seconds, by the browser's own clock, from JavaScript `act` to the frame in which `seen` is true."""
    spent: float = page.evaluate(
        f"""() => new Promise((done, fail) => {{
          setTimeout(() => fail(new Error('nothing to see after a minute')), 60000);
          const begin = performance.now(), seen = () => {seen};
          const look = () => seen() ? done((performance.now() - begin) / 1000) : requestAnimationFrame(look);
          {act}; look();
        }})"""
    )
    return spent


def _tab(name: str, shows: str) -> Callable[[Any, int], float]:
    press = f"[...document.querySelectorAll('[role=tab]')].find((one) => one.textContent.trim() === '{name}').click()"
    return lambda page, _: _timed(page, press, f"document.querySelector('{shows}')?.offsetParent")


def _typed(page: Page, number: int) -> float:
    """A prompt, until its tokens are counted."""
    words = "a dog " * (number + 1)
    return _timed(
        page,
        f"const box = document.querySelector('#txt2img_prompt textarea'); box.value = '{words}'; "
        "box.dispatchEvent(new Event('input', {bubbles: true}))",
        f"document.querySelector('#txt2img_prompt_tokens').textContent.trim() === '{2 * (number + 1)}/75'",
    )


def _searched(page: Page, number: int) -> float:
    """A LoRA among all, until its card is there alone."""
    _tab("Lora", "#txt2img_cards [data-cards]")(page, number)
    page.locator("#txt2img_cards .easel-card").first.wait_for()
    found = _timed(
        page,
        "const box = document.querySelector('#txt2img_cards [type=search]'); "
        f"box.value = '{number:05}'; box.dispatchEvent(new Event('input', {{bubbles: true}}))",
        "document.querySelectorAll('#txt2img_cards .easel-card').length === 1",
    )
    _timed(
        page,
        "const box = document.querySelector('#txt2img_cards [type=search]'); "
        "box.value = ''; box.dispatchEvent(new Event('input', {bubbles: true}))",
        "document.querySelectorAll('#txt2img_cards .easel-card').length > 1",
    )
    return found


_ACTIONS: dict[str, Callable[[Any, int], float]] = {
    "typing a prompt until its tokens are counted": _typed,
    "opening img2img": _tab("img2img", "#img2img_panel select"),
    "opening Extensions": _tab("Extensions", "#easel-extensions tbody tr"),
    "opening Settings": _tab("Settings", "#easel-settings nav button"),
    "back to txt2img": _tab("txt2img", "#txt2img_generate"),
    "finding one LoRA": _searched,
}
