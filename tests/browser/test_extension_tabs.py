"""The tabs that extensions bring: words become a prompt, a file becomes a model."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx2 as httpx
from playwright.sync_api import Page, expect

from .conftest import WAIT, Service, tab


def test_a_few_words_become_a_prompt_in_txt2img(page: Page) -> None:
    tab(page, "BeautifulPrompt")
    page.get_by_label("Simple prompt").fill("cute dog")
    page.locator("#beautiful_prompt_generate").click()
    candidates = page.locator("#beautiful_prompt_candidates label:has(input)")
    expect(candidates).to_have_count(3, timeout=WAIT)
    chosen = candidates.nth(1).inner_text().strip()
    candidates.nth(1).click()
    expect(page.get_by_label("Detailed prompt")).to_have_value(chosen)
    assert "dog" in chosen
    assert len(chosen) > len("cute dog")
    for place in ("txt2img", "img2img"):
        tab(page, "BeautifulPrompt")
        page.get_by_role("button", name=f"to {place}").click()
        expect(page.locator(f"#{place}_prompt textarea")).to_be_visible()
        expect(page.locator(f"#{place}_prompt textarea")).to_have_value(chosen)


def test_a_model_is_uploaded_and_switched_to(page: Page, service: Service, tiny_data: Path) -> None:
    tab(page, "FileBrowser")
    files = page.frame_locator("#filebrowser_frame iframe")
    files.get_by_text("models", exact=True).click()
    files.get_by_text("Stable-diffusion", exact=True).click()
    with page.expect_file_chooser() as chooser:
        files.get_by_role("button", name="Upload", exact=True).click()
    chooser.value.set_files(tiny_data / "models" / "Stable-diffusion" / "tiny.safetensors")
    expect(files.locator("#items")).to_contain_text("tiny.safetensors", timeout=WAIT)
    page.locator("#refresh_sd_model_checkpoint").click()
    picker, options = page.locator("#setting_sd_model_checkpoint input"), f"{service.url}sdapi/v1/options"
    try:
        picker.click()
        page.get_by_role("option", name="tiny").click()
        expect(picker).to_have_value(re.compile("^tiny"))
        deadline = time.monotonic() + 20
        while not httpx.get(options).json()["sd_model_checkpoint"].startswith("tiny"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        httpx.post(options, json={"sd_model_checkpoint": "starter"})
        (service.data / "models" / "Stable-diffusion" / "tiny.safetensors").unlink()
        httpx.post(f"{service.url}sdapi/v1/refresh-checkpoints")
