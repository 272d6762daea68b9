"""A person makes pictures: types, paints, chooses, stops, loads the page again."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from .conftest import WAIT, Opens, Service, serving


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def type_prompt(page: Page, text: str, kind: str = "txt2img") -> None:
    page.locator(f"#{kind}_prompt textarea").fill(text)


def shown_job(page: Page, kind: str = "txt2img") -> str | None:
    shown = page.locator(f"#{kind}_gallery .easel-gallery[data-job]")
    return shown.get_attribute("data-job") if shown.count() else None


def generate(page: Page, kind: str = "txt2img") -> str:
    """Click, and wait for the picture; the id of the job."""
    before = shown_job(page, kind)
    page.click(f"#{kind}_generate")
    other = f"[data-job]:not([data-job='{before}'])" if before else "[data-job]"
    page.locator(f"#{kind}_gallery .easel-gallery{other} .easel-stage img").wait_for(timeout=WAIT)
    job = shown_job(page, kind)
    assert job
    return job


def picture(service: Service, job: str, number: int = 0) -> Image.Image:
    answer = httpx.get(f"{service.url}easel/v1/jobs/{job}/images/{number}")
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content))


def told(service: Service, job: str) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{service.url}easel/v1/jobs/{job}").json()
    return answer


_PASTE = """(data) => {
  const held = new DataTransfer(), bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  held.items.add(new File([bytes], 'pasted.png', { type: 'image/png' }));
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, cancelable: true }));
}"""


def set_number(page: Page, kind: str, label: str, value: float) -> None:
    box = page.locator(f"#{kind}_settings").get_by_label(label, exact=True).first
    box.fill(str(value))
    box.press("Tab")


def test_a_dog_is_typed_made_and_saved_and_only_what_is_painted_over_changes(page: Page, service: Service) -> None:
    type_prompt(page, "cute dog")
    expect(page.locator("#txt2img_prompt_tokens")).to_have_text("2/75")
    job = generate(page)
    expect(page.locator("#txt2img_gallery .easel-infotext:visible")).to_contain_text("Steps: 20")
    (saved,) = (one for one in told(service, job)["images"] if one["kind"] == "result")  # type: ignore[attr-defined]
    file = service.data / saved["path"]
    assert file.parts[-3] == "txt2img-images"
    assert Image.open(file).text["parameters"].startswith("cute dog\n")  # type: ignore[attr-defined]
    with page.expect_download() as download:
        page.locator("#txt2img_gallery .easel-save").click()
    assert Path(download.value.path()).read_bytes() == file.read_bytes()

    page.click("#txt2img_send_inpaint")
    canvas = page.locator("#img2img_inpaint canvas").first
    canvas.wait_for()
    expect(page.locator("#img2img_prompt textarea")).to_have_value("cute dog")
    seed = page.locator("#img2img_settings").get_by_label(
        "Seed", exact=True
    )  # a form that was filled before it was seen
    expect(seed).to_have_value(picture(service, job).text["parameters"].partition("Seed: ")[2].partition(",")[0])  # type: ignore[attr-defined]
    expect(page.locator("#img2img_inpaint").get_by_text("select the draw tool to start")).to_have_count(0)
    page.wait_for_timeout(1000)  # the canvas takes its size
    place = canvas.bounding_box()
    assert place
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x - 60, y - 40)
    page.mouse.down()
    page.mouse.move(x + 60, y - 40, steps=12)
    page.mouse.up()
    type_prompt(page, "cute cat", "img2img")
    after = np.asarray(picture(service, generate(page, "img2img")).convert("RGB"), np.int16)
    before = np.asarray(picture(service, job).convert("RGB"), np.int16)
    changed = np.abs(after - before).max(axis=2) > 8
    assert changed.any()
    rows, columns = np.where(changed)
    height, width = changed.shape
    assert height * 0.15 < rows.min() and rows.max() < height * 0.7  # a stroke of 40 pixels above the middle
    assert width * 0.15 < columns.min() and columns.max() < width * 0.85


def test_a_job_is_seen_after_the_page_is_loaded_again_and_can_be_cut_short(page: Page, service: Service) -> None:
    type_prompt(page, "a red house")
    set_number(page, "txt2img", "Sampling steps", 150)
    set_number(page, "txt2img", "Batch count", 20)
    page.click("#txt2img_generate")
    expect(page.locator("#txt2img_progress .easel-bar")).to_contain_text(re.compile(r"\d+%.* left"), timeout=WAIT)
    page.reload()
    bar = page.locator("#txt2img_progress .easel-bar")
    expect(bar).to_contain_text("%", timeout=WAIT)
    expect(page.locator("#txt2img_progress .easel-preview")).to_be_visible(timeout=WAIT)
    page.click("#txt2img_interrupt")
    page.locator("#txt2img_gallery .easel-stage img").wait_for(timeout=WAIT)
    job = shown_job(page)
    assert job
    assert told(service, job)["interrupted"] is True
    expect(page.locator("#txt2img_generate")).to_be_visible()
    page.reload()  # the picture is still there
    page.locator("#txt2img_gallery .easel-stage img").wait_for()
    assert shown_job(page) == job


def test_a_lora_card_goes_into_the_prompt_and_out(page: Page) -> None:
    type_prompt(page, "cute dog")
    tab(page, "Lora")
    card = page.locator("#txt2img_cards .easel-card")
    expect(card).to_have_count(1)
    search = page.locator("#txt2img_cards").get_by_role("searchbox")
    search.fill("no such file")
    expect(card).to_have_count(0)
    for words in ("f", "fl", "flu", "no", "flat"):  # faster than the answers
        search.fill(words)
    expect(card).to_have_count(1)
    card.click()
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("cute dog <lora:flat:1>")
    card.click()
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("cute dog")
    tab(page, "Checkpoints")
    expect(search).to_have_value("")
    expect(card).to_contain_text("starter")
    tab(page, "Generation")
    expect(card).to_be_hidden()
    expect(page.locator("#txt2img_panel")).to_be_visible()


@pytest.mark.long
def test_a_checkpoint_card_picks_it(opened: Opens, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    for name in ("tiny", "tiny2"):
        (folder / f"{name}.safetensors").symlink_to(tiny_data / "models/Stable-diffusion" / f"{name}.safetensors")
    with serving(tmp_path / "data") as running:
        page = opened(running.url)
        picker = page.locator("#setting_sd_model_checkpoint input")
        expect(picker).to_have_value(re.compile(r"^tiny\."))
        tab(page, "Checkpoints")
        for name in ("tiny2", "tiny", "tiny2"):
            page.locator("#txt2img_cards").get_by_role("button", name=name, exact=True).click()
            expect(picker).to_have_value(re.compile(rf"^{name}\."))
        expect(opened(running.url).locator("#setting_sd_model_checkpoint input")).to_have_value(re.compile(r"^tiny2\."))


def test_weights_are_changed_by_keys(page: Page) -> None:
    box = page.locator("#txt2img_prompt textarea")
    box.fill("cute dog, snow <lora:flat:1>")
    box.evaluate("(box) => box.setSelectionRange(6, 6)")
    box.press("Control+ArrowUp")
    expect(box).to_have_value("(cute dog:1.1), snow <lora:flat:1>")
    box.press("Control+ArrowUp")
    expect(box).to_have_value("(cute dog:1.2), snow <lora:flat:1>")
    box.press("Control+ArrowDown")
    box.press("Control+ArrowDown")
    expect(box).to_have_value("cute dog, snow <lora:flat:1>")
    box.evaluate("(box) => box.setSelectionRange(22, 22)")
    box.press("Control+ArrowDown")
    expect(box).to_have_value("cute dog, snow <lora:flat:0.95>")


INFOTEXT = """a blue bird
Negative prompt: rain
Steps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 3.5, Seed: 77, Size: 256x320"""


def test_generation_data_are_pasted_back(page: Page) -> None:
    type_prompt(page, INFOTEXT)
    page.click("#txt2img_paste")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a blue bird")
    expect(page.locator("#txt2img_neg_prompt textarea")).to_have_value("rain")
    settings = page.locator("#txt2img_settings")
    expect(settings.get_by_label("Sampling steps", exact=True)).to_have_value("7")
    expect(settings.get_by_label("Height", exact=True)).to_have_value("320")
    expect(page.locator("#txt2img_settings").get_by_label("Seed", exact=True)).to_have_value("77")
    expect(settings.get_by_label("Sampling method")).to_have_value("Euler a")


def test_what_cannot_be_done_is_said(page: Page) -> None:
    tab(page, "img2img")
    type_prompt(page, "a cat", "img2img")
    page.click("#img2img_generate")
    expect(page.locator("#img2img_progress .easel-error")).to_contain_text("no picture to start from")


@pytest.mark.long
def test_a_hires_pass_makes_it_larger(page: Page, service: Service) -> None:
    type_prompt(page, "cute dog")
    page.get_by_label("Hires. fix").check()
    set_number(page, "txt2img", "Upscale by", 1.5)
    made = picture(service, generate(page))
    assert made.size == (768, 768)
    assert "Hires upscale: 1.5" in made.text["parameters"]  # type: ignore[attr-defined]


@pytest.mark.long
def test_a_picture_dropped_in_is_read_and_its_data_are_sent(page: Page, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    file, texts = tmp_path / "bird.png", PngInfo()
    texts.add_text("parameters", INFOTEXT)
    Image.new("RGB", (64, 64), "blue").save(file, pnginfo=texts)
    tab(page, "PNG Info")
    page.locator("#pnginfo_image input[type=file]").set_input_files(file)
    expect(page.locator("#pnginfo_shown")).to_contain_text("Steps: 7")
    page.click("#pnginfo_send_txt2img")
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("a blue bird")
    expect(page.locator("#txt2img_settings").get_by_label("Seed", exact=True)).to_have_value("77")


@pytest.mark.long
def test_two_people_see_their_own_pictures(opened: Opens, service: Service) -> None:
    one, two = opened(service.url), opened(service.url)
    type_prompt(one, "cute dog")
    type_prompt(two, "a red house")
    one.click("#txt2img_generate")
    second = generate(two)
    one.locator("#txt2img_gallery .easel-stage img").wait_for(timeout=WAIT)
    first = shown_job(one)
    assert first and first != second
    assert json.loads(json.dumps(told(service, first)["info"]))["prompt"] == "cute dog"
    assert json.loads(json.dumps(told(service, second)["info"]))["prompt"] == "a red house"


@pytest.mark.long
def test_a_controlnet_unit_steers_by_the_edges_of_a_picture(page: Page, service: Service, tmp_path: Path) -> None:
    drawn = Image.new("RGB", (512, 512), "white")
    drawn.paste("black", (150, 150, 360, 360))
    drawn.save(tmp_path / "square.png")
    settings = page.locator("#txt2img_settings")
    settings.locator("summary", has_text="ControlNet").click()
    unit = settings.locator(".easel-picked section").first
    unit.get_by_label("Enable").check()
    unit.locator(".easel-drop").first.hover()
    page.evaluate(_PASTE, base64.b64encode((tmp_path / "square.png").read_bytes()).decode())
    unit.locator(".easel-drop.full img").wait_for()
    unit.get_by_label("Module").select_option("canny")
    unit.get_by_role("button", name="Preview").click()
    unit.get_by_alt_text("Preview").wait_for(timeout=WAIT)  # its edges
    type_prompt(page, "a red house")
    job = told(service, generate(page))
    kinds = [one["kind"] for one in job["images"]]  # type: ignore[attr-defined]
    assert kinds == ["result", "control"]
    assert any(line["item"].lower().startswith("controlnet") and line["outcome"] == "applied" for line in job["report"])  # type: ignore[attr-defined]


@pytest.mark.long
def test_a_plot_of_two_settings(page: Page, service: Service) -> None:
    settings = page.locator("#txt2img_settings")
    settings.get_by_label("Script", exact=True).select_option("X/Y/Z plot")
    settings.get_by_label("X values").fill("1,2")
    settings.get_by_label("Y type").select_option("Steps")
    settings.get_by_label("Y values").fill("3,4")
    type_prompt(page, "cute dog")
    job = generate(page)
    grid = picture(service, job)
    assert grid.width > 1024 and grid.height > 1024  # four cells and their labels
    expect(page.locator("#txt2img_gallery .easel-infotext:visible")).to_contain_text("X/Y/Z plot")
