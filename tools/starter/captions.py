"""Captions of the training pictures, and the small vocabulary that occurs in them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from latents import SMALL, WHOLE
from subjects import COLOURS
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
COLOUR_ONLY = tuple(f"{colour} background" for colour in COLOURS)
SMALL_WORDS = ("small", "tiny", "little")
GIANT_WORDS = ("giant", "huge", "big")
BETWEEN = (" and ", " and ", " next to ")
COLOUR_SAID, WHITE_SAID = 0.9, 0.3
"""Shares of the captions that name the background. Of those that do not, three of four are of white pictures, of all
30 %: so guidance makes a plain prompt white.
"""
START, END, UNKNOWN = 49406, 49407, -1
LENGTH = 77
WORDS = 16
"""Tokens for words; from there on the text encoder's padding tokens carry a map of the picture (pretrain_text.py)."""
MAP = 16
SHORT = WORDS + MAP


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from ``vocab.json`` and ``merges.txt`` in a folder."""
    return CLIPTokenizer.from_pretrained(folder)


def with_article(word: str, wanted: bool = True) -> str:
    """ "an owl", "a cat", or the bare word; for names and plurals the article does no harm to the model."""
    if not wanted:
        return word
    return ("an " if word[0].lower() in "aeio" else "a ") + word


@dataclass(frozen=True)
class Scene:
    """What a picture shows: one subject of a size, or two side by side (left, right), on a colour."""

    kind: str
    subjects: tuple[int, ...]
    colour: int


def caption(draw: random.Random, names: list[tuple[str, str]], scene: Scene) -> str:
    """A random caption of a scene; one in fourteen is empty, for guidance, and one in thirty names the colour only."""
    luck = draw.random()
    if luck < 0.07:
        return ""
    colour = list(COLOURS)[scene.colour]
    if luck < 0.1:
        return COLOUR_ONLY[scene.colour]
    words = [with_article(draw.choice(names[subject]), draw.random() < 0.6) for subject in scene.subjects]
    if len(words) == 2:
        text = draw.choice(BETWEEN).join(words)
    elif scene.kind != WHOLE:
        size = draw.choice(SMALL_WORDS if scene.kind == SMALL else GIANT_WORDS)
        text = ("a " if draw.random() < 0.6 else "") + f"{size} {draw.choice(names[scene.subjects[0]])}"
    else:
        name = draw.choice(names[scene.subjects[0]])
        text = draw.choice(OPENINGS).format(a=with_article(name, True).split()[0]) + name
    if draw.random() < (COLOUR_SAID if scene.colour else WHITE_SAID):
        phrase = draw.choice(COLOUR_PHRASES).format(colour)
        if draw.random() < 0.1:
            return f"{phrase.removeprefix(' on a ').removeprefix(' with a ').removeprefix(', ')}, {text}"
        text += phrase
    if draw.random() < 0.15:
        text += ", " + ", ".join(draw.sample(FILLERS, draw.choice((1, 1, 2))))
    return text


class Vocabulary:
    """The rows of CLIP's embedding table that captions use, numbered densely; row 0 stands for every other token.

    Training the 49,408-row table with Adam would cost more than the rest of the text encoder; ``rows`` (about 1,200)
    is enough. A few captions get row 0 put in at a random place, so that words the model never saw are learned to be
    harmless.
    """

    def __init__(self, tokenizer: CLIPTokenizer, names: list[tuple[str, str]]) -> None:
        self.tokenizer = tokenizer
        pieces = [*COLOURS, *FILLERS, *COLOUR_PHRASES, *OPENINGS, "a an, background", "the and with of in"]
        pieces += [*SMALL_WORDS, *GIANT_WORDS, *BETWEEN, *(name for pair in names for name in pair)]
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
