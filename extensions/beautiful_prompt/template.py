"""What a model is asked, and what of its answer is the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass

PLACE = re.compile(r"\{(?:raw_)?prompt\}")  # where the words to expand go
MARK = 24  # characters of a line of the template by which it is known again
_WORD = re.compile(r"\w{3,}")
_NEGATIVE = re.compile(r"\bnegative prompt\s*:", re.IGNORECASE)

# The texts that the two models of alibaba-pai were trained with.
TEXT2PROMPT_V1 = (
    "Instruction: Give a simple description of the image to generate a drawing prompt.\nInput: {raw_prompt}\nOutput:"
)
TEXT2PROMPT_V2 = (
    "Converts a simple image description into a prompt. Prompts are formatted as multiple related tags separated by "
    "commas, plus you can use () to increase the weight, [] to decrease the weight, or use a number to specify the "
    "weight. You should add appropriate words to make the images described in the prompt more aesthetically pleasing, "
    "but make sure there is a correlation between the input and output.\n"
    "### Input: {raw_prompt}\n"
    "### Output:"
)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A prompt as a model wrote it, and a negative one where it wrote one."""

    prompt: str
    negative_prompt: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with `{prompt}` in it. One that ends there is continued: the answer goes on with the prompt itself."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a text without a place for the words. Errors: ValueError."""
        if len(PLACE.findall(self.text)) != 1:
            raise ValueError("a template has {prompt} in it, once")

    def ask(self, words: str) -> str:
        """The text for the model."""
        return PLACE.sub(lambda place: words, self.text.rstrip("\n"))

    def read(self, words: str, answer: str) -> Expanded:
        """The prompt in an answer: without instructions, and with the words that it is about."""
        for mark in self._marks():
            answer = answer.partition(mark)[0]
        text, *negatives = _NEGATIVE.split(answer)
        continued = not PLACE.split(self.text)[-1].strip()
        prompt = _tidy(f"{words}{text}" if continued else text)
        return Expanded(_about(words, prompt), _tidy(negatives[0]) if negatives else "")

    def _marks(self) -> list[str]:
        """What begins the lines of the template: a model that repeats it has said all it had to."""
        lines = (PLACE.split(line)[0].strip() for line in self.text.splitlines())
        return [line[:MARK] for line in lines if line]


def _tidy(text: str) -> str:
    return " ".join(text.replace("\ufffd", "").split()).strip(" ,;")  # half a character is none


def _about(words: str, prompt: str) -> str:
    """The prompt, with the words before it when one of them is missing from it."""
    said = set(_WORD.findall(prompt.casefold()))
    if prompt and said.issuperset(_WORD.findall(words.casefold())):
        return prompt
    return f"{words.strip(' ,')}, {prompt}" if prompt else words
