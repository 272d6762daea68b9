"""First-party extensions alone, all without one, and in pairs: what is on works, what is off is refused or reported."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import combinations
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file

from easel.api.server import create_api
from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.extensions.finder import OWN_ROOTS, find_extensions
from easel.settings import read_settings
from easel.worker.workplace import assemble, model_store


def png(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def left_half() -> Image.Image:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    return mask


NOISE = png(Image.effect_noise((64, 64), 80).convert("RGB"))
START = {"seed": 1, "steps": 2, "width": 64, "height": 64, "init_images": [NOISE], "denoising_strength": 0.5}
NET = "R-ESRGAN AnimeVideo 4x"


@dataclass(frozen=True)
class Use:
    """How a request uses an extension. `pictures`: how many the script makes of it; 0: it is no script to select."""

    prompt: str = ""
    body: Mapping[str, Any] | None = None
    always_on: Mapping[str, Any] | None = None
    pictures: int = 0


USES = {
    "lora": Use(prompt=" <lora:flat:1>"),
    "hypernetworks": Use(prompt=" <hypernet:ink:1>"),
    "wildcards": Use(prompt=" __ink__"),
    "beautiful-prompt": Use(always_on={"BeautifulPrompt": {"enabled": True, "max_new_tokens": 4}}),
    "controlnet": Use(always_on={"controlnet": [{"module": "canny", "model": "starter-canny", "image": NOISE}]}),
    "soft-inpainting": Use(body={"mask": png(left_half())}, always_on={"Soft Inpainting": [True]}),
    "upscale": Use(body={"override_settings": {"upscaler_for_img2img": NET}, "width": 72, "height": 72}),
    "nsfw-censor": Use(always_on={"NSFW censor": {}}),
    "loopback": Use(body={"script_name": "Loopback", "script_args": [2]}, pictures=3),
    "prompt-matrix": Use(" |red", body={"script_name": "Prompt matrix"}, pictures=3),
    "prompts-from-file": Use(
        body={"script_name": "Prompts from file or textbox", "script_args": [False, False, "start", "a dog\na fox"]},
        pictures=2,
    ),
    "sd-upscale": Use(body={"script_name": "SD upscale", "script_args": ["", 16, "None", 2]}, pictures=1),
    "outpainting": Use(body={"script_name": "Poor man's outpainting", "script_args": [8, 4]}, pictures=1),
    "xyz-plot": Use(
        body={"script_name": "X/Y/Z plot", "script_args": {"x_type": "Seed", "x_values": "1,2"}}, pictures=1
    ),
}
SCRIPTS = tuple(name for name, use in USES.items() if use.pictures)
OTHERS = tuple(name for name in USES if name not in SCRIPTS)
EVERYBODY = (*USES, "filebrowser")
PAIRS = list(combinations(sorted(EVERYBODY), 2))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with all of them and a fake engine; everything in this process."""
    torch.set_num_threads(1)
    data = tmp_path_factory.mktemp("data")
    (data / "models" / "hypernetworks").mkdir(parents=True)
    layer = {f"768.{side}.linear.0.weight": torch.zeros(768, 768) for side in "kv"}
    save_file(layer, data / "models" / "hypernetworks" / "ink.safetensors")
    (data / "wildcards").mkdir()
    (data / "wildcards" / "ink.txt").write_text("red\n")
    engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))
    settings = read_settings(["--data-dir", str(data), "--in-process", "--nowebui", "--filebrowser"], {})
    app = Easel(settings, build=lambda given: assemble(given, model_store(given), engine))
    with TestClient(create_api(app), raise_server_exceptions=False) as client:
        yield client


def have_on(client: TestClient, wanted: Collection[str]) -> None:
    """Switch on exactly these."""
    for row in client.get("/sdapi/v1/extensions").json():
        if row["enabled"] != (row["name"] in wanted):
            word = "enable" if row["name"] in wanted else "disable"
            answer = client.post(f"/easel/v1/extensions/{row['name']}/{word}")
            assert answer.json()["enabled"] == (row["name"] in wanted), answer.text


