"""Prompts into what a denoiser is steered by: schedules, encodings (cached), and texts of equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from easel.engine.texts import (
    Encoded,
    PictureTexts,
    ScheduledText,
    TextBatch,
    TextCache,
    level_negative,
    level_parts,
    level_with_blank,
)
from easel.errors import BadRequest
from easel.models.families.family import PictureSize
from easel.models.text import EncodedTexts, TextOptions
from easel.prompt.schedule import Schedule, conditions, schedule

if TYPE_CHECKING:
    from easel.models.checkpoint import LoadedCheckpoint
    from easel.models.store import ModelFile
    from easel.values.options import Options
    from easel.values.prompt import Adapter

MAX_PARTS = 64  # that AND joins: each is a row of every forward pass
MAX_CHARACTERS = 2**18  # of all stages of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLength:
    """What the numbers in prompts count on: denoiser calls of this pass and, for a second pass, of the one before."""

    calls: int
    first_pass_calls: int | None = None

    @property
    def steps(self) -> tuple[int, int | None]:
        """As `prompt.schedule` takes them: the first pass's, and the second's if this is it."""
        return (self.calls, None) if self.first_pass_calls is None else (self.first_pass_calls, self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Encodes the texts of one pass with one checkpoint."""

    model: LoadedCheckpoint
    adapters: tuple[Adapter, ...]
    options: Options
    length: PassLength
    width: int
    height: int
    cache: TextCache
    inversions: tuple[ModelFile, ...] = ()  # that its texts may name

    def batch(self, positive: Sequence[str], negative: Sequence[str]) -> TextBatch:
        """One positive and one negative text per picture; PromptSyntaxError, BadRequest (CLIP skip)."""
        steps, old = self.length.steps, self.options.use_old_scheduling
        read = {text: conditions(text, *steps, old) for text in dict.fromkeys(positive)}
        if (most := max(map(len, read.values()))) > MAX_PARTS:
            raise BadRequest("too many parts", field="prompt", value=most, allowed=f"{MAX_PARTS}, joined by AND")
        parts = {text: tuple((one.weight, self._text(one.schedule)) for one in found) for text, found in read.items()}
        negatives = {text: self._text(schedule(text, *steps, old), negative=True) for text in dict.fromkeys(negative)}
        pictures = level_parts(
            [PictureTexts(parts[plus], negatives[minus]) for plus, minus in zip(positive, negative, strict=True)]
        )
        if self.options.pad_cond_uncond_v0:
            pictures = [level_negative(picture) for picture in pictures]
        elif self.options.pad_cond_uncond:
            blank = self._encode(("",), negative=False).context
            pictures = [level_with_blank(picture, blank) for picture in pictures]
        return TextBatch(tuple(pictures))

    def _text(self, stages: Schedule, *, negative: bool = False) -> ScheduledText:
        if (length := sum(len(stage.text) for stage in stages)) > MAX_CHARACTERS:
            value = f"{len(stages)} stages of {length} characters together"
            field = "negative_prompt" if negative else "prompt"
            raise BadRequest(
                "it changes too often for its length", field=field, value=value, allowed=f"{MAX_CHARACTERS}"
            )
        encoded = self._encode(tuple(stage.text for stage in stages), negative=negative)
        vectors = self.model.vector(encoded, self._size(negative=negative))
        contexts = encoded.context.chunk(len(stages))
        if vectors is None:
            return ScheduledText(stages, tuple(Encoded(context) for context in contexts), encoded.embeddings)
        pairs = zip(contexts, vectors.chunk(len(stages)), strict=True)
        return ScheduledText(stages, tuple(Encoded(context, vector) for context, vector in pairs), encoded.embeddings)

    def _encode(self, texts: tuple[str, ...], *, negative: bool) -> EncodedTexts:
        options = TextOptions(
            emphasis=self.options.emphasis,
            skip=int(self.options.CLIP_stop_at_last_layers),
            sdxl_skip=self.options.sdxl_clip_l_skip,
            comma_backtrack=int(self.options.comma_padding_backtrack),
        )
        changes = tuple((one.kind, one.file, one.text_weight, one.dyn_dim) for one in self.adapters if one.text_weight)
        key = (self.model.info, changes, self.inversions, texts, options, negative)
        return self.cache.get(key, lambda: self.model.encode_texts(texts, options, negative=negative))

    def _size(self, *, negative: bool) -> PictureSize:
        options = self.options
        low, high = options.sdxl_refiner_low_aesthetic_score, options.sdxl_refiner_high_aesthetic_score
        return PictureSize(
            width=self.width,
            height=self.height,
            crop_top=options.sdxl_crop_top,
            crop_left=options.sdxl_crop_left,
            aesthetic_score=low if negative else high,
        )
