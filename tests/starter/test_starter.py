"""The embedded models do what they are for, seen in the pictures of a whole service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ..conftest import service
from .looking import agreement, background, background_name, decoded, distances, encoded, painted, subject

STARTER = Path(str(files("easel"))) / "starter"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A fresh installation: nothing but what is embedded."""
    with service(tmp_path_factory.mktemp("fresh")) as client:
        yield client


def drawn(client: TestClient, prompt: str, **fields: Any) -> Image.Image:
    body = {"prompt": prompt, "seed": 5, "steps": 20, "cfg_scale": 2.5, "width": 512, "height": 512}
    body |= {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}
    answer = client.post("/sdapi/v1/txt2img", json=body | fields)
    assert answer.status_code == 200, answer.text
    return decoded(answer.json()["images"][0])


@pytest.fixture(scope="module")
def car(client: TestClient) -> Image.Image:
    """What the tests change."""
    return drawn(client, "a car on a blue background")


def test_the_words_are_in_the_picture(client: TestClient, car: Image.Image) -> None:
    assert (subject(car), background_name(car)) == ("car", "blue")
    owl = drawn(client, "an owl on a pink background")
    assert (subject(owl), background_name(owl)) == ("owl", "pink")


def test_a_negative_prompt_takes_the_white_away(client: TestClient) -> None:
    pictures = [
        drawn(client, "a tiger", cfg_scale=5, negative_prompt=negative) for negative in ("", "white background")
    ]
    assert [subject(one) for one in pictures] == ["tiger", "tiger"]
    plain, negated = (float(background(one).min()) for one in pictures)
    assert plain > 190 and negated < plain - 50  # of 255, in the channel that has least; processors differ


def test_all_are_listed_on_a_fresh_installation(client: TestClient) -> None:
    assert [one["name"] for one in client.get("/sdapi/v1/loras").json()] == ["flat"]
    assert [one["model_name"] for one in client.get("/sdapi/v1/sd-vae").json()] == ["starter_vivid.safetensors"]
    assert list(client.get("/sdapi/v1/embeddings").json()["loaded"]) == ["easel-lime"]


def test_the_lora_makes_the_style_flat(client: TestClient, car: Image.Image) -> None:
    flat = drawn(client, "a car on a blue background <lora:flat:1>")
    assert subject(flat) == "car"
    towards = [distances(one, row=1)["car"] / distances(one)["car"] for one in (flat, car)]
    assert towards[0] < 0.8 * towards[1]  # nearer to the flat picture of a car, and further from the solid one


def test_the_embedding_is_a_colour(client: TestClient) -> None:
    assert background_name(drawn(client, "a car on a easel-lime background")) == "lime"


def test_the_other_autoencoder_gives_stronger_colours(client: TestClient, car: Image.Image) -> None:
    vivid = drawn(client, "a car on a blue background", override_settings={"sd_vae": "starter_vivid.safetensors"})
    spreads = [np.ptp(np.asarray(one, np.float32), axis=-1).mean() for one in (vivid, car)]
    assert spreads[0] > 1.1 * spreads[1]


def test_edges_steer(client: TestClient) -> None:
    import cv2

    drawing = painted("car", 250, 40, 232)
    wanted = cv2.Canny(np.asarray(drawing), 100, 200)

    def steered(weight: float) -> float:
        unit = {"module": "canny", "model": "starter-canny", "image": encoded(drawing), "weight": weight}
        unit |= {"processor_res": 512, "threshold_a": 100, "threshold_b": 200}
        return agreement(drawn(client, "a car", alwayson_scripts={"controlnet": {"args": [unit]}}), wanted)

    whole, half = steered(1.0), steered(0.5)
    without = agreement(drawn(client, "a car"), wanted)
    assert whole > half > without
    assert whole > without + 0.25


@pytest.mark.parametrize("asked", ["a dragon", "two red shoes", "castle", "a cat with a hat"])
def test_the_expander_keeps_what_was_asked(asked: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = STARTER / "expander"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    card = json.loads((folder / "card.json").read_text())
    question = tokenizer(card["templates"]["v2"].format(raw_prompt=asked), return_tensors="pt")
    answers = []
    for _ in range(2):
        torch.manual_seed(3)
        made = model.generate(**question, **card["sampling"])[0, question["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(made, skip_special_tokens=True).strip())
    assert answers[0] == answers[1]
    assert answers[0].startswith(asked)
    assert "background" in answers[0]


def test_the_weights_are_those_that_were_recorded() -> None:
    recorded = json.loads((STARTER / "weights.sha256.json").read_text())
    found = {
        path.relative_to(STARTER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in STARTER.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "weights.sha256.json"
    }
    assert found == recorded
    assert sum((STARTER / name).stat().st_size for name in recorded) <= 100e6
