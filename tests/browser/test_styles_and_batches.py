"""Prompts and pictures by the handful: styles that are kept, a picture dropped on the prompt, many start pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx2 as httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from .conftest import WAIT, Service, tab
from .test_generation import INFOTEXT, generate, picture, set_number, told, type_prompt

_DROP = """(place, data) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], 'bird.png', { type: 'image/png' }));
  place.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: files }));
}"""


def test_a_style_is_saved_applied_and_deleted(page: Page, service: Service) -> None:
    type_prompt(page, "{prompt}, warm light")
    page.locator("#txt2img_neg_prompt textarea").fill("rain")
    names = page.locator("#txt2img_styles input")
    names.fill("evening")
    names.press("Enter")
    page.click("#txt2img_style_save")
    expect(page.get_by_text("Saved.")).to_be_visible()
    styles = f"{service.url}sdapi/v1/prompt-styles"
    assert [one["name"] for one in httpx.get(styles).json()] == ["evening"]
    type_prompt(page, "a boat")
    page.locator("#txt2img_neg_prompt textarea").fill("")
    names.click()
    page.get_by_role("option", name="evening").click()
    page.click("#txt2img_style_apply")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a boat, warm light")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("rain")
    names.click()
    page.get_by_role("option", name="evening").click()
    page.click("#txt2img_style_delete")
    expect(page.locator("#txt2img_styles .token")).to_have_count(0)
    page.click("#txt2img_clear_prompt")
    for box in ("prompt", "neg_prompt"):
        expect(page.locator(f"#txt2img_{box} textarea")).to_have_value("")
        expect(page.locator(f"#txt2img_{box}_tokens")).to_have_text("0/75")  # the service has heard of it
    assert httpx.get(styles).json() == []


def test_a_picture_dropped_on_the_prompt_gives_its_data(page: Page) -> None:
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text("parameters", INFOTEXT)
    Image.new("RGB", (64, 64), "blue").save(file, "PNG", pnginfo=texts)
    box = page.locator("#txt2img_prompt textarea")
    box.evaluate(_DROP, base64.b64encode(file.getvalue()).decode())
    expect(box).to_have_value("a blue bird")
    expect(page.locator("#txt2img_settings").get_by_label("Seed", exact=True)).to_have_value("77")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    box.evaluate(_DROP, base64.b64encode(file.getvalue()).decode())
    expect(page.get_by_text("There are no generation data in it.")).to_be_visible()
    expect(box).to_have_value("a blue bird")


@pytest.mark.long
def test_a_batch_shows_all_and_is_scaled_by_its_own_sizes(page: Page, service: Service, tmp_path: Path) -> None:
    for name, size in (("one", (256, 128)), ("two", (128, 192))):
        Image.new("RGB", size, "blue").save(tmp_path / f"{name}.png")
    tab(page, "img2img")
    page.get_by_role("tab", name="Batch").click()
    page.locator("#img2img_batch input[type=file]").set_input_files([tmp_path / "one.png", tmp_path / "two.png"])
    expect(page.locator("#img2img_batch")).to_contain_text("two")  # gradio cuts names in two where they are long
    page.locator("#img2img_panel").get_by_label("Resize by", exact=True).check()
    set_number(page, "img2img", "Scale", 1.5)
    set_number(page, "img2img", "Sampling steps", 2)
    type_prompt(page, "a red house", "img2img")
    page.click("#img2img_generate")
    thumbs = page.locator("#img2img_gallery .easel-thumb")
    expect(thumbs).to_have_count(2, timeout=WAIT)
    jobs = [str(one.get_attribute("data-of")).partition("/")[0] for one in thumbs.all()]
    assert [picture(service, job).size for job in jobs] == [(384, 192), (192, 288)]
    tab(page, "Jobs")
    card = page.locator(f"#easel-jobs article[data-job='{jobs[1]}']")
    card.get_by_role("button", name="Run again").click()
    again = page.locator("#easel-jobs article", has_text="a red house")
    expect(again).to_have_count(3)
    expect(again.first).to_contain_text("done", timeout=WAIT)
    newest = str(again.first.get_attribute("data-job"))
    assert picture(service, newest).tobytes() == picture(service, jobs[1]).tobytes()


@pytest.mark.long
def test_a_sketch_over_a_picture_is_its_own_mask(page: Page, service: Service, tmp_path: Path) -> None:
    Image.new("RGB", (512, 512), "white").save(tmp_path / "white.png")
    tab(page, "img2img")
    page.get_by_role("tab", name="Inpaint sketch").click()
    canvas = page.locator("#img2img_inpaint_sketch canvas").first
    canvas.wait_for()  # gradio's editor takes no file before
    page.locator("#img2img_inpaint_sketch input[type=file]").first.set_input_files(tmp_path / "white.png")
    page.wait_for_timeout(1500)
    place = canvas.bounding_box()
    assert place
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x - 50, y)
    page.mouse.down()
    page.mouse.move(x + 50, y, steps=10)
    page.mouse.up()
    set_number(page, "img2img", "Denoising strength", 0.1)
    type_prompt(page, "a red ball", "img2img")
    made = picture(service, generate(page, "img2img")).convert("RGB")
    assert made.getpixel((5, 5)) == (255, 255, 255)  # not masked
    red, green, blue = made.getpixel((256, 256))  # type: ignore[misc]
    assert red > green + 30 and red > blue + 30  # the colour that was painted


@pytest.mark.long
def test_what_extras_make_is_saved(page: Page, service: Service, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), "blue").save(tmp_path / "small.png")
    tab(page, "Extras")
    page.locator("#extras_image input[type=file]").set_input_files(tmp_path / "small.png")
    page.locator("#extras_image img").wait_for()
    job = generate(page, "extras")
    (made,) = told(service, job)["images"]  # type: ignore[misc]
    with Image.open(service.data / made["path"]) as saved:  # type: ignore[index]
        assert saved.size == (128, 96)
    assert "/extras-images/" in made["path"]  # type: ignore[index]
