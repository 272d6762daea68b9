"""The proof finds what leaks, in routes it was never told of; and nothing in a service that keeps its users apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from easel.cli import main
from easel.testing.isolation.prove import prove

LEAKS = Path(__file__).parent / "leaks"
_OFF = ("beautiful-prompt", "controlnet", "upscale", "nsfw-censor", "xyz-plot", "sd-upscale")


def data_with(folder: Path, *extensions: Path) -> Path:
    """A data folder with these extensions, and without those whose many routes would take long."""
    for one in extensions:
        shutil.copytree(one, folder / "extensions" / one.name)
    (folder / ".easel").mkdir(parents=True)
    (folder / ".easel" / "extensions.json").write_text(json.dumps({"switched": dict.fromkeys(_OFF, False)}))
    return folder


@pytest.mark.timeout(600)  # twelve seconds of work, on a machine that does nothing else
def test_what_leaks_is_found(tmp_path: Path) -> None:
    (walked,) = prove(["--nowebui", "--no-filebrowser"], both=False, folder=data_with(tmp_path / "data", LEAKS))
    found = {crossing.route for crossing in walked.crossings}
    assert found == {
        "GET /leaks/history",
        "POST /leaks/stop/{job_id}",
        "GET /leaks/file",
        "GET /leaks/first",
        "POST /leaks/styles",
        "WEBSOCKET /leaks/live",
    }
    assert "GET /sdapi/v1/txt2img" not in walked.calls and walked.answered["POST /sdapi/v1/txt2img"] >= 5
    assert all(walked.calls.values()) and not walked.left  # every route was asked


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # gradio's listeners warn, in this process
@pytest.mark.timeout(1500)
def test_what_leaks_through_the_page_is_found(tmp_path: Path) -> None:
    (walked,) = prove(["--no-filebrowser"], both=False, folder=data_with(tmp_path / "data", LEAKS))
    shown = {crossing.what for crossing in walked.crossings if crossing.route == "PAGE /"}
    assert shown and all("prompt" in one for one in shown)  # what the tab tells, and nothing else


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # gradio's listeners warn, in this process
@pytest.mark.timeout(1500)
def test_nothing_crosses(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole service: page, file manager, all extensions; both users."""
    assert main(["prove-isolation", "--api-server-stop"]) == 0, capsys.readouterr().out
    told = capsys.readouterr().out
    assert "0 crossings" in told and "not walked: POST /sdapi/v1/server-kill" in told
