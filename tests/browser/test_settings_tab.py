"""Settings: found, saved, and the page in another language."""

from __future__ import annotations

import httpx2 as httpx
from playwright.sync_api import Page, expect

from .conftest import WAIT, Service, tab


def speak(page: Page, language: str, *words: str) -> None:
    """As the manual says: Settings, User interface, Localization, Save settings, Reload UI, in the present language."""
    settings, interface, save, reload = words
    tab(page, settings)
    page.get_by_role("button", name=interface, exact=True).click()
    page.locator("#field-localization").select_option(language)
    page.get_by_role("button", name=save, exact=True).click()
    expect(page.locator("#field-localization option[selected]")).to_have_attribute("value", language)
    with page.expect_navigation(timeout=WAIT):
        page.get_by_role("button", name=reload, exact=True).click()
    page.locator("#txt2img_prompt textarea").wait_for()


def test_to_chinese_and_back(page: Page) -> None:
    english = ("Settings", "User interface", "Save settings", "Reload UI")
    chinese = ("设置", "用户界面", "保存设置", "重新加载界面")
    expect(page.locator("#txt2img_generate")).to_have_text("Generate")
    speak(page, "zh_CN", *english)
    try:
        expect(page.locator("#txt2img_generate")).to_have_text("生成")
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        tab(page, "扩展")
        expect(page.locator("#easel-extensions")).to_contain_text("应用更改并重新加载界面")
        tab(page, "文件浏览")
        files = page.frame_locator("#filebrowser_frame iframe")
        expect(files.get_by_role("button", name="上传", exact=True)).to_be_visible()
        expect(files.locator("#count")).to_contain_text("项")
    finally:
        speak(page, "None", *chinese)
    expect(page.locator("#txt2img_generate")).to_have_text("Generate")


def test_an_option_is_found_saved_and_kept(page: Page, service: Service) -> None:
    options = f"{service.url}sdapi/v1/options"
    tab(page, "Settings")
    page.locator("#easel-settings").get_by_role("searchbox").fill("jpeg quality")
    rows = page.locator("#easel-settings .easel-field:visible")
    expect(rows).to_have_count(1)
    rows.get_by_role("spinbutton").fill("61")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert httpx.get(options).json()["jpeg_quality"] == 61
    page.reload()
    tab(page, "Settings")
    expect(page.get_by_label("Quality for saved jpeg and avif images")).to_have_value("61")
    page.get_by_label("Quality for saved jpeg and avif images").fill("500")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("1 to 100")).to_be_visible()  # what is allowed
    assert httpx.get(options).json()["jpeg_quality"] == 61
    httpx.post(options, json={"jpeg_quality": 80})
