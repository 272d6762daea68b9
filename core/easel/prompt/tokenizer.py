"""CLIP's tokenizer: byte-pair encoding of lower-cased text with its whitespace collapsed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

START, END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_QUOTES = {**dict.fromkeys(map(ord, "ʼ‘’‚‛"), "'"), **dict.fromkeys(map(ord, "“”„‟"), '"')}


@dataclass(frozen=True)
class ClipTokenizer:
    """Turns text into token ids, without start and end; the files are read when the first text comes.

    `vocab` and `merges` are the files vocab.json and merges.txt of the model's tokenizer folder. Typographic quotes,
    ligatures and full-width characters (`，`) count as the plain ones, as in A1111, which runs ftfy on prompts; apart
    from these the ids are those of the transformers library's CLIPTokenizer.
    """

    vocab: Path
    merges: Path

    @classmethod
    def from_folder(cls, folder: Path) -> ClipTokenizer:
        """The tokenizer whose two files lie in `folder`."""
        return cls(folder / "vocab.json", folder / "merges.txt")

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        return list(self._tokenizer.encode(_plain(text), add_special_tokens=False).ids)

    @cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers  # late: the gateway needs none

        model = models.BPE.from_file(str(self.vocab), str(self.merges), end_of_word_suffix="</w>", unk_token=END)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        tokenizer.add_special_tokens([START, END])
        return tokenizer


def _plain(text: str) -> str:
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFKC", char) if "\uff01" <= char <= "\uffef" or "\ufb00" <= char <= "\ufb06" else char
        for char in text.translate(_QUOTES)
    )
