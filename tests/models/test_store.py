"""What the store finds, how checkpoints are named, and what is refused with which words."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from easel.errors import RefusedFile, UnknownName
from easel.models.layout import MAX_HEADER, read_layout
from easel.models.store import STARTER, ModelStore
from easel.settings import read_settings
from easel.worker.workplace import model_store

TITLE = "tiny.safetensors [098a18ca9c]"
SHA256 = "098a18ca9ca5e198aaf864c71f6e644c661f3ca94f5c2a8b8c52dc468646974e"


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """A data folder of our own: `tiny` in a folder of models, links to save space."""
    (tmp_path / "models/Stable-diffusion/sub").mkdir(parents=True)
    source = tiny_data / "models/Stable-diffusion"
    for name in ("tiny.safetensors", "tiny.yaml"):
        (tmp_path / "models/Stable-diffusion" / name).symlink_to(source / name)
    (tmp_path / "models/Stable-diffusion/sub/tiny2.safetensors").symlink_to(source / "tiny2.safetensors")
    return tmp_path


def test_titles_are_a1111s(data: Path) -> None:
    store = ModelStore(data)
    assert [info.title for info in store.checkpoints()] == ["sub/tiny2.safetensors", "tiny.safetensors"]
    assert store.hash(store.checkpoint("tiny")).title == TITLE
    tiny2, tiny = store.checkpoints()
    assert (tiny.title, tiny.short_hash, tiny.sha256, tiny.family) == (TITLE, "098a18ca9c", SHA256, "SD1")
    assert (tiny2.model_name, tiny2.title, tiny2.config) == ("sub_tiny2", "sub/tiny2.safetensors", None)
    assert tiny.config == data / "models/Stable-diffusion/tiny.yaml"


@pytest.mark.parametrize(
    "name",
    [
        TITLE,
        "tiny.safetensors",
        "tiny",
        "098a18ca9c",
        SHA256,
        "tiny [098a18ca9c]",
        "TINY.SafeTensors",
        SHA256.upper(),
        "  tiny ",
    ],
)
def test_a_checkpoint_answers_to_all_its_names(name: str, data: Path) -> None:
    store = ModelStore(data)
    store.hash(store.checkpoint("tiny"))
    assert store.checkpoint(name).title == TITLE


@pytest.mark.parametrize("name", ["sub/tiny2.safetensors", "sub/tiny2", "tiny2", "sub_tiny2", "tiny2.safetensors"])
def test_a_checkpoint_in_a_folder_answers_with_and_without_it(name: str, data: Path) -> None:
    assert ModelStore(data).checkpoint(name).name == "sub/tiny2"


def test_the_old_hash_finds_a_checkpoint(data: Path) -> None:
    window = (data / "models/Stable-diffusion/tiny.safetensors").read_bytes()[2**20 : 2**20 + 2**16]
    assert ModelStore(data).checkpoint(hashlib.sha256(window).hexdigest()[:8]).name == "tiny"


def test_without_hashing_there_are_no_brackets(data: Path) -> None:
    store = ModelStore(data, hashing=False)
    assert store.hash(store.checkpoint("tiny")).title == "tiny.safetensors"
    assert store.checkpoint("tiny").short_hash == ""


def test_hashes_are_kept_and_computed_again_for_changed_files(data: Path) -> None:
    hashes = data / ".easel/hashes.json"
    store = ModelStore(data, hash_file=hashes)
    store.hash(store.checkpoint("tiny"))
    assert SHA256 in json.loads(hashes.read_text()).values()
    assert ModelStore(data, hash_file=hashes).checkpoint("tiny").title == TITLE
    other = ModelStore(data, hash_file=hashes)  # another process that was there before
    other.hash(other.checkpoint("tiny2"))
    assert len(json.loads(hashes.read_text())) == 2
    assert store.checkpoint("tiny2").short_hash == "0b652d614e"
    file = data / "models/Stable-diffusion/tiny.safetensors"
    file.unlink()
    shutil.copy(data / "models/Stable-diffusion/sub/tiny2.safetensors", file)
    store.refresh()
    assert store.checkpoint("tiny").sha256 is None
    assert store.hash(store.checkpoint("tiny")).short_hash == "0b652d614e"
    hashes.write_text("{ nonsense")
    assert ModelStore(data, hash_file=hashes).checkpoint("tiny").sha256 is None


def test_unknown_names_are_told_what_there_is(data: Path) -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'tiny\.safetensors'") as caught:
        ModelStore(data).checkpoint("tiny.safetensor")
    assert str(data) not in caught.value.message
    assert caught.value.status == 422


def test_the_starter_stands_in_while_there_is_no_usable_checkpoint(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "empty"
    store = ModelStore(folder)
    assert [info.title for info in store.checkpoints()] == ["starter"]
    assert store.default_checkpoint().family == "starter"
    assert store.starter().path.joinpath("card.json").is_file()
    store.make_tree()
    (folder / "models/Stable-diffusion/old.ckpt").write_bytes(b"PK\x03\x04")
    store.refresh()
    assert [info.title for info in store.checkpoints()] == ["old.ckpt", "starter"]
    assert store.default_checkpoint().title == "starter"
    assert [info.title for info in ModelStore(data).checkpoints() if info.title == "starter"] == []
    assert ModelStore(data).checkpoint("starter").family == "starter"


def test_a_pickle_is_listed_as_refused_with_advice(data: Path) -> None:
    for name in ("a.ckpt", "b.pt", "c.bin"):
        (data / "models/Stable-diffusion" / name).write_bytes(b"\x80\x02")
    store = ModelStore(data)
    refused = [info for info in store.checkpoints() if info.refused_reason]
    assert [info.filename for info in refused] == ["a.ckpt", "b.pt", "c.bin"]
    with pytest.raises(RefusedFile, match=r"easel convert a\.ckpt"):
        store.checkpoint("a")


def test_extra_roots_and_folders_of_diffusers_are_found(data: Path, tmp_path: Path) -> None:
    extra = tmp_path / "elsewhere"
    extra.mkdir()
    (extra / "my folder").symlink_to(STARTER)
    (extra / "loop").symlink_to(extra)
    (extra / "nowhere.safetensors").symlink_to(extra / "gone.safetensors")
    store = ModelStore(data, extra={"checkpoint": [extra]})
    info = store.checkpoint("my folder")
    assert (info.title, info.family, info.refused_reason) == ("my folder", "starter", None)
    assert len(store.checkpoints()) == 3


def test_vaes_are_chosen_as_a1111_does(data: Path, tiny_data: Path) -> None:
    other = tiny_data / "models/VAE/othervae.safetensors"
    folder = data / "models/VAE"
    folder.mkdir()
    (folder / "othervae.safetensors").symlink_to(other)
    store = ModelStore(data)
    tiny = store.checkpoint("tiny")
    assert store.vae("Automatic", tiny) is None
    assert store.vae("None", tiny) is None
    for name in ("othervae.safetensors", "othervae", "OtherVAE"):
        found = store.vae(name, tiny)
        assert found is not None
        assert found.filename == "othervae.safetensors"
    with pytest.raises(UnknownName, match="sd_vae"):
        store.vae("nonsense", tiny)
    (folder / "tiny.vae.safetensors").symlink_to(other)
    store.refresh()
    found = store.vae("Automatic", tiny)
    assert found is not None
    assert found.path == folder / "tiny.vae.safetensors"
    beside = data / "models/Stable-diffusion/tiny.vae.safetensors"
    beside.symlink_to(other)
    store.refresh()
    found = store.vae("Automatic", tiny)
    assert found is not None
    assert found.path == beside
    assert "tiny.vae" not in [info.name for info in store.checkpoints()]


def test_loras_answer_to_their_alias(tiny_store: ModelStore) -> None:
    (lora,) = tiny_store.files("lora")
    assert (lora.name, lora.alias, lora.refused_reason) == ("tinylora", "tiny_lora_alias", None)
    assert tiny_store.find("lora", "Tiny_Lora_Alias") == lora
    assert [file.name for file in tiny_store.files("controlnet")] == [
        "control_v11f1p_sd15_depth",
        "control_v11p_sd15_canny",
        "starter-canny",
    ]
    with pytest.raises(UnknownName, match="lora"):
        tiny_store.find("lora", "nonsense")


def _header(entries: object, body: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "not a safetensors file"),
    "web page": (lambda good: b"<!DOCTYPE html><html>", "web page"),
    "zip": (lambda good: b"PK\x03\x04" + bytes(100), "pickle"),
    "cut in the header": (lambda good: good[:1000], "cut off"),
    "cut in the tensors": (lambda good: good[:-100], "cut off"),
    "endless header": (
        lambda good: (MAX_HEADER + 1).to_bytes(8, "little") + bytes(MAX_HEADER + 10),
        "not a safetensors",
    ),
    "no JSON": (lambda good: (8).to_bytes(8, "little") + b"nonsense", "not JSON"),
    "deep JSON": (lambda good: (20000).to_bytes(8, "little") + b"[" * 20000, "not JSON"),
    "list": (lambda good: _header([]), "not a JSON object"),
    "no offsets": (lambda good: _header({"a": {"dtype": "F32", "shape": [1]}}), "damaged"),
    "wrong size": (
        lambda good: _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        "size",
    ),
    "wrong type": (
        lambda good: _header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
        "type",
    ),
    "negative": (lambda good: _header({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [1, 0]}}, bytes(8)), "size"),
    "foreign": (lambda good: _header({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}, bytes(8)), "family"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_refused_by_name(damage: str, tiny_data: Path, tmp_path: Path) -> None:
    spoil, words = DAMAGED[damage]
    good = (tiny_data / "models/Stable-diffusion/tiny.safetensors").read_bytes()
    path = tmp_path / "models/Stable-diffusion/bad.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(spoil(good))
    store = ModelStore(tmp_path)
    with pytest.raises(RefusedFile, match=words) as caught:
        store.checkpoint("bad")
    assert caught.value.message.startswith("bad.safetensors")
    assert str(tmp_path) not in caught.value.message


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet/config.json").write_text("{}")
    (tmp_path / "unet/diffusion_pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(RefusedFile, match="easel convert"):
        read_layout(tmp_path)


def test_looking_at_models_needs_no_torch(tiny_data: Path) -> None:
    """The gateway lists models; it must not wait for torch."""
    code = (
        "import sys; from pathlib import Path; from easel.models.store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1])); assert store.hash(store.checkpoint('tiny')).family == 'SD1'\n"
        "assert not {'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code, tiny_data], env=env, check=True)


@pytest.mark.parametrize("network", ["esrgan", "realesrgan", "bsrgan", "dat", "scunet", "swinir"])
def test_a1111s_folder_flags_for_upscalers(network: str, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine.safetensors").touch()
    words = ["--data-dir", str(tmp_path / "data"), f"--{network}-models-path", str(folder)]
    assert [file.name for file in model_store(read_settings(words, {})).files("upscaler")] == ["mine"]
