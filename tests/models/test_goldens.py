"""Texts, denoiser, autoencoder and schedule against tensors recorded from A1111 1.10.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel.models.checkpoint import LoadedCheckpoint
from easel.models.embeddings import load_embeddings
from easel.models.store import ModelStore
from easel.models.text import TextOptions

EMPHASIS = {"Original": "Original", "Nonorm": "No norm", "Ignore": "Ignore", "None": "None"}


@pytest.fixture(scope="module")
def recorded(goldens: Path) -> Mapping[str, NDArray[np.float32]]:
    return np.load(goldens / "parts" / "conds.npz")


def test_texts_are_encoded_as_recorded(
    tiny: LoadedCheckpoint, tiny_store: ModelStore, recorded: Mapping[str, NDArray[np.float32]], goldens: Path
) -> None:
    prompts = json.loads((goldens / "parts" / "conds_prompts.json").read_text())
    embeddings, skipped = load_embeddings(tiny_store.files("embedding"), tiny.texts.widths)
    assert skipped == ()
    tiny.texts.use_embeddings(embeddings)
    names = [name for name in recorded if "_skip" in name]
    assert len(names) == 6 * len(prompts)
    for name in names:
        number, skip, emphasis = name.split("_")
        options = TextOptions(emphasis=EMPHASIS[emphasis], skip=int(skip.removeprefix("skip")))
        context = tiny.encode_texts([prompts[int(number)]], options).context
        assert context.shape == recorded[name].shape, name
        # the states of this random encoder reach 20, so 5e-5 is a few units in the last place
        np.testing.assert_allclose(context.numpy(), recorded[name], rtol=1e-5, atol=5e-5, err_msg=name)


def test_denoiser_answers_as_recorded(tiny: LoadedCheckpoint, recorded: Mapping[str, NDArray[np.float32]]) -> None:
    """The latent is 8x12: its sides cannot be halved three times, so skip connections of odd sizes are covered."""
    x, t, context = (torch.from_numpy(recorded[f"unet_in_{name}"]) for name in ("x", "t", "ctx"))
    np.testing.assert_allclose(tiny.predict(x, t, context).numpy(), recorded["unet_out"], atol=1e-5)


def test_autoencoder_answers_as_recorded(tiny: LoadedCheckpoint, recorded: Mapping[str, NDArray[np.float32]]) -> None:
    pixels = torch.from_numpy(recorded["vae_encode_in"])
    np.testing.assert_allclose(tiny.encode_pixels(pixels).numpy(), recorded["vae_encode_mode_scaled"], atol=1e-5)
    decoded = tiny.decode_latents(torch.from_numpy(recorded["unet_in_x"][:1]))
    np.testing.assert_allclose(decoded.numpy(), recorded["vae_decode_out"], atol=2e-5)


def test_schedule_is_the_recorded_one(tiny: LoadedCheckpoint, recorded: Mapping[str, NDArray[np.float32]]) -> None:
    np.testing.assert_array_equal(tiny.alphas_cumprod.numpy(), recorded["alphas_cumprod"])
