"""Pickles become safetensors when they hold only tensors; everything else is refused without being run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from easel.errors import RefusedFile
from easel.models.convert import convert


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_checkpoint_is_rewritten(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    state = OrderedDict({"a": shared, "b": shared.T, "c": torch.ones(2, dtype=torch.float16)})
    torch.save({"state_dict": state, "epoch": 3, "notes": ["x"]}, tmp_path / "old.ckpt")
    assert convert(tmp_path / "old.ckpt", tmp_path / "new.safetensors") == 3
    written = load_file(tmp_path / "new.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "old.ckpt"]


def test_an_a1111_embedding_is_rewritten(tmp_path: Path) -> None:
    vectors = torch.randn(2, 64)
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "e"}, tmp_path / "e.pt")
    convert(tmp_path / "e.pt", tmp_path / "e.safetensors")
    assert torch.equal(load_file(tmp_path / "e.safetensors")["emb_params"], vectors)


@pytest.mark.parametrize("word", ["params", "params_ema", "state_dict"])
def test_an_upscalers_network_is_unwrapped(word: str, tmp_path: Path) -> None:
    state = {"body.0.weight": torch.randn(3, 3)}
    torch.save({"params": {"body.0.weight": torch.zeros(1)}, word: state}, tmp_path / "x4.pth")
    convert(tmp_path / "x4.pth", tmp_path / "x4.safetensors")
    written = load_file(tmp_path / "x4.safetensors")
    assert list(written) == list(state)
    assert torch.equal(written["body.0.weight"], state["body.0.weight"])


def test_a_pickle_that_holds_itself_has_no_tensors(tmp_path: Path) -> None:
    loaded: dict[str, object] = {}
    loaded["state_dict"] = loaded
    torch.save(loaded, tmp_path / "ring.pt")
    with pytest.raises(RefusedFile, match="no tensors"):
        convert(tmp_path / "ring.pt", tmp_path / "ring.safetensors")


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_and_never_run(legacy: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.ckpt", tmp_path / "trace"
    torch.save({"a": torch.ones(1), "b": Evil(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RefusedFile, match=r"evil\.ckpt: refused, it holds more than tensors.*system") as caught:
        convert(path, tmp_path / "out.safetensors")
    assert not trace.exists()
    assert not (tmp_path / "out.safetensors").exists()
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut", b"\x80\x02."])
def test_unreadable_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(RefusedFile, match=r"bad\.pt"):
        convert(tmp_path / "bad.pt", tmp_path / "out.safetensors")


def test_names_are_checked_and_nothing_is_overwritten(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    (tmp_path / "there.safetensors").write_text("mine")
    for source, target in (("a.pt", "there.safetensors"), ("a.pt", "b.zip"), ("there.safetensors", "c.safetensors")):
        with pytest.raises(RefusedFile):
            convert(tmp_path / source, tmp_path / target)
    assert (tmp_path / "there.safetensors").read_text() == "mine"
    torch.save({"a": 1}, tmp_path / "none.pt")
    with pytest.raises(RefusedFile, match="no tensors"):
        convert(tmp_path / "none.pt", tmp_path / "d.safetensors")


def test_the_command(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "easel.models.convert", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    done = run("a.pt", "a.safetensors")
    assert (done.returncode, done.stdout) == (0, "a.safetensors: 1 tensors\n"), done.stderr
    refused = run("a.pt", "a.safetensors")
    assert refused.returncode == 1
    assert "choose a new name" in refused.stderr
    assert "Traceback" not in refused.stderr
