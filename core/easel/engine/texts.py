"""The texts of a pass, encoded: per picture the parts that AND joins, and the negative text, each on a schedule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from easel.prompt.schedule import Schedule, index_at

if TYPE_CHECKING:
    from easel.models.text import EncodedTexts


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as a denoiser reads it: `context` (1, L, D); `vector` (1, V) for SDXL."""

    context: Tensor
    vector: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ScheduledText:
    """A text with editing: the stages of its schedule and their encodings, all of one length."""

    schedule: Schedule
    stages: tuple[Encoded, ...]
    embeddings: tuple[str, ...] = ()  # textual inversions it names

    @property
    def length(self) -> int:
        """Tokens, start and end tokens counted."""
        return self.stages[0].context.shape[1]

    def at(self, call: int) -> Encoded:
        """What denoiser call `call` (0-based) sees."""
        return self.stages[0] if len(self.stages) == 1 else self.stages[index_at(self.schedule, call)]

    def changed(self, change: Callable[[Tensor], Tensor]) -> ScheduledText:
        """The same with every context changed."""
        return replace(self, stages=tuple(replace(one, context=change(one.context)) for one in self.stages))


@dataclass(frozen=True, slots=True)
class PictureTexts:
    """What steers one picture."""

    parts: tuple[tuple[float, ScheduledText], ...]
    negative: ScheduledText

    def parts_at(self, call: int) -> list[tuple[float, Encoded]]:
        """Weights and encodings of the parts at a denoiser call."""
        return [(weight, text.at(call)) for weight, text in self.parts]

    def negative_at(self, call: int) -> Encoded:
        """The negative text's encoding at a denoiser call."""
        return self.negative.at(call)


@dataclass(frozen=True, slots=True)
class TextBatch:
    """The texts of a pass, one entry per picture; `extra_infotext` names the textual inversions in them."""

    pictures: tuple[PictureTexts, ...]
    extra_infotext: tuple[tuple[str, str], ...] = ()

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The textual inversions that the texts name, each once."""
        texts = [text for one in self.pictures for text in (*(part for _, part in one.parts), one.negative)]
        return tuple(dict.fromkeys(name for text in texts for name in text.embeddings))


def level_parts(pictures: Sequence[PictureTexts]) -> list[PictureTexts]:
    """All positive texts of a batch as long as the longest: the last token's state is repeated, as A1111 does."""
    longest = max(text.length for picture in pictures for _, text in picture.parts)

    def stretch(text: ScheduledText) -> ScheduledText:
        return text if text.length == longest else text.changed(lambda context: _stretched(context, longest))

    return [
        replace(picture, parts=tuple((weight, stretch(text)) for weight, text in picture.parts)) for picture in pictures
    ]


def level_with_blank(picture: PictureTexts, blank: Tensor) -> PictureTexts:
    """Option `pad_cond_uncond`: the shorter of positive and negative gets encodings of the empty text after it."""
    positive, negative = picture.parts[0][1].length, picture.negative.length
    missing = abs(positive - negative) // blank.shape[1]

    def pad(context: Tensor) -> Tensor:
        return torch.cat((context, *[blank] * missing), dim=1)

    if positive > negative:
        return replace(picture, negative=picture.negative.changed(pad))
    if negative > positive:
        return replace(picture, parts=tuple((weight, text.changed(pad)) for weight, text in picture.parts))
    return picture


def level_negative(picture: PictureTexts) -> PictureTexts:
    """Option `pad_cond_uncond_v0`: the negative is stretched by its last token's state, or cut, to the positive."""
    length = picture.parts[0][1].length
    return replace(picture, negative=picture.negative.changed(lambda c: _stretched(c, length)[:, :length]))


def _stretched(context: Tensor, length: int) -> Tensor:
    missing = length - context.shape[1]
    return context if missing <= 0 else torch.cat((context, context[:, -1:].expand(-1, missing, -1)), dim=1)


class TextCache:
    """The encodings of the texts used last: up to `size` of them, and up to `room` bytes."""

    def __init__(self, size: int, room: int = 256 * 2**20) -> None:
        self._size, self._room = size, room
        self._entries: OrderedDict[object, EncodedTexts] = OrderedDict()
        self._taken = 0  # bytes

    def get(self, key: object, encode: Callable[[], EncodedTexts]) -> EncodedTexts:
        """The entry of that key; `encode` makes it if there is none."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        entry = self._entries[key] = encode()
        self._taken += _bytes(entry)
        while self._entries and (len(self._entries) > self._size or self._taken > self._room):
            self._taken -= _bytes(self._entries.popitem(last=False)[1])
        return entry


def _bytes(texts: EncodedTexts) -> int:
    return texts.context.nbytes + (0 if texts.pooled is None else texts.pooled.nbytes)
