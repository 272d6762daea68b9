"""Endless random training scenes and their latents: which subjects, sizes and colours come how often."""

from __future__ import annotations

import random

import torch
from captions import Scene
from latents import GIANT, SMALL, WHOLE, Latents
from subjects import core, subjects

FIRST, LISTED = 0.1, 0.1
"""Shares of the first-learned subjects and of the listed ones; the rest goes to all alike."""
PAIRS, SMALLS, GIANTS = 0.14, 0.08, 0.05


class Scenes:
    """Draws scenes from the pieces that were encoded; seeded by the ``random.Random`` it is given."""

    def __init__(self, data: Latents, draw: random.Random, first: float = FIRST, listed: float = LISTED) -> None:
        self.data, self.draw, self.shares = data, draw, (first, first + listed)
        self.colours: dict[tuple[str, int], list[int]] = {}
        for kind, subject, colour in data.pieces:
            self.colours.setdefault((kind, subject), []).append(colour)
        self.all = sorted({subject for _, subject in self.colours})
        self.first = sorted(core())
        self.listed = list(range(len(subjects())))

    def subject(self) -> int:
        """A subject number."""
        luck = self.draw.random()
        if luck < self.shares[0]:
            return self.draw.choice(self.first)
        return self.draw.choice(self.listed if luck < self.shares[1] else self.all)

    def next(self) -> tuple[Scene, torch.Tensor]:
        """A scene and its latents [16, 16, 16]."""
        luck, subject = self.draw.random(), self.subject()
        if luck < PAIRS:
            return self.pair(subject)
        kind = SMALL if luck < PAIRS + SMALLS else GIANT if luck < PAIRS + SMALLS + GIANTS else WHOLE
        colours = self.colours[kind, subject]
        colour = 0 if 0 in colours and self.draw.random() < 0.25 else self.draw.choice(colours)
        place = 4 if kind == SMALL else 0
        return Scene(kind, (subject,), colour), self.data.compose(colour, ((kind, subject, colour), place, place))

    def pair(self, left: int) -> tuple[Scene, torch.Tensor]:
        """Two subjects of half the size side by side, on a colour in which both were encoded."""
        while True:
            right = self.subject()
            both = sorted(set(self.colours[SMALL, left]) & set(self.colours[SMALL, right]))
            if right != left:
                break
        colour = self.draw.choice(both)  # white is in every list
        placed = (((SMALL, left, colour), 4, 0), ((SMALL, right, colour), 4, 8))
        return Scene("pair", (left, right), colour), self.data.compose(colour, *placed)
