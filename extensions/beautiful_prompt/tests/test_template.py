"""What is asked, and what of an answer is kept."""

from __future__ import annotations

import pytest
from easel_extensions.beautiful_prompt.template import TEXT2PROMPT_V1, TEXT2PROMPT_V2, Expanded, Template

V1, V2 = Template(TEXT2PROMPT_V1), Template(TEXT2PROMPT_V2)


def test_the_words_stand_where_the_models_were_trained_with_them() -> None:
    assert V1.ask("a {cat} \\1").splitlines()[1:] == ["Input: a {cat} \\1", "Output:"]
    assert V2.ask("a cat").endswith("between the input and output.\n### Input: a cat\n### Output:")


@pytest.mark.parametrize(
    ("template", "answer", "prompt"),
    [
        (V1, " a cat on a sofa,  soft\nlight, ", "a cat on a sofa, soft light"),
        (V1, " a cat\nInstruction: Give a simple description of", "a cat"),
        (V1, " a cat\nInput: dog\nOutput: a dog", "a cat"),
        (V2, "cat, best quality\n### Input: more\n### Output: x", "cat, best quality"),
        (V2, "cat, Converts a simple image description into a prompt. Prompts", "cat"),
        (V2, "portrait of a kitten", "a cat, portrait of a kitten"),
        (V2, "", "a cat"),
        (V2, "### Output:", "a cat"),
        (Template("{prompt}"), ", oil painting", "a cat, oil painting"),
        (Template("Describe: {raw_prompt} ->"), " the cat sleeps", "the cat sleeps"),
    ],
)
def test_the_prompt_alone_is_kept(template: Template, answer: str, prompt: str) -> None:
    assert template.read("a cat", answer) == Expanded(prompt)


def test_a_negative_prompt_is_told_apart() -> None:
    assert V1.read("a cat", " a cat\nNegative prompt: blurry, dog ") == Expanded("a cat", "blurry, dog")


@pytest.mark.parametrize("text", ["", "no place", "{prompt} {prompt}"])
def test_a_template_has_one_place_for_the_words(text: str) -> None:
    with pytest.raises(ValueError, match="a template has"):
        Template(text)
