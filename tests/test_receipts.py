"""Receipts: in the picture, at the job, and made again by `easel verify`."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel.api.requests import read_request
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.app import Easel
from easel.cli import main
from easel.imaging.encode import encode
from easel.settings import read_settings
from easel.values.receipt import CHUNK, read_receipt, veiled
from easel.verify import verify

FAST = ["--steps", "3", "--width", "64", "--height", "64", "--seed", "5", "--reproducible"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def made(folder: Path, *words: str) -> Path:
    file = folder / "made.png"
    assert main([*words, "-o", str(file), *FAST, "--data-dir", str(folder / "data")]) == 0
    return file


def opened(file: Path) -> tuple[str, Any]:
    with Image.open(file) as picture:
        return picture.info[CHUNK], np.array(picture)


def verified(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    status = main(["verify", *words, "--json", "--reproducible", "--data-dir", str(folder / "data")])
    out = capsys.readouterr().out
    return status, json.loads(out) if out else {}


def test_a_text_to_a_picture_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made(tmp_path, "txt2img", "a cat <lora:flat:1>")
    text, pixels = opened(file)
    receipt, kind, number = read_receipt(text)
    assert (kind, number) == ("result", 0)
    used = {(one.kind, one.name): one.sha256 for one in receipt.weights}
    assert len(used["checkpoint", "starter"]) == len(used["lora", "flat"]) == 64
    code = {one.name: one for one in receipt.extensions}
    assert len(code["lora"].sha256) == 64 and code["lora"].version
    assert {"torch", "numpy", "pillow"} <= set(receipt.libraries)
    assert receipt.machine["reproducible"] and receipt.noise["randn_source"] == "GPU"
    assert receipt.request["seed"] == 5 and receipt.request["steps"] == 3
    assert str(tmp_path) not in text and "/core/" not in text
    status, found = verified(tmp_path, capsys, str(file))
    assert (status, found["verdict"], found["differences"]) == (0, "bit-exact", [])

    pixels[0, 0] ^= 3
    info = PngInfo()
    info.add_text(CHUNK, text)
    Image.fromarray(pixels).save(file, pnginfo=info)
    status, found = verified(tmp_path, capsys, str(file))
    assert (status, found["verdict"]) == (1, "differs") and 1 <= int(str(found["most"])) <= 3
    assert verified(tmp_path, capsys, str(file), "--tolerance", "3")[0] == 0

    told = json.loads(text)
    for one in told["weights"]:
        if one["kind"] == "lora":
            one["sha256"] = "0" * 64
    info = PngInfo()
    info.add_text(CHUNK, json.dumps(told))
    Image.fromarray(pixels).save(file, pnginfo=info)
    status, found = verified(tmp_path, capsys, str(file))
    assert (status, found["verdict"]) == (2, "prevented") and "other weights: lora flat" in str(found["prevented_by"])


def test_settings_of_extensions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EASEL_EXT_BEAUTIFUL_PROMPT__MODEL", "a-key-of-mine")
    file = made(tmp_path, "txt2img", "a cat")
    text, _ = opened(file)
    code = {one.name: one for one in read_receipt(text)[0].extensions}
    told = f"sha256 {hashlib.sha256(b'a-key-of-mine').hexdigest()}"
    assert code["beautiful-prompt"].settings == {"model": told} and not code["lora"].settings
    assert "a-key-of-mine" not in text
    assert veiled({"threshold": 0.9, "hosts": ["a"]}) == {"threshold": 0.9, "hosts": [veiled("a")]}
    monkeypatch.delenv("EASEL_EXT_BEAUTIFUL_PROMPT__MODEL")
    status, found = verified(tmp_path, capsys, str(file))
    assert (status, found["verdict"]) == (0, "bit-exact")
    assert found["differences"] == [f"extension beautiful-prompt: model the default, there {told}"]


def test_start_pictures_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = tmp_path / "start.png"
    Image.fromarray(np.full((64, 64, 3), (200, 80, 30), np.uint8)).save(start)
    file = made(tmp_path, "img2img", "a dog", "-i", str(start), "--strength", "0.6")
    status, found = verified(tmp_path, capsys, str(file))
    assert status == 2 and "input missing: init.pictures[0]" in str(found["prevented_by"])
    status, found = verified(tmp_path, capsys, str(file), "--init", str(start))
    assert (status, found["verdict"]) == (0, "bit-exact")


def test_a_picture_without_a_receipt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    assert main(["verify", str(plain), "--data-dir", str(tmp_path / "data")]) == 2
    assert "there is no receipt" in capsys.readouterr().err


PHOTO = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
MASK = encode(Image.fromarray(np.pad(np.full((24, 24), 255, np.uint8), 20)))
FROM = {"init_images": [base64.b64encode(PHOTO).decode()], "denoising_strength": 0.7}
MASKED = FROM | {"mask": base64.b64encode(MASK).decode(), "inpainting_fill": 1}
UNIT = {"image": FROM["init_images"][0], "module": "canny", "model": "starter-canny"}
BODIES: dict[str, dict[str, Any]] = {
    "batches": {"batch_size": 2, "n_iter": 2},
    "variations": {"subseed": 7, "subseed_strength": 0.3, "batch_size": 2},
    "hires": {"enable_hr": True, "hr_upscaler": "R-ESRGAN AnimeVideo 4x", "hr_scale": 2, "denoising_strength": 0.5},
    "matrix": {"prompt": "a cat|red|small", "script_name": "Prompt matrix", "script_args": {}},
    "plot": {"script_name": "X/Y/Z plot", "script_args": {"x_type": "Steps", "x_values": "2,3"}},
    "lines": {"script_name": "Prompts from file or textbox", "script_args": {"text": "a dog"}},
    "control": {"alwayson_scripts": {"ControlNet": {"args": [UNIT]}}},
    "mask": MASKED,
    "only masked": MASKED | {"inpaint_full_res": True, "inpainting_fill": 2},
    "soft": MASKED | {"alwayson_scripts": {"Soft Inpainting": {"args": [True]}}},
    "loopback": FROM | {"script_name": "Loopback", "script_args": {}},
    "outpainting": FROM | {"script_name": "Outpainting mk2", "script_args": {}},
    "tiles": FROM | {"script_name": "SD upscale", "script_args": {"overlap": 16, "scale": 2}},
}


@pytest.mark.long
@pytest.mark.parametrize("name", BODIES)
def test_whatever_made_it(tmp_path: Path, name: str) -> None:
    """Scripts, grids, controls and masks, all pictures of the answer."""
    body = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3, "seed": 5} | BODIES[name]
    settings = read_settings(["--data-dir", str(tmp_path), "--in-process", "--reproducible"], {})
    app = Easel(settings)
    app.start()
    try:
        request = read_request(app, (Img2ImgBody if "init_images" in body else Txt2ImgBody)(**body)).request
        images = app.jobs.wait_blocking(app.jobs.submit(request)).images
    finally:
        app.stop()
    assert [verify(settings, one.data, [PHOTO, MASK]).verdict for one in images] == ["bit-exact"] * len(images)
