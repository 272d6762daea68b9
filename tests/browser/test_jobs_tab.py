"""Jobs as people see them: in line, running, finished; after the page was loaded again too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, expect

from .conftest import WAIT, Opens, Service, tab

LONG = {"prompt": "a slow boat", "steps": 1000, "batch_size": 2}
SHORT = {"prompt": "a red ball", "steps": 3, "seed": 5}


@pytest.fixture
def running(service: Service) -> Iterator[str]:
    """The id of a job that takes minutes, and is cancelled at the end."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(httpx.post, f"{service.url}sdapi/v1/txt2img", json=LONG, timeout=300)
        job = ""
        while not job:
            jobs = httpx.get(f"{service.url}easel/v1/jobs").json()
            job = next((one["id"] for one in jobs if one["state"] == "running" and one["step"] > 0), "")
        yield job
        httpx.post(f"{service.url}easel/v1/jobs/{job}/cancel")


def test_a_running_job_is_there_after_a_reload_and_can_be_cancelled(page: Page, running: str) -> None:
    for _ in range(2):
        tab(page, "Jobs")
        card = page.locator(f"#easel-jobs [data-job='{running}']").first
        expect(card).to_contain_text("running")
        expect(card).to_contain_text("a slow boat")
        first = float(card.locator("progress").get_attribute("value") or 0)
        expect(card.locator("progress")).not_to_have_attribute("value", f"{first:.3f}", timeout=WAIT)  # it goes on
        page.reload()
    tab(page, "Jobs")
    card = page.locator(f"#easel-jobs article[data-job='{running}']")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("cancelled", timeout=WAIT)


def test_a_finished_job_is_run_again_and_explained(service: Service, page: Page) -> None:
    answer = httpx.post(f"{service.url}sdapi/v1/txt2img", json=SHORT, timeout=120)
    assert answer.status_code == 200
    tab(page, "Jobs")
    cards = page.locator("#easel-jobs article", has_text="a red ball")
    before = cards.count() or 1
    expect(cards.first).to_contain_text("done")
    expect(cards.first.locator("img").first).to_have_js_property("complete", True)
    cards.first.get_by_role("button", name="Run again").click()
    expect(cards).to_have_count(before + 1)
    expect(cards.first).to_contain_text("done", timeout=WAIT)
    cards.first.get_by_role("button", name="Details").click()
    expect(page.locator("#easel-job")).to_contain_text("Who changed what")
    expect(page.locator("#easel-job")).to_contain_text("denoise")
    again, first = [one for one in httpx.get(f"{service.url}easel/v1/jobs").json() if one["kind"] == "txt2img"][:2]
    pictures = [httpx.get(f"{service.url}easel/v1/jobs/{one['id']}/images/0").content for one in (again, first)]
    assert pictures[0] == pictures[1]  # the same request, the same seed
    tab(page, "Usage")
    expect(page.locator("#easel-usage")).to_contain_text("denoise")
    tab(page, "Extensions")
    page.get_by_role("tab", name="What happened").click()
    expect(page.locator("#easel-happened")).to_contain_text("a red ball")


@pytest.mark.long
def test_a_job_in_line_tells_its_place(service: Service, page: Page, running: str) -> None:
    with ThreadPoolExecutor(12) as threads:
        for _ in range(10):  # eight are in the engine at once
            threads.submit(httpx.post, f"{service.url}sdapi/v1/txt2img", json=LONG, timeout=300)
        tab(page, "Jobs")
        waiting = page.locator("#easel-jobs article", has_text="In queue: ")
        expect(waiting.first).to_be_visible(timeout=WAIT)
        for job in httpx.get(f"{service.url}easel/v1/jobs").json():
            httpx.post(f"{service.url}easel/v1/jobs/{job['id']}/cancel")
    expect(waiting).to_have_count(0)


@pytest.mark.long
def test_a_job_of_one_page_is_seen_on_another(service: Service, opened: Opens, running: str) -> None:
    for page in (opened(service.url), opened(service.url)):
        tab(page, "Jobs")
        expect(page.locator(f"#easel-jobs article[data-job='{running}']")).to_contain_text("running")
