"""Chunks of 75 tokens, and the tokenizer."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import easel
from easel.errors import PromptSyntaxError
from easel.prompt.chunks import CHUNK_LENGTH, Chunker, Embedding, EmbeddingIndex, SpecialTokens
from easel.prompt.tokenizer import ClipTokenizer

GOLDENS = Path(__file__).parents[1] / "goldens" / "parts"
FOLDER = Path(easel.__file__).parent / "starter" / "tokenizer"
START, END, COMMA = 49406, 49407, 267


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.from_folder(FOLDER)


@pytest.mark.parametrize(
    "case", golden("token_chunks"), ids=lambda case: f"{case['prompt'][:40]}-{case['comma_padding_backtrack']}"
)
def test_chunks_are_a1111s(case, tokenizer):
    index = EmbeddingIndex.of([Embedding("tinyemb", 2)], tokenizer)
    prompt = Chunker(tokenizer, index, comma_backtrack=case["comma_padding_backtrack"]).chunk(case["prompt"])
    assert prompt.token_count == case["token_count"]
    assert [list(chunk.tokens) for chunk in prompt.chunks] == [chunk["tokens"] for chunk in case["chunks"]]
    assert [list(chunk.multipliers) for chunk in prompt.chunks] == [chunk["multipliers"] for chunk in case["chunks"]]
    assert [[list(fix) for fix in chunk.fixes] for chunk in prompt.chunks] == [
        chunk["fixes"] for chunk in case["chunks"]
    ]


class Words:
    """A tokenizer for tests: a word is its number."""

    def encode(self, text: str) -> list[int]:
        return [COMMA if word == "," else int(word) for word in text.split()]


def contents(prompt) -> list[list[int]]:
    return [[token for token in chunk.tokens if token not in (START, END)] for chunk in prompt.chunks]


def test_the_longest_embedding_name_wins():
    index = EmbeddingIndex.of([Embedding("7", 1), Embedding("7 8", 2), Embedding("7 8 9", 3)], Words())
    [chunk] = Chunker(Words(), index).chunk("1 7 8 5 7 7 8 9").chunks
    assert chunk.fixes == ((1, "7 8"), (4, "7"), (5, "7 8 9"))
    assert chunk.tokens[1:9] == (1, 0, 0, 5, 0, 0, 0, 0)


def test_an_embedding_is_not_split():
    index = EmbeddingIndex.of([Embedding("7", 10)], Words())
    first, second = Chunker(Words(), index).chunk("1 " * 70 + "(7:1.5) 2").chunks
    assert first.fixes == ()
    assert second.fixes == ((0, "7"),)
    assert second.multipliers[:12] == (1.0, *[1.5] * 10, 1.0)


def test_an_embedding_larger_than_a_chunk_is_cut():
    index = EmbeddingIndex.of([Embedding("7", 100)], Words())
    [chunk] = Chunker(Words(), index).chunk("7").chunks
    assert len(chunk.tokens) == CHUNK_LENGTH + 2


def test_after_a_comma_near_the_end_words_move_on():
    text = "1 " * 60 + ", " + "2 " * 20
    assert [len(tokens) for tokens in contents(Chunker(Words()).chunk(text))] == [61, 20]
    assert [len(tokens) for tokens in contents(Chunker(Words(), comma_backtrack=14).chunk(text))] == [75, 6]


def test_an_embedding_that_moves_on_leaves_its_vectors_behind():
    """A1111 does so; the same prompt gives the same picture."""
    index = EmbeddingIndex.of([Embedding("7", 2)], Words())
    first, second = Chunker(Words(), index).chunk("1 " * 70 + ", 7 2 2 2 2").chunks
    assert first.fixes == ((71, "7"),)
    assert second.fixes == ()
    assert second.tokens[1:4] == (0, 0, 2)


def test_openclip_pads_with_nothing():
    chunker = Chunker(Words(), special=SpecialTokens(pad=0))
    [chunk] = chunker.chunk("5 6").chunks
    assert chunk.tokens == (START, 5, 6, END, *[0] * 73)
    assert chunker.empty_chunk().tokens == (START, END, *[0] * 75)


def test_a_batch_has_equally_many_chunks():
    chunker = Chunker(Words())
    long, short = chunker.chunk_all(["1 BREAK 2 BREAK 3", "4"])
    assert len(long.chunks) == len(short.chunks) == 3
    assert short.chunks[1:] == (chunker.empty_chunk(),) * 2
    assert (long.token_count, short.token_count) == (151, 1)
    assert chunker.chunk_all([]) == ()


def test_without_emphasis_brackets_are_text(tokenizer):
    [chunk] = Chunker(tokenizer).chunk("(a:1.2.3) BREAK", emphasis=False).chunks
    assert set(chunk.multipliers) == {1.0}
    with pytest.raises(PromptSyntaxError):
        Chunker(tokenizer).chunk("(a:1.2.3)")


def test_random_prompts_keep_their_tokens_in_order():
    draw = random.Random(2)
    for _ in range(100):
        words = [draw.choice([",", "1", "2", "3"]) for _ in range(draw.randint(0, 300))]
        prompt = Chunker(Words(), comma_backtrack=draw.randint(0, 74)).chunk(" ".join(words))
        assert [token for chunk in contents(prompt) for token in chunk] == Words().encode(" ".join(words))
        assert {len(chunk.tokens) for chunk in prompt.chunks} == {77}
        assert {len(chunk.multipliers) for chunk in prompt.chunks} == {77}


TEXTS = [
    "",
    " ",
    "a cat",
    "A CAPITAL Fox\t double \n space",
    "it's 1234 don't they'll x'''s",
    "日本語 émoji 😀 a's İstanbul ß Ω",
    "e\u0301 \u200b\xa0 \x00 ♥… --",
    "<|startoftext|> a <|endoftext|><|end",
    "<lora:x> (a:1.2) [b] \\( &amp; #1",
]


def test_tokens_are_those_of_transformers(tokenizer):
    transformers = pytest.importorskip("transformers")
    reference = transformers.CLIPTokenizer(str(FOLDER / "vocab.json"), str(FOLDER / "merges.txt"))
    draw = random.Random(3)
    texts = TEXTS + ["".join(draw.choice("".join(TEXTS)) for _ in range(30)) for _ in range(200)]
    for text in texts:
        assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"], text


def test_typographic_characters_are_plain_ones(tokenizer):
    assert tokenizer.encode("it’s “a”，ﬁne （x）！") == tokenizer.encode('it\'s "a",fine (x)!')


def test_files_are_read_when_needed(tmp_path):
    lazy = ClipTokenizer.from_folder(tmp_path)
    with pytest.raises(Exception, match="No such file"):
        lazy.encode("a")
