"""Prompts as the text encoder takes them: chunks of 75 tokens, each token with a multiplier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from easel.prompt.syntax import BREAK, Weighted, parse_attention

CHUNK_LENGTH = 75
"""Tokens in a chunk, without start and end: CLIP reads 77."""


class Tokenizer(Protocol):
    """What turns text into token ids; `tokenizer.ClipTokenizer` is one."""

    def encode(self, text: str) -> Sequence[int]:
        """The ids of `text`, without start and end."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids that mean something to the chunker. SD1 pads with the end token; SD2 and OpenCLIP with 0."""

    start: int = 49406
    end: int = 49407
    pad: int = 49407
    comma: int = 267


class Embedding(NamedTuple):
    """A textual inversion: its name in prompts, and how many tokens its vectors take."""

    name: str
    vectors: int


class Fix(NamedTuple):
    """Here the vectors of an embedding replace those of the tokens; `offset` 0 is the first token after start."""

    offset: int
    embedding: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """77 token ids with their multipliers, start and end included, and the embeddings among them."""

    tokens: tuple[int, ...]
    multipliers: tuple[float, ...]
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkedPrompt:
    """A prompt in chunks, at least one. `token_count` is what A1111 shows: padding before a chunk's end counts."""

    chunks: tuple[Chunk, ...]
    token_count: int


@dataclass(frozen=True, slots=True)
class EmbeddingIndex:
    """Finds embeddings by the tokens of their names, the longest first."""

    by_first_token: Mapping[int, tuple[tuple[tuple[int, ...], Embedding], ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, embeddings: Iterable[Embedding], tokenizer: Tokenizer) -> EmbeddingIndex:
        """Index `embeddings`; of names that are the same to the tokenizer the first counts."""
        found: dict[int, list[tuple[tuple[int, ...], Embedding]]] = {}
        for embedding in embeddings:
            if ids := tuple(tokenizer.encode(embedding.name)):
                found.setdefault(ids[0], []).append((ids, embedding))
        return cls(
            {first: tuple(sorted(entries, key=lambda entry: -len(entry[0]))) for first, entries in found.items()}
        )

    def find(self, tokens: Sequence[int], position: int) -> tuple[Embedding, int] | None:
        """The embedding that is named at `position`, and how many tokens its name has."""
        for ids, embedding in self.by_first_token.get(tokens[position], ()):
            if tuple(tokens[position : position + len(ids)]) == ids:
                return embedding, len(ids)
        return None


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts prompts into chunks for one text encoder.

    With `comma_backtrack` n, when a chunk is full and its last comma is at most n tokens back, what follows that comma
    moves to the next chunk; 0 switches that off.
    """

    tokenizer: Tokenizer
    embeddings: EmbeddingIndex = field(default_factory=EmbeddingIndex)
    special: SpecialTokens = field(default_factory=SpecialTokens)
    comma_backtrack: int = 20

    def chunk(self, text: str, *, emphasis: bool = True) -> ChunkedPrompt:
        """Cut `text`. Without `emphasis` (A1111's mode None) brackets and BREAK are plain text.

        Raises PromptSyntaxError as `parse_attention` does.
        """
        writer = _Writer(self.special, self.comma_backtrack)
        for piece in parse_attention(text) if emphasis else (Weighted(text, 1.0),):
            if piece == BREAK:
                writer.end_chunk()
            else:
                self._write(writer, self.tokenizer.encode(piece.text), piece.weight)
        return writer.finish()

    def chunk_all(self, texts: Iterable[str], *, emphasis: bool = True) -> tuple[ChunkedPrompt, ...]:
        """Cut several prompts, and bring them to the same number of chunks with empty ones."""
        prompts = [self.chunk(text, emphasis=emphasis) for text in texts]
        return pad_chunks(prompts, self.empty_chunk())

    def empty_chunk(self) -> Chunk:
        """The chunk of the empty prompt."""
        return _Writer(self.special, 0).finish().chunks[0]

    def _write(self, writer: _Writer, tokens: Sequence[int], weight: float) -> None:
        position = 0
        while position < len(tokens):
            writer.make_room(tokens[position])
            if found := self.embeddings.find(tokens, position):
                embedding, length = found
                writer.add_embedding(embedding, weight)
                position += length
            else:
                writer.add(tokens[position], weight)
                position += 1


def pad_chunks(prompts: Sequence[ChunkedPrompt], empty: Chunk) -> tuple[ChunkedPrompt, ...]:
    """Give all `prompts` as many chunks as the longest has, by adding `empty` ones."""
    most = max((len(prompt.chunks) for prompt in prompts), default=0)
    return tuple(
        ChunkedPrompt(prompt.chunks + (empty,) * (most - len(prompt.chunks)), prompt.token_count) for prompt in prompts
    )


class _Writer:
    """Fills one chunk after the other."""

    def __init__(self, special: SpecialTokens, comma_backtrack: int) -> None:
        self.special, self.comma_backtrack = special, comma_backtrack
        self.chunks: list[Chunk] = []
        self.count = 0
        self.tokens: list[int] = []
        self.multipliers: list[float] = []
        self.fixes: list[Fix] = []
        self.comma: int | None = None

    def make_room(self, token: int) -> None:
        """End the chunk if `token` has no place in it any more."""
        full = len(self.tokens) == CHUNK_LENGTH
        if token == self.special.comma:
            self.comma = len(self.tokens)
        elif full and self.comma is not None and len(self.tokens) - self.comma <= self.comma_backtrack:
            self._carry_over(self.comma + 1)
        if len(self.tokens) == CHUNK_LENGTH:
            self.end_chunk()

    def add(self, token: int, weight: float) -> None:
        """Put a token into the chunk, which must have room."""
        self.tokens.append(token)
        self.multipliers.append(weight)

    def add_embedding(self, embedding: Embedding, weight: float) -> None:
        """Put all vectors of `embedding` into one chunk, where tokens 0 keep their places."""
        vectors = min(embedding.vectors, CHUNK_LENGTH)
        if len(self.tokens) + vectors > CHUNK_LENGTH:
            self.end_chunk()
        self.fixes.append(Fix(len(self.tokens), embedding.name))
        self.tokens += [0] * vectors
        self.multipliers += [weight] * vectors

    def end_chunk(self, *, last: bool = False) -> None:
        """Pad and store the chunk, and begin another."""
        self.count += len(self.tokens) if last else CHUNK_LENGTH
        missing = CHUNK_LENGTH - len(self.tokens)
        tokens = [self.special.start, *self.tokens, *[self.special.end] * (missing + 1)]
        after_end = tokens.index(self.special.end) + 1
        tokens[after_end:] = [self.special.pad] * (len(tokens) - after_end)
        multipliers = (1.0, *self.multipliers, *[1.0] * (missing + 1))
        self.chunks.append(Chunk(tuple(tokens), multipliers, tuple(self.fixes)))
        self.tokens, self.multipliers, self.fixes, self.comma = [], [], [], None

    def finish(self) -> ChunkedPrompt:
        """Store what is left, and give all chunks."""
        if self.tokens or not self.chunks:
            self.end_chunk(last=True)
        return ChunkedPrompt(tuple(self.chunks), self.count)

    def _carry_over(self, start: int) -> None:
        # The fixes stay behind, as in A1111: an embedding that is carried over loses its vectors to the old chunk's
        # padding. The same prompt gives the same picture, so this is kept.
        tokens, multipliers = self.tokens[start:], self.multipliers[start:]
        del self.tokens[start:], self.multipliers[start:]
        self.end_chunk()
        self.tokens, self.multipliers = tokens, multipliers