def body_of(names: Collection[str]) -> dict[str, Any]:
    """One request that uses all of these; at most one of them a script."""
    uses = [USES[name] for name in USES if name in names]
    body: dict[str, Any] = START | {"prompt": "a cat" + "".join(use.prompt for use in uses)}
    body["alwayson_scripts"] = {title: {"args": args} for use in uses for title, args in (use.always_on or {}).items()}
    for use in uses:
        body |= use.body or {}
    return body


def files(client: TestClient) -> int:
    return int(client.get("/filebrowser/api/list?path=").status_code)


def used(client: TestClient, names: Collection[str]) -> None:
    """A request that uses all of these works, and each of them did its part."""
    if "filebrowser" in names:
        assert files(client) == 200
    names = [name for name in names if name != "filebrowser"]
    if not names:
        return
    answer = client.post("/sdapi/v1/img2img", json=body_of(names))
    assert answer.status_code == 200, answer.text
    info = json.loads(answer.json()["info"])
    easel = info["easel"]
    assert easel["warnings"] == []
    assert [line for line in easel["report"] if line["outcome"] == "ignored"] == []
    applied = {line["extension"] for line in easel["report"] if line["outcome"] == "applied"}
    for name in names:
        if name == "nsfw-censor":
            assert all("nsfw" in scores for scores in easel["scores"])
        elif name in SCRIPTS:
            assert len(answer.json()["images"]) == USES[name].pictures  # ControlNet's maps stay with the parts
        elif name != "upscale":  # its name would be unknown
            assert name in applied, f"{name} in {info}"


def refused(client: TestClient, name: str) -> None:
    """What uses an extension that is off: nothing fails, nothing is done in silence."""
    if name == "filebrowser":
        assert files(client) == 404
        return
    answer = client.post("/sdapi/v1/img2img", json=body_of([name]))
    if name in ("lora", "hypernetworks"):
        (line,) = json.loads(answer.json()["info"])["easel"]["report"]
        assert (line["outcome"], line["reason"]) == ("ignored", "no extension that is switched on reads such tags")
    elif name == "wildcards":  # then it is text like any other
        assert json.loads(answer.json()["info"])["all_prompts"] == ["a cat __ink__"]
    else:
        assert answer.status_code == 422
        assert "not found" in answer.text or "unknown name" in answer.text


def requests_of(names: Collection[str]) -> Iterator[tuple[str, ...]]:
    """As few requests as use all of these: one, or one for each script."""
    plain = tuple(name for name in names if name not in SCRIPTS)
    scripts = [name for name in names if name in SCRIPTS]
    yield from ((*plain, script) for script in scripts)
    if not scripts:
        yield plain


def test_these_are_all() -> None:
    assert {one.name for one in find_extensions(OWN_ROOTS)} == set(EVERYBODY)


SAMPLE = ("lora", "nsfw-censor")


def sampled(names: Collection[Any], kept: Collection[Any]) -> list[Any]:
    """All of them; those that are not `kept` only in the long run."""
    return [name if name in kept else pytest.param(name, marks=pytest.mark.long) for name in names]


@pytest.mark.parametrize("name", sampled(EVERYBODY, SAMPLE))
def test_alone(name: str, client: TestClient) -> None:
    have_on(client, [name])
    used(client, [name])
    for other in EVERYBODY:
        if other != name:
            refused(client, other)


@pytest.mark.parametrize("name", sampled(EVERYBODY, SAMPLE))
def test_all_without_one(name: str, client: TestClient) -> None:
    others = [other for other in EVERYBODY if other != name]
    have_on(client, others)
    refused(client, name)
    for together in requests_of(others):
        used(client, together)


@pytest.mark.parametrize("pair", sampled(PAIRS, PAIRS[::21]), ids="+".join)
def test_two(pair: tuple[str, str], client: TestClient) -> None:
    have_on(client, pair)
    for together in requests_of(pair):
        used(client, together)
