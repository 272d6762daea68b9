from __future__ import annotations

from typing import Any

import pytest
from easel_extensions.prompts_from_file.lines import lines_of, read_line

from easel import BadRequest, UnknownName

Generate = Any
App = Any
TITLE = "Prompts from file or textbox"


def requests(app: App) -> list[Any]:
    found = [call.arguments["plan"].request for call in app.engine.called("denoise")]
    return sorted(found, key=lambda request: request.prompt)


def test_lines_are_read() -> None:
    assert lines_of(" a \n\n b") == ["a", "b"]
    assert read_line("a cat") == ({"prompt": "a cat"}, "")
    found, reason = read_line('--prompt "a big" dog --steps 3 --cfg_scale 2.5 --tiling true')
    assert (found, reason) == ({"prompt": "a big dog", "steps": 3, "cfg_scale": 2.5, "tiling": True}, "")
    for line in ("--nope 1", "--steps", "--steps many", "a --prompt b", '--prompt "'):
        assert read_line(line)[0] == {"prompt": line}
        assert read_line(line)[1]


def test_each_line_is_a_request(easel_app: App, easel_generate: Generate) -> None:
    text = 'a cat\n--prompt "a dog" --steps 3 --seed 7 --sampler_name "euler a" --width 128'
    result = easel_generate("outside", scripts={TITLE: [False, False, "end", text]})
    cat, dog = requests(easel_app)
    assert (cat.prompt, cat.steps, cat.seed) == ("outside a cat", 4, 1)
    assert (dog.prompt, dog.steps, dog.seed, dog.sampler, dog.width) == ("outside a dog", 3, 7, "Euler a", 128)
    assert len(result.images) == len(result.info["infotexts"]) == 2
    assert [image.prompt for image in result.images] == ["outside a cat", "outside a dog"]


@pytest.mark.parametrize(("how", "different"), [({"iterate_seed": True}, 3), ({"same_seed": True}, 1), ({}, 3)])
def test_seeds_of_lines(easel_app: App, easel_generate: Generate, how: dict[str, bool], different: int) -> None:
    easel_generate("", seed_drawn=True, scripts={TITLE: {**how, "text": "a\nb\nc"}})
    assert len({request.seed for request in requests(easel_app)}) == different


def test_a_line_that_cannot_be_read_is_a_prompt_and_is_told(easel_generate: Generate) -> None:
    result = easel_generate("", scripts={TITLE: {"text": "a\n--stpes 3"}})
    assert any("there is no option --stpes" in text for text in result.warnings)
    with pytest.raises(BadRequest, match="line 2"):
        easel_generate("", strict=True, scripts={TITLE: {"text": "a\n--stpes 3"}})


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", BadRequest, "there is no prompt"),
        ("a\n--sampler_name nope", UnknownName, "line 2"),
        ("--sd_model nope", UnknownName, "line 1"),
        ("--steps 100000", BadRequest, "line 1: steps"),
        ("--width 1000000", BadRequest, "line 1: width"),
        ("a\n" * 1001, BadRequest, "too many pictures"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    easel_app: App, easel_generate: Generate, text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        easel_generate("", scripts={TITLE: {"text": text}})
    assert easel_app.engine.called("denoise") == []
