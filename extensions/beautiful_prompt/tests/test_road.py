"""Routes, tasks and the script, with a model that really runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from easel_extensions.beautiful_prompt.arguments import Arguments

from easel import BadRequest, GenerationRequest, Job, Prompt

App = Any
Client = Any
Generate = Any
V1, V2 = "pai-bloom-1b1-text2prompt-sd", "pai-bloom-1b1-text2prompt-sd-v2"
SHORT = {"max_new_tokens": 12}


def expand(client: Client, **body: Any) -> Any:
    return client.post("/beautiful_prompt/generate", json={"prompt": "a red cat", **SHORT, **body})


def test_candidates_are_about_the_words_and_the_same_for_a_seed(easel_client: Client, models: Path) -> None:
    first = expand(easel_client, model=V2, candidates=3, seed=7).json()
    assert first == expand(easel_client, model=V2, candidates=3, seed=7).json()
    assert first["model"] == V2
    prompts = [one["prompt"] for one in first["candidates"]]
    assert [one["seed"] for one in first["candidates"]] == [7, 8, 9]
    assert len(set(prompts)) == 3
    for prompt in prompts:
        assert {"red", "cat"} <= set(prompt.replace(",", " ").split())
        assert len(prompt) > len("a red cat")
        assert "Input" not in prompt and "Converts" not in prompt and "</s>" not in prompt
    other = expand(easel_client, model=V2, candidates=3, seed=8).json()
    assert [one["prompt"] for one in other["candidates"][:2]] == prompts[1:]
    drawn = [expand(easel_client, model=V2).json()["candidates"][0]["seed"] for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_each_model_is_asked_in_its_own_words(easel_client: Client, models: Path) -> None:
    answers = {name: expand(easel_client, model=name, seed=1).json() for name in (V1, V2, "mine")}
    assert len({answer["candidates"][0]["prompt"] for answer in answers.values()}) == 3  # the same weights
    assert answers["mine"]["candidates"][0]["prompt"].startswith("a red cat")  # its template is continued


def test_options_change_the_answer(easel_client: Client, models: Path) -> None:
    def answer(**options: Any) -> str:
        return str(expand(easel_client, **{"model": V1, "seed": 3, **options}).json()["candidates"][0]["prompt"])

    greedy = answer(temperature=0)
    assert greedy == answer(temperature=0, seed=4) == answer(top_k=1)
    assert len({greedy, answer(), answer(repetition_penalty=5.0), answer(top_p=0.1)}) >= 3
    assert len(answer(max_new_tokens=40)) > len(answer(max_new_tokens=4))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "nope"}, "model: this model cannot be used: there is none of this name"),
        ({"model": "../mine"}, "model: this model cannot be used: there is none of this name"),
        ({"prompt": ""}, "prompt"),
        ({"candidates": 9}, "candidates"),
        ({"temperature": -1}, "temperature"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_what_cannot_be_asked_is_refused(body: dict[str, Any], words: str, easel_client: Client, models: Path) -> None:
    refused = expand(easel_client, **body)
    assert refused.status_code == 422
    assert words in refused.text


def test_the_list_says_where_missing_weights_go(easel_client: Client, easel_app: App, bloom: Path) -> None:
    folder = easel_app.settings.models_path / "BeautifulPrompt"
    (folder / V1).mkdir(parents=True)
    (folder / V1 / "config.json").write_text("{}")
    (folder / V1 / "pytorch_model.bin").write_bytes(b"")
    (folder / "other").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / "other" / name).write_bytes((bloom / name).read_bytes())
    listed = {model["name"]: model for model in easel_client.get("/beautiful_prompt/models").json()}
    assert not any(listed[name]["available"] for name in (V1, V2, "other"))
    assert "pytorch_model.bin is a pickle" in listed[V1]["missing"]
    assert listed[V2]["missing"].endswith(f"to models/BeautifulPrompt/{V2}/")
    assert "models/BeautifulPrompt/other/template.txt is missing" in listed["other"]["missing"]
    refused = expand(easel_client, model=V2)
    assert refused.status_code == 422
    assert f"models/BeautifulPrompt/{V2}/" in refused.json()["detail"]
    assert str(easel_app.settings.data_dir) not in refused.text


def test_nothing_is_loaded_before_it_is_asked_for(easel_app: App, easel_generate: Generate, models: Path) -> None:
    easel_generate("a red cat <lora:x:1>")
    assert easel_app.engine._models.keys() == ()


def test_every_picture_has_its_own_expansion_and_keeps_its_tags(
    easel_app: App, easel_generate: Generate, models: Path
) -> None:
    script = {"BeautifulPrompt": {"enabled": True, "model": V2, **SHORT}}
    result = easel_generate("a red cat <lora:x:0.5>", scripts=script, batch_size=2, negative_prompt="blurry")
    prompts = [image.prompt for image in result.images]
    assert len(set(prompts)) == 2
    (encoded,) = easel_app.engine.called("encode_prompts")
    for prompt, text, image in zip(prompts, encoded.arguments["positive"], result.images, strict=True):
        assert prompt.endswith(" <lora:x:0.5>")
        assert text == prompt.removesuffix("<lora:x:0.5>")  # nobody took the tag: the core cut it
        assert {"red", "cat"} <= set(text.replace(",", " ").split())
        assert image.infotext.startswith(prompt)
        assert f'BeautifulPrompt: {V2}, Expanded from: "a red cat <lora:x:0.5>"' in image.infotext
    assert encoded.arguments["negative"] == ("blurry", "blurry")
    alone = easel_generate("a red cat <lora:x:0.5>", scripts=script, seed=2)
    assert alone.images[0].prompt == prompts[1]


def test_different_texts_of_a_batch_are_not_said_to_come_from_one(
    easel_app: App, easel_extension: Any, models: Path
) -> None:
    easel_extension.startup(easel_app)
    asked = Arguments(enabled=True, model="mine", max_new_tokens=4)
    job = Job(id="1", request=GenerationRequest(), scripts={Arguments: asked})
    prompt = Prompt(positive=("a red cat", "a blue cat"), negative=("", ""), seeds=(1, 2))
    changed = easel_extension.rewrite_prompt(prompt, job)
    assert changed.extra_infotext == (("BeautifulPrompt", "mine"),)
    assert [text[: len(words)] for text, words in zip(changed.positive, prompt.positive, strict=True)] == [
        *prompt.positive
    ]
    assert changed.written.positive == changed.positive


def test_asked_for_by_name_and_not_there_is_an_error(easel_app: App, easel_generate: Generate) -> None:
    with pytest.raises(BadRequest, match="models/BeautifulPrompt/"):
        easel_generate("a cat", scripts={"BeautifulPrompt": {"enabled": True, "model": V1}})
