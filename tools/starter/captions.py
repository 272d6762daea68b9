"""Captions of the training pictures, and the small vocabulary that occurs in them."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

from subjects import COLOURS, subjects
from transformers import CLIPTokenizer

OPENINGS = (
    "",
    "",
    "{a} ",
    "{a} ",
    "{a} ",
    "a cute ",
    "a picture of {a} ",
    "3d emoji of {a} ",
    "emoji, ",
    "a 3d render of {a} ",
)
FILLERS = (
    "best quality",
    "masterpiece",
    "highly detailed",
    "high quality",
    "soft light",
    "sharp focus",
    "beautiful",
    "8k",
)
COLOUR_PHRASES = (
    " on a {} background",
    " on a {} background",
    " on a {} background",
    ", {} background",
    " with a {} background",
)
START, END, UNKNOWN = 49406, 49407, -1
LENGTH = 77


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from ``vocab.json`` and ``merges.txt`` in a folder."""
    return CLIPTokenizer.from_pretrained(folder)


def with_article(word: str) -> str:
    """ "an owl", "a cat"; as written for names and plurals the article does no harm to the model."""
    return ("an " if word[0].lower() in "aeio" else "a ") + word


def caption(draw: random.Random, subject: int, colour: int) -> str:
    """A random caption of subject number ``subject`` on colour number ``colour``; a tenth are empty, for guidance."""
    if draw.random() < 0.1:
        return ""
    label, word = subjects_once()[subject]
    name = word if draw.random() < 0.7 else label
    article = with_article(name).split()[0]
    text = draw.choice(OPENINGS).format(a=article) + name
    if colour or draw.random() < 0.35:
        phrase = draw.choice(COLOUR_PHRASES).format(list(COLOURS)[colour])
        if draw.random() < 0.1:
            return f"{phrase.removeprefix(' on a ').removeprefix(' with a ').removeprefix(', ')}, {text}"
        text += phrase
    if draw.random() < 0.15:
        text += ", " + ", ".join(draw.sample(FILLERS, draw.choice((1, 1, 2))))
    return text


@lru_cache(maxsize=1)
def subjects_once() -> list[tuple[str, str]]:
    """``subjects()``, parsed once."""
    return subjects()


class Vocabulary:
    """The rows of CLIP's embedding table that captions use, numbered densely; row 0 stands for every other token.

    Training the 49,408-row table with Adam would cost more than the rest of the text encoder; ``rows`` (about 230) is
    enough. A few captions get row 0 put in at a random place, so that words the model never saw are learned to be
    harmless.
    """

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer
        pieces = [*COLOURS, *FILLERS, *COLOUR_PHRASES, *OPENINGS, "a an, background", "the and with of in"]
        pieces += [name for pair in subjects() for name in pair]
        found = {token for piece in pieces for token in self.tokens(piece.replace("{a}", "a").replace("{}", ""))}
        self.rows = [UNKNOWN, START, END, *sorted(found)]
        self.number = {token: row for row, token in enumerate(self.rows)}

    def tokens(self, text: str) -> list[int]:
        """CLIP's token ids of a text without the start and end marks."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode(self, texts: list[str], length: int | None, draw: random.Random | None = None) -> list[list[int]]:
        """Row numbers [len(texts), length], padded with END as CLIP does; ``None`` = as long as the longest."""
        lines = []
        for text in texts:
            line = [self.number.get(token, 0) for token in self.tokens(text)]
            if draw and line and draw.random() < 0.1:
                line.insert(draw.randint(0, len(line)), 0)
            lines.append([self.number[START], *line[: LENGTH - 2], self.number[END]])
        width = length or max(map(len, lines))
        return [line + [self.number[END]] * (width - len(line)) for line in lines]
