"""Explain tells what a run would do: the same trace up to the pictures, what would be loaded; nothing is written."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from .conftest import Serve, Service, png

EXTENSION = """
from dataclasses import replace

import numpy as np
from easel import Draft, Extension, LatentMask, Script, hookimpl
from pydantic import BaseModel


class Words(BaseModel):
    word: str = ""


class Seeds(BaseModel):
    count: int = 2


class Entry(Extension):
    @hookimpl
    def register_scripts(self):
        return [Script("Words", Words, always_on=True), Script("Seeds", Seeds)]

    @hookimpl
    def generate(self, job):
        asked = job.script_args(Seeds)
        if asked is None:
            return None
        drafts = job.run_all([replace(job.request, seed=job.request.seed + k) for k in range(asked.count)])
        return Draft(images=tuple(image for draft in drafts for image in draft.images), info=drafts[0].info)

    @hookimpl
    def rewrite_prompt(self, prompt, job):
        word = job.script_args(Words).word
        if word == "fail":
            raise ValueError("no such word")
        if word:
            texts = tuple(f"{text}, {word} {seed % 3}" for text, seed in zip(prompt.positive, prompt.seeds))
            return replace(prompt, positive=texts)

    @hookimpl
    def add_conditioning(self, conditioning, job):
        if job.request.steps % 2:
            mask = np.ones((conditioning.height // 8, conditioning.width // 8), np.float32)
            return replace(conditioning, mask=LatentMask(mask=mask), infotext=(("Probe", "on"),))

    @hookimpl
    def process_images(self, images, job):
        self.log.debug("%d", len(images))

    @hookimpl
    def review_images(self, images, job):
        return tuple(images)
"""
MANIFEST = 'name = "probe"\ntitle = "P"\nversion = "1"\nsummary = "s"\nentry = "Entry"\neasel = ">=1,<2"\n'


@pytest.fixture
def explaining(serve: Serve, tmp_path: Path) -> Service:
    """A service with two checkpoints, a LoRA, wildcards and an extension that takes part in everything."""
    folder = tmp_path / "data" / "extensions" / "probe"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(MANIFEST)
    (folder / "__init__.py").write_text(EXTENSION)
    lora = tmp_path / "data" / "models" / "Lora" / "ink.safetensors"
    lora.parent.mkdir(parents=True)
    save_file({}, lora)
    return serve(models=("tiny", "tiny2"))


def explained(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    answer = service.client.post("/easel/v1/explain", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def some_request(draw: random.Random) -> dict[str, Any]:
    """A request of any kind that the fake engine makes in milliseconds."""
    cat = draw.choice(["a cat", "a {red|blue} cat", "a cat <lora:ink:0.5>", "<lora:none:1> a <nothing:x> cat"])
    body: dict[str, Any] = {"prompt": cat, "seed": draw.randrange(1000), "steps": draw.randint(1, 4)}
    body |= {
        "width": draw.choice([64, 72]),
        "height": 64,
        "batch_size": draw.randint(1, 2),
        "n_iter": draw.randint(1, 2),
    }
    if draw.random() < 0.3:
        body |= {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5}
        body |= {"hr_upscaler": draw.choice(["Latent", "Lanczos"]), "hr_prompt": draw.choice(["", "a {big|huge} cat"])}
        body |= draw.choice([{}, {"hr_checkpoint_name": "tiny2"}])
    elif draw.random() < 0.4:
        body |= {"init_images": [png(draw.choice([64, 80]))], "resize_mode": draw.randint(0, 3)}
        body |= draw.choice([{}, {"mask": png(mode="L", color="white")}])
    body |= draw.choice([{}, {"refiner_checkpoint": "tiny2", "refiner_switch_at": 0.5}, {"cfg_scael": 1}])
    body |= draw.choice([{}, {}, {"script_name": "seeds", "script_args": [draw.randint(1, 3)]}])
    body["alwayson_scripts"] = draw.choice([{}, {"words": {"args": ["ink"]}}, {"Words": {"args": {"word": ""}}}])
    return body


def comparable(trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A trace without times and, where there were pictures, without what became of them."""
    pictures = ("process_images", "review_images")
    told = ("hook", "extension", "part")
    return [
        {name: line[name] for name in (told if line["hook"] in pictures else (*told, "outcome", "change"))}
        for line in trace
    ]


def compare(service: Service, count: int, first: int) -> None:
    for number in range(first, first + count):
        body = some_request(random.Random(number))
        told = explained(service, body)
        info = service.info("img2img" if "init_images" in body else "txt2img", body)
        job = service.client.get(f"/easel/v1/jobs/{info['easel']['job']}").json()
        assert comparable(told["trace"]) == comparable(job["trace"]), body
        assert told["report"] == [line for line in info["easel"]["report"] if line["item"] not in ("review_images",)], (
            body
        )
        assert told["seed"] == info["seed"]


def test_explain_is_the_trace_of_the_run(explaining: Service) -> None:
    compare(explaining, 20, 0)


@pytest.mark.long
def test_explain_is_the_trace_of_the_run_200_times(explaining: Service) -> None:
    compare(explaining, 200, 1000)


def test_what_is_told(explaining: Service) -> None:
    body = {"prompt": "a {cat|cat} <lora:ink:0.5>", "steps": 3, "width": 64, "height": 64, "cfg_scael": 2}
    told = explained(explaining, body)
    checkpoint, lora = told["loads"]
    assert (checkpoint["kind"], checkpoint["name"]) == ("checkpoint", "tiny.safetensors")
    assert checkpoint["bytes"] > 100_000
    assert (lora["kind"], lora["name"], lora["bytes"]) == ("lora", "ink", 16)
    (one,) = told["passes"]
    assert one == {"stage": "first", "width": 64, "height": 64, "pictures": 1, "steps": 3, "sampler": "Euler",
                   "scheduler": "Automatic", "times": 1}  # fmt: skip
    lines = {(line["hook"], line["extension"]): line for line in told["trace"]}
    assert lines["rewrite_prompt", "wildcards"]["change"].startswith(
        "positive: 'a {cat|cat} <lora:ink:0.5>' → 'a cat <lora:ink:0.5>'"
    )
    assert "adapters: nothing → Adapter(name 'ink', file ink.safetensors" in lines["rewrite_prompt", "lora"]["change"]
    assert lines["add_conditioning", "probe"]["outcome"] == "changed"
    assert lines["rewrite_prompt", "probe"]["outcome"] == "unchanged"
    assert {line["outcome"] for key, line in lines.items() if key[0].endswith("_images")} == {"would run"}
    assert told["warnings"] == ["cfg_scael: unknown field; did you mean cfg_scale?"]
    assert str(explaining.data) not in json.dumps(told)


def test_a_script_tells_what_it_would_ask_for(explaining: Service) -> None:
    told = explained(explaining, {"prompt": "a cat", "seed": 5, "script_name": "Seeds", "script_args": [3]})
    asked = [(line["part"], line["extension"], line["change"]) for line in told["trace"] if line["hook"] == "generate"]
    assert asked == [("1", "probe", ""), ("2", "probe", "seed: 5 → 6"), ("3", "probe", "seed: 5 → 7")]


def test_pictures_of_a_part_are_told_by_their_size(explaining: Service) -> None:
    body = {"init_images": [png()], "width": 64, "height": 64, "script_name": "Outpainting mk2"}
    told = explained(explaining, body | {"script_args": ["Outpainting", 64, 8, ["left"], 1, 0.05]})
    (asked,) = (line for line in told["trace"] if line["hook"] == "generate")
    assert asked["extension"] == "outpainting"
    assert "EncodedPicture(data" in asked["change"]
    assert "\\x" not in asked["change"]


def test_a_hook_that_fails_is_told(explaining: Service) -> None:
    told = explained(explaining, {"prompt": "a cat", "alwayson_scripts": {"words": {"args": [""]}}})
    assert [line for line in told["trace"] if line["outcome"] == "left out"] == []
    body = {"prompt": "a cat", "alwayson_scripts": {"words": {"args": ["fail"]}}}
    answer = explaining.client.post("/easel/v1/explain", json=body)
    assert answer.status_code == 500  # it was named by the request: a run fails too
    assert "extension 'probe' failed in rewrite_prompt: ValueError: no such word" in answer.json()["detail"]


def test_explaining_makes_and_writes_nothing(explaining: Service) -> None:
    def files() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in explaining.data.rglob("*") if path.is_file()}

    before = files()
    explained(explaining, {"prompt": "a cat", "save_images": True, "enable_hr": True, "hr_upscaler": "Lanczos"})
    assert files() == before
    assert {call.method for call in explaining.engine.calls} == {"facts"}


def test_what_a_run_refuses_is_refused(explaining: Service) -> None:
    def refused(body: dict[str, Any]) -> tuple[int, str]:
        answer = explaining.client.post("/easel/v1/explain", json=body)
        return answer.status_code, str(answer.json()["detail"])

    assert refused({"kind": "video"})[0] == 422
    assert "sampler_index" in refused({"sampler_index": "none of ours"})[1]
    unreadable = explaining.client.post("/easel/v1/explain", json={"steps": "many"}).json()
    assert unreadable == explaining.client.post("/sdapi/v1/txt2img", json={"steps": "many"}).json()
    assert "would be ignored" in refused({"prompt": "<lora:none:1>", "strict": True})[1]
    assert refused({"kind": "img2img"}) == (404, "Init image not found")
