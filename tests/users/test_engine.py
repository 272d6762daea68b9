"""The real engine with two users: things of one name are each user's own, whoever came before."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import easel
from easel.app import Easel
from easel.settings import read_settings
from easel.values.request import GenerationRequest, Output
from easel.worker.workplace import build_workplace

EXTRAS = Path(easel.__file__).parent / "starter" / "extras"


@pytest.mark.long
def test_the_same_name_is_each_users_own(tmp_path: Path) -> None:
    flags = ["--edition", "cluster", "--data-dir", str(tmp_path), "--in-process", "--nowebui", "--reproducible"]
    app = Easel(read_settings([*flags, "--use-cpu", "all"], {}), build=build_workplace)
    assert app.accounts is not None
    for name in ("ann", "bob"):
        app.accounts.add(name)
    ann, bob = (app.homes.settings_of(name).data_dir for name in ("ann", "bob"))
    shutil.copy(EXTRAS / "embeddings" / "easel-lime.safetensors", ann / "embeddings" / "word.safetensors")
    lime = load_file(EXTRAS / "embeddings" / "easel-lime.safetensors")
    save_file({name: np.flip(one, -1).copy() for name, one in lime.items()}, bob / "embeddings" / "word.safetensors")
    shutil.copy(EXTRAS / "models" / "Lora" / "flat.safetensors", ann / "models" / "Lora" / "mine.safetensors")
    app.start()
    try:

        def made(user: str, prompt: str) -> tuple[str, tuple[str, ...], str | None]:
            small = {"seed": 5, "steps": 2, "width": 64, "height": 64}
            request = GenerationRequest(
                kind="txt2img", prompt=prompt, checkpoint="starter", output=Output(save=True), **small
            )
            result = app.jobs.wait_blocking(app.jobs.submit(request, user=user))
            one = result.images[0]
            return base64.b64encode(one.data).decode(), result.warnings, one.path

        first, _, path = made("ann", "a word")
        other, _, _ = made("bob", "a word")
        again, _, _ = made("ann", "a word")
        assert first == again != other
        assert path is not None and (ann / path).is_file() and not (tmp_path / path).exists()
        with_lora, told, _ = made("ann", "a cat <lora:mine:1>")
        without, refused, _ = made("bob", "a cat <lora:mine:1>")
        assert with_lora != without and not told and "mine" in refused[0]
    finally:
        app.stop()
