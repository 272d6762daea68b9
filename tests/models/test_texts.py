"""Batches of texts, embeddings of every file kind, and options that are out of range."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from easel.errors import BadRequest
from easel.models.checkpoint import LoadedCheckpoint
from easel.models.embeddings import load_embeddings
from easel.models.schedule import alphas_cumprod, zero_terminal_snr
from easel.models.store import ModelFile
from easel.models.text import TextOptions, emphasise, size_vector


def test_emphasis_restores_the_mean_of_the_whole_call() -> None:
    states = torch.rand(2, 77, 8) + 0.5
    multipliers = torch.ones(2, 77)
    multipliers[0, 5] = 3.0
    weighted = emphasise(states, multipliers, "Original")
    torch.testing.assert_close(weighted.mean(), states.mean())
    assert weighted[1].mean() < states[1].mean()  # the second text pays for the first
    torch.testing.assert_close(emphasise(states, multipliers, "No norm")[0, 5], states[0, 5] * 3)
    for mode in ("Ignore", "None"):
        assert emphasise(states, multipliers, mode) is states


def test_texts_of_one_call_get_the_same_number_of_chunks(tiny: LoadedCheckpoint) -> None:
    long = "word, " * 60
    both = tiny.encode_texts(["a cat", long]).context
    assert both.shape == (2, 154, 64)
    torch.testing.assert_close(both[1:], tiny.encode_texts([long]).context)
    torch.testing.assert_close(both[:1, :77], tiny.encode_texts(["a cat"]).context)
    torch.testing.assert_close(both[:1, 77:], tiny.encode_texts([""]).context)


@pytest.mark.parametrize("skip", [0, -1, 8, 1000])
def test_a_clip_skip_that_is_too_deep_is_refused(skip: int, tiny: LoadedCheckpoint) -> None:
    with pytest.raises(BadRequest, match=r"CLIP_stop_at_last_layers.*1 to 7"):
        tiny.encode_texts(["a"], TextOptions(skip=skip))


def embedding(folder: Path, name: str, tensors: dict[str, Tensor]) -> ModelFile:
    path = folder / f"{name}.safetensors"
    save_file(tensors, path)
    return ModelFile(kind="embedding", name=name, filename=path.name, path=path)


def test_embeddings_that_fit_are_loaded_and_others_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nonsense")
    files = [
        embedding(tmp_path, "a1111", {"emb_params": torch.randn(3, 64)}),
        embedding(tmp_path, "diffusers", {"<my-token>": torch.randn(64)}),
        embedding(tmp_path, "sd2", {"emb_params": torch.randn(2, 128)}),
        embedding(tmp_path, "sdxl", {"clip_l": torch.randn(2, 64), "clip_g": torch.randn(2, 128)}),
        ModelFile(kind="embedding", name="pickle", filename="pickle.pt", path=broken, refused_reason="pickled"),
        ModelFile(kind="embedding", name="broken", filename=broken.name, path=broken),
    ]
    loaded, skipped = load_embeddings(files, {"clip_l": 64})
    assert sorted(loaded) == ["a1111", "diffusers", "sdxl"]
    assert skipped == ("sd2", "pickle", "broken")
    assert loaded["diffusers"]["clip_l"].shape == (1, 64)
    loaded, skipped = load_embeddings(files, {"clip_l": 64, "clip_g": 128})
    assert sorted(loaded) == ["sdxl"]
    assert sorted(load_embeddings(files, {"clip_h": 128})[0]) == ["sd2"]


def test_an_embedding_takes_the_place_of_its_name(tiny: LoadedCheckpoint) -> None:
    """A textual inversion with the vectors of plain words gives what the words give."""
    words = tiny.texts.tokenizer.encode("red fox")
    vectors = tiny.texts.modules[0].token_vectors(torch.tensor([words]))[0]
    tiny.texts.use_embeddings({"my creature": {"clip_l": vectors}})
    found = tiny.encode_texts(["a my creature in (snow:1.2)"]).context
    tiny.texts.use_embeddings({})
    torch.testing.assert_close(found, tiny.encode_texts(["a red fox in (snow:1.2)"]).context)


def test_the_size_vector_is_cosines_then_sines() -> None:
    vector = size_vector(torch.tensor([[7.0, 8.0]]), [0.0, 1024.0])
    assert vector.shape == (1, 2 + 512)
    assert vector[0, :3].tolist() == [7.0, 8.0, 1.0]
    torch.testing.assert_close(vector[0, 2 : 2 + 256], torch.tensor([1.0] * 128 + [0.0] * 128))
    torch.testing.assert_close(vector[0, 2 + 256], torch.tensor(1024.0).cos())


def test_zero_terminal_snr_keeps_the_first_step_and_empties_the_last() -> None:
    plain, zero = alphas_cumprod(), zero_terminal_snr(alphas_cumprod())
    torch.testing.assert_close(zero[0], plain[0])
    assert 0 < zero[-1] < 1e-7
    assert (zero.diff() < 0).all()
