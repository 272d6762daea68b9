"""From a request through the whole service to the texts that are encoded and told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from easel import BadRequest

Generate = Any
App = Any
ANIMALS = ("badger", "cat", "dog", "fox", "goose", "heron", "ibis")


@pytest.fixture
def wildcards(easel_app: App) -> Path:
    """The folder with a text file, a list of lists, and what must not be read."""
    folder: Path = easel_app.settings.data_dir / "wildcards"
    (folder / "deep").mkdir(parents=True)
    (folder / "animal.txt").write_text("# animals\n" + "\n".join(ANIMALS) + "\n\n")
    (folder / "deep" / "looks.yaml").write_text("colour:\n  warm: [red, orange]\n  cold: [blue]\nsize: [large]\n")
    (folder / "broken.yaml").write_text("a: [b")
    (folder / "notes.md").write_text("not a wildcard")
    (easel_app.settings.data_dir / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to("../secret.txt")
    (folder / "linked").symlink_to(easel_app.settings.data_dir)
    return folder


def encoded(app: App, which: str = "positive", call: int = 0) -> tuple[str, ...]:
    texts: tuple[str, ...] = app.engine.called("encode_prompts")[call].arguments[which]
    return texts


def test_every_picture_has_its_own_draw_and_tells_it(easel_app: App, easel_generate: Generate, wildcards: Path) -> None:
    template = "a {big|small} __animal__"
    result = easel_generate(template, negative_prompt="{blurry|noisy}", batch_size=2, n_iter=4)
    told = [image.prompt for image in result.images]
    assert told == [text for call in range(4) for text in encoded(easel_app, call=call)]
    assert len(set(told)) > 3
    assert all(text.split()[2] in ANIMALS and text.split()[1] in ("big", "small") for text in told)
    assert [image.negative_prompt for image in result.images] == [
        text for call in range(4) for text in encoded(easel_app, "negative", call)
    ]
    for image in result.images:
        assert image.infotext.startswith(f"{image.prompt}\nNegative prompt: {image.negative_prompt}\nSteps: 4")
        assert f"Template: {template}, Negative Template: {{blurry|noisy}}" in image.infotext
    assert result.info["all_prompts"] == told
    assert result.info["prompt"] == told[0]
    assert result.warnings == ()


def test_the_same_seed_draws_the_same(easel_generate: Generate, wildcards: Path) -> None:
    batch = easel_generate("__animal__ {a|b|c|d|e}", batch_size=3, seed=10)
    for number, image in enumerate(batch.images):
        alone = easel_generate("__animal__ {a|b|c|d|e}", seed=10 + number)
        assert alone.images[0].prompt == image.prompt


def test_lists_in_yaml_have_the_names_of_their_keys(easel_generate: Generate, wildcards: Path) -> None:
    drawn = {easel_generate("__deep/colour/*__", seed=seed).images[0].prompt for seed in range(12)}
    assert drawn == {"red", "orange", "blue"}
    assert easel_generate("__size__").images[0].prompt == "large"  # a name alone is looked for below the folder too


def test_nothing_outside_the_folder_is_read(easel_app: App, easel_generate: Generate, wildcards: Path) -> None:
    template = "__link__ __linked/secret__ __../secret__ __/etc/passwd__ __notes__"
    result = easel_generate(template)
    assert encoded(easel_app) == (template,)
    assert len(result.warnings) == 5


def test_an_unknown_wildcard_is_a_warning_that_names_a_near_one(easel_generate: Generate, wildcards: Path) -> None:
    result = easel_generate("an __animl__ {x|x}")
    assert result.images[0].prompt == "an __animl__ x"
    assert result.warnings == ("__animl__: there is no wildcard 'animl'; did you mean 'animal'?",)
    assert ("__animl__", "ignored", "wildcards") in [(one.item, one.outcome, one.extension) for one in result.report]
    with pytest.raises(BadRequest, match="__animl__ would be ignored"):
        easel_generate("an __animl__", strict=True)


def test_a_file_that_changes_counts_at_once(easel_generate: Generate, wildcards: Path) -> None:
    assert easel_generate("__animal__").images[0].prompt in ANIMALS
    (wildcards / "animal.txt").write_text("unicorn")
    os.utime(wildcards / "animal.txt", (1, 1))
    assert easel_generate("__animal__").images[0].prompt == "unicorn"


def test_a_request_can_do_without(easel_app: App, easel_generate: Generate, wildcards: Path) -> None:
    result = easel_generate("{a|b} __animal__", scripts={"Dynamic Prompts": [False]})
    assert encoded(easel_app) == ("{a|b} __animal__",)
    assert "Template" not in result.images[0].infotext


def test_a_text_without_anything_to_draw_is_not_touched(easel_generate: Generate) -> None:
    result = easel_generate("a {masterpiece}, 50% # not a comment [a|b]")
    assert [line for line in result.report if line.extension == "wildcards"] == []
    assert result.images[0].prompt == "a {masterpiece}, 50% # not a comment [a|b]"


def test_the_hires_pass_has_the_same_draw_or_that_of_its_own_text(
    easel_app: App, easel_client: Any, wildcards: Path
) -> None:
    body = {"prompt": "__animal__", "seed": 3, "steps": 2, "width": 64, "height": 64, "enable_hr": True}
    easel_client.post("/sdapi/v1/txt2img", json=body)
    first, second = (encoded(easel_app, call=call) for call in (0, 1))
    assert first == second
    answer = easel_client.post("/sdapi/v1/txt2img", json={**body, "hr_prompt": "large __animal__"}).json()
    first, second = (encoded(easel_app, call=call) for call in (2, 3))
    assert second == (f"large {first[0]}",)
    assert f"Hires prompt: large {first[0]}" in answer["info"]


def test_an_endless_wildcard_is_refused(easel_client: Any, wildcards: Path) -> None:
    (wildcards / "loop.txt").write_text("__loop__ __loop__")
    answer = easel_client.post("/sdapi/v1/txt2img", json={"prompt": "__loop__", "steps": 1, "width": 64, "height": 64})
    assert answer.status_code == 422
    assert "refers to itself" in answer.json()["detail"]
