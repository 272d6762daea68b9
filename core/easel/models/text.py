"""From prompt texts to what the denoiser is conditioned on: chunks through the encoders, emphasis, pooled text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from easel.errors import BadRequest
from easel.models.clip import ClipText
from easel.models.families.family import TextPart
from easel.prompt.chunks import Chunk, Chunker, Embedding, EmbeddingIndex, SpecialTokens
from easel.prompt.tokenizer import ClipTokenizer

TokenVectors = Mapping[str, Tensor]  # a textual inversion: encoder key ("clip_l" …) → (vectors, width)
NUMBER_WIDTH = 256  # channels that each of SDXL's numbers takes in the vector


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How texts are read; the names in brackets are A1111's options."""

    emphasis: str = "Original"  # Original, No norm, Ignore, None
    skip: int = 1  # CLIP_stop_at_last_layers
    sdxl_skip: bool = False  # sdxl_clip_l_skip
    comma_backtrack: int = 20


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """`context`: (n, chunks x 77, width); `pooled`: (n, width of the SDXL vector's text part) or None.

    `embeddings`: the textual inversions that the texts name.
    """

    context: Tensor
    pooled: Tensor | None = None
    embeddings: tuple[str, ...] = ()


@dataclass(slots=True)
class TextEncoders:
    """The text encoders of one checkpoint, with the textual inversions that fit them."""

    modules: tuple[ClipText, ...]
    parts: tuple[TextPart, ...]
    tokenizer: ClipTokenizer
    zero_empty_negative: bool = False  # SDXL: an empty negative prompt is encoded as zeros
    embeddings: Mapping[str, TokenVectors] = field(default_factory=dict)
    _index: EmbeddingIndex = field(default_factory=EmbeddingIndex)

    @property
    def widths(self) -> dict[str, int]:
        """Encoder key → width of its token vectors."""
        pairs = zip(self.parts, self.modules, strict=True)
        return {part.embedding_key: module.config.width for part, module in pairs}

    def use_embeddings(self, embeddings: Mapping[str, TokenVectors]) -> None:
        """Let prompts name these textual inversions."""
        self.embeddings = dict(embeddings)
        counts = {name: max(len(part) for part in vectors.values()) for name, vectors in embeddings.items()}
        self._index = EmbeddingIndex.of((Embedding(name, count) for name, count in counts.items()), self.tokenizer)

    def chunker(self, part: TextPart, comma_backtrack: int = 20) -> Chunker:
        """What cuts texts for one of the encoders."""
        return Chunker(self.tokenizer, self._index, SpecialTokens(pad=part.pad), comma_backtrack)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], options: TextOptions, *, negative: bool = False) -> EncodedTexts:
        """Encode the texts of one call: all stages of one prompt's schedule.

        They belong together: A1111's emphasis restores the mean of the whole call, not of one text. Raises
        PromptSyntaxError, and BadRequest for a CLIP skip deeper than the encoder.
        """
        contexts, pooled = [], None
        named: dict[str, None] = {}
        for module, part in zip(self.modules, self.parts, strict=True):
            chunker = self.chunker(part, options.comma_backtrack)
            prompts = chunker.chunk_all(texts, emphasis=options.emphasis != "None")
            named |= {fix.embedding: None for one in prompts for chunk in one.chunks for fix in chunk.fixes}
            states = []
            for chunks in zip(*(prompt.chunks for prompt in prompts), strict=True):
                state, vector = self._encode_chunks(module, part, chunks, options)
                states.append(state)
                pooled = vector if pooled is None else pooled  # the first chunk's counts
            contexts.append(torch.cat(states, dim=1))
        context = torch.cat(contexts, dim=2)
        if negative and self.zero_empty_negative and not any(texts):
            return EncodedTexts(torch.zeros_like(context), None if pooled is None else torch.zeros_like(pooled))
        return EncodedTexts(context, pooled, tuple(named))

    def _encode_chunks(
        self, module: ClipText, part: TextPart, chunks: Sequence[Chunk], options: TextOptions
    ) -> tuple[Tensor, Tensor | None]:
        """One chunk of each text → (n, 77, width), and the pooled vectors where the encoder has them."""
        weight = module.final_layer_norm.weight
        tokens = torch.tensor([chunk.tokens for chunk in chunks], device=weight.device)
        vectors = module.token_vectors(tokens)
        for row, chunk in enumerate(chunks):
            for fix in chunk.fixes:
                own = self.embeddings[fix.embedding][part.embedding_key][: vectors.shape[1] - fix.offset - 1]
                vectors[row, fix.offset + 1 : fix.offset + 1 + len(own)] = own.to(vectors)
        states = module(vectors)
        chosen = states[_layer(part, len(states), options)]
        if part.normed:
            chosen = module.final_layer_norm(chosen)
        multipliers = torch.tensor([chunk.multipliers for chunk in chunks], device=weight.device)
        pooled = module.pooled(states[-1], tokens) if part.pooled else None
        return emphasise(chosen, multipliers, options.emphasis), pooled


def emphasise(states: Tensor, multipliers: Tensor, mode: str) -> Tensor:
    """Multiply (n, 77, width) states by the (n, 77) multipliers; "Original" then restores the mean over everything."""
    if mode not in ("Original", "No norm"):
        return states
    weighted = states * multipliers[:, :, None].to(states)
    if mode == "No norm":
        return weighted
    return weighted * (states.mean() / weighted.mean())


def size_vector(pooled: Tensor, numbers: Sequence[float]) -> Tensor:
    """SDXL's vector: (n, P) pooled text and each number as 256 cosines and sines → (n, P + 256·numbers)."""
    half = NUMBER_WIDTH // 2
    exponents = torch.arange(half, dtype=torch.float32, device=pooled.device) / half
    frequencies = torch.exp(-math.log(10000.0) * exponents)
    angles = torch.tensor(numbers, dtype=torch.float32, device=pooled.device)[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin()], dim=1).flatten()
    return torch.cat([pooled, waves.to(pooled).expand(len(pooled), -1)], dim=1)


def _layer(part: TextPart, states: int, options: TextOptions) -> int:
    if options.skip < 1 or options.skip > states:
        raise BadRequest(
            "no such layer", field="CLIP_stop_at_last_layers", value=options.skip, allowed=f"1 to {states}"
        )
    if part.skip == "sdxl" and options.sdxl_skip:
        return states - options.skip
    if part.skip == "yes" and options.skip > 1:
        return states - options.skip
    return part.layer
