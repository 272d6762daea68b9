"""The pictures of `docs/page.md`: `python tools/screenshots.py [FOLDER]` starts a service, uses its page, and looks.

Wants playwright and Debian's chromium. The service has a fresh data folder, the starter model, and some pictures that
were made before.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from easel.bench.service import easel_command, easel_environment

IMAGES = Path(__file__).parents[1] / "docs" / "images"
QUALITY = 72  # of JPEG: some 50 to 100 KB a picture
LARGEST = 150_000  # bytes
WAIT = 120_000  # milliseconds
SUBJECTS = ("a red ball on grass", "a blue house on a hill", "a yellow star in the night")


def main() -> int:
    """Make them all."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as work, _service(Path(work)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for number, subject in enumerate(SUBJECTS):
            _post(f"{url}sdapi/v1/txt2img", {"prompt": subject, "seed": number + 1, "save_images": True})
        page = _open(browser, url, 1280, 900)
        for name, prepare in TABS.items():
            prepare(page, url)
            _shoot(page, folder / f"page-{name}.jpg")
        _in_other_ways(browser, url, folder)
        browser.close()
    return 0


@contextmanager
def _service(work: Path) -> Iterator[str]:
    """A service's address, once its page is ready."""
    command = [*easel_command(), "serve", "--data-dir", str(work / "data"), "--port", "0", "--filebrowser"]
    log = work / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=easel_environment(), stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            while "the page is ready" not in (said := log.read_text()):
                if process.poll() is not None:
                    raise SystemExit(said)
                time.sleep(0.2)
            yield re.search(r"running on (http://\S+)", said)[1] + "/"  # type: ignore[index]
        finally:
            process.terminate()


def _post(url: str, body: dict[str, Any]) -> None:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(asked, timeout=300).close()


def _open(browser: Browser, url: str, width: int, height: int, **options: Any) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
    page.set_default_timeout(WAIT)
    page.goto(url)
    page.locator("#txt2img_prompt textarea").wait_for()
    return page


def _shoot(page: Page, file: Path) -> None:
    page.wait_for_timeout(1500)  # pictures are drawn, lists are there
    page.mouse.move(0, 0)
    page.screenshot(path=file, type="jpeg", quality=QUALITY)
    size = file.stat().st_size
    print(f"{file.name}: {size >> 10} KB")
    if size > LARGEST:
        raise SystemExit(f"{file} is larger than {LARGEST} bytes")


def _tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def _txt2img(page: Page, url: str) -> None:
    page.locator("#txt2img_prompt textarea").fill("a cute dog, (soft light:1.2), on a green background")
    page.click("#txt2img_generate")
    page.locator("#txt2img_gallery .easel-stage img").wait_for()


def _img2img(page: Page, url: str) -> None:
    page.click("#txt2img_send_inpaint")
    page.locator("#img2img_inpaint canvas").first.wait_for()
    page.locator("#img2img_inpaint").get_by_text("select the draw tool to start").wait_for(state="detached")


def _png_info(page: Page, url: str) -> None:
    _tab(page, "PNG Info")
    jobs = json.load(urllib.request.urlopen(f"{url}easel/v1/jobs"))
    picture = urllib.request.urlopen(f"{url}easel/v1/jobs/{jobs[0]['id']}/images/0").read()
    with page.expect_file_chooser() as chooser:
        page.locator("#easel-tab-png_info button").first.click()
    chooser.value.set_files({"name": "dog.png", "mimeType": "image/png", "buffer": picture})


def _beautiful_prompt(page: Page, url: str) -> None:
    _tab(page, "BeautifulPrompt")
    page.get_by_label("Simple prompt").fill("cute dog")
    page.click("#beautiful_prompt_generate")
    page.locator("#beautiful_prompt_candidates label:has(input)").first.wait_for()


def _filebrowser(page: Page, url: str) -> None:
    _tab(page, "FileBrowser")
    files = page.frame_locator("#filebrowser_frame iframe")
    files.get_by_text("outputs", exact=True).click()
    files.get_by_text("txt2img-images", exact=True).click()
    files.locator(".item a").first.click()
    files.get_by_role("button", name="Gallery").click()


def _jobs(page: Page, url: str) -> None:
    body = {"prompt": "a green tree by a lake", "steps": 150, "seed": 9}
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    asked = urllib.request.Request(f"{url}sdapi/v1/txt2img", json.dumps(body).encode(), headers)
    urllib.request.urlopen(asked).close()
    _tab(page, "Jobs")
    page.locator("#easel-jobs progress").first.wait_for()
    page.locator("#easel-jobs article img[src^='data:']").first.wait_for()


def _settings(page: Page, url: str) -> None:
    _tab(page, "Settings")
    page.get_by_role("button", name="User interface").click()


TABS: dict[str, Any] = {
    "txt2img": _txt2img,
    "img2img": _img2img,
    "extras": lambda page, url: _tab(page, "Extras"),
    "png-info": _png_info,
    "beautiful-prompt": _beautiful_prompt,
    "filebrowser": _filebrowser,
    "jobs": _jobs,
    "usage": lambda page, url: _tab(page, "Usage"),
    "settings": _settings,
    "extensions": lambda page, url: _tab(page, "Extensions"),
}


def _in_other_ways(browser: Browser, url: str, folder: Path) -> None:
    """Dark, on a phone, in Chinese (which wants a font that has it)."""
    dark = _open(browser, url, 1280, 900, color_scheme="dark")
    _txt2img(dark, url)
    _shoot(dark, folder / "page-dark.jpg")
    phone = _open(browser, url, 390, 844, is_mobile=True, has_touch=True)
    phone.locator("#txt2img_prompt textarea").fill("cute dog")
    _shoot(phone, folder / "page-phone.jpg")
    _tab(dark, "Settings")
    dark.get_by_role("button", name="User interface").click()
    dark.locator("#field-localization").select_option("zh_CN")
    dark.get_by_role("button", name="Save settings").click()
    dark.locator("#field-localization option[value=zh_CN][selected]").wait_for(state="attached")
    with dark.expect_navigation():
        dark.get_by_role("button", name="Reload UI").click()
    chinese = _open(browser, url, 1280, 900)
    _tab(chinese, "扩展")
    _shoot(chinese, folder / "page-chinese.jpg")


if __name__ == "__main__":
    raise SystemExit(main())
