"""Operators switch extensions on and off, and read what became of them."""

from __future__ import annotations

import threading
from typing import Any

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, expect

from .conftest import WAIT, Opens, Service, tab


def switch(page: Page, title: str, *, on: bool) -> None:
    """Set the checkbox, apply, and wait for the page that is loaded then."""
    tab(page, "Extensions")
    page.get_by_role("checkbox", name=title, exact=True).set_checked(on)
    with page.expect_navigation(timeout=WAIT):
        page.get_by_role("button", name="Apply changes and reload UI").click()
    page.get_by_role("tab", name="txt2img").first.wait_for()


def test_a_tab_goes_and_comes_with_its_extension_while_another_generates(service: Service, opened: Opens) -> None:
    mine, theirs = opened(service.url), opened(service.url)
    body = {
        "prompt": "cute dog",
        "steps": 12,
        "batch_size": 2,
        "alwayson_scripts": {"BeautifulPrompt": {"args": [True]}},
    }
    answers: list[Any] = []
    job = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{service.url}sdapi/v1/txt2img", json=body, timeout=120))
    )
    job.start()
    expect(mine.get_by_role("tab", name="BeautifulPrompt")).to_be_visible()
    switch(mine, "BeautifulPrompt", on=False)
    try:
        expect(mine.get_by_role("tab", name="BeautifulPrompt")).to_have_count(0)
        expect(theirs.get_by_role("tab", name="BeautifulPrompt")).to_be_visible()  # an open page stays as it is
        tab(theirs, "Jobs")
        theirs.locator("#easel-jobs article").first.wait_for()  # and works
    finally:
        switch(mine, "BeautifulPrompt", on=True)
    expect(mine.get_by_role("tab", name="BeautifulPrompt")).to_be_visible()
    job.join()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["images"]) >= 2


def test_an_extension_tells_of_itself_and_takes_settings(page: Page, service: Service) -> None:
    tab(page, "Extensions")
    page.get_by_role("searchbox").first.fill("detailed prompt")
    expect(page.locator("#easel-extensions tbody tr:visible")).to_have_count(1)
    page.get_by_role("button", name="BeautifulPrompt").click()
    about = page.locator("#easel-extension")
    expect(about).to_contain_text("models/BeautifulPrompt")
    expect(page.locator("#easel-readme")).to_contain_text("BeautifulPrompt")
    address = f"{service.url}easel/v1/extensions/beautiful-prompt/settings"
    about.get_by_label("Model").fill("other")
    about.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert httpx.get(address).json()["values"] == {"model": "other"}
    about.get_by_label("Model").fill("starter")
    about.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved.").nth(1)).to_be_visible()
    assert httpx.get(address).json()["values"] == {"model": "starter"}


@pytest.mark.long
def test_what_a_broken_extension_lacks_is_told(page: Page, service: Service) -> None:
    folder = service.data / "extensions" / "broken"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(
        'name = "broken"\ntitle = "Broken"\nversion = "1"\nsummary = "no good"\nentry = "Broken"\neasel = ">=1,<2"\n'
    )
    (folder / "__init__.py").write_text("1 / 0\n")
    tab(page, "Extensions")
    page.get_by_role("button", name="Look for new ones").click()
    row = page.locator("#easel-extensions tr", has_text="no good")
    expect(row).to_contain_text("failed")
    expect(row).to_contain_text("ZeroDivisionError")
    (folder / "extension.toml").unlink()
    (folder / "__init__.py").unlink()
    folder.rmdir()
    page.get_by_role("button", name="Look for new ones").click()
    expect(row).to_have_count(0)
