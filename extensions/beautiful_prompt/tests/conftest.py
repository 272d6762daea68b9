"""A tiny BLOOM with random weights, in the format of the real ones: it writes nonsense, but the whole road is real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

TEXT = "a red blue cat dog ship sails on the sea at night by oil painting highly detailed , . soft light 4k"


@pytest.fixture(scope="session")
def bloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bloom")
    alphabet = ["Ġ", *map(chr, range(33, 127))]  # as byte-level tokenizers write bytes
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", *alphabet])}
    merges: list[tuple[str, str]] = []
    for word in TEXT.split():  # each is one token in the end
        for end in range(1, len(word) + 1):
            pair = (f"Ġ{word[: end - 1]}", word[end - 1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.setdefault("".join(pair), len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "tokenizer_class": "BloomTokenizerFast"}))
    torch.manual_seed(1)
    config = BloomConfig(
        vocab_size=len(vocabulary), hidden_size=32, n_layer=2, n_head=2, eos_token_id=0, bos_token_id=0, pad_token_id=0
    )
    model = BloomForCausalLM(config)
    with torch.no_grad():
        model.transformer.word_embeddings.weight *= 10  # it has opinions
    model.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def models(easel_app: Any, bloom: Path) -> Path:
    """`models/BeautifulPrompt/` with that model under the names of the real ones, and one with a template."""
    folder: Path = easel_app.settings.models_path / "BeautifulPrompt"
    for name in ("pai-bloom-1b1-text2prompt-sd", "pai-bloom-1b1-text2prompt-sd-v2", "mine"):
        shutil.copytree(bloom, folder / name)
    (folder / "mine" / "template.txt").write_text("{prompt}\n")
    return folder
