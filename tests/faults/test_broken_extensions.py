"""A dozen broken extensions in one running service: each is set aside and named with its reason, the others serve."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent
from typing import Any

from .conftest import TINY, Running, running, tiny_folder

MANIFEST = {"title": "T", "version": "1.0", "summary": "s", "entry": "Entry", "easel": ">=1,<2"}
HEAD = """
import os, sys
from fastapi import APIRouter
from pydantic import BaseModel
from easel import Extension, Script, hookimpl

class Nothing(BaseModel):
    pass

def router_of(path):
    router = APIRouter()
    router.add_api_route(path, lambda: "here")
    return router
"""
GOOD = """
@hookimpl
def register_scripts(self): return Script("Good", Nothing, always_on=True)
@hookimpl
def register_routes(self, app): return router_of("/good")
@hookimpl
def process_images(self, images, job): job.warn("good was here")
"""
# name: (what stands before the class, its body, further keys of the manifest, the state, words of the reason)
AT_START: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "b-import": ("import not_there_at_all", "", {}, "failed", "No module named 'not_there_at_all'"),
    "b-manifest": ("", "", {"colour": "red"}, "failed", "unknown key 'colour'"),
    "b-hook": ("", "@hookimpl\ndef proces_images(self): ...", {}, "failed", "did you mean 'process_images'?"),
    "b-arguments": (
        "",
        "@hookimpl\ndef process_images(self, pictures): ...",
        {},
        "failed",
        "process_images has no argument 'pictures'; allowed: images, job",
    ),
    "b-script": (
        "",
        "@hookimpl\ndef register_scripts(self): return Script('Good', Nothing)",
        {},
        "failed",
        "'a-good'",
    ),
    "b-route": (
        "",
        "@hookimpl\ndef register_routes(self, app): return router_of('/good')",
        {},
        "failed",
        "GET /good belongs to 'a-good' already",
    ),
    "b-core-route": (
        "",
        "@hookimpl\ndef register_routes(self, app): return router_of('/sdapi/v1/samplers')",
        {},
        "failed",
        "GET /sdapi/v1/samplers belongs to 'the core' already",
    ),
    "b-missing": (
        "",
        "",
        {"requires": ["not-there-at-all"]},
        "unavailable",
        "needs not-there-at-all, which is not inst",
    ),
    "b-conflict": (
        "",
        "",
        {"requires": ["pluggy>=999"]},
        "unavailable",
        "(extension 'a-good' needs pluggy<999)",
    ),
    "b-exit": ("sys.exit(3)", "", {}, "failed", "SystemExit: 3"),
    "b-startup": ("", "@hookimpl\ndef startup(self, app): 1 / 0", {}, "failed", "startup: ZeroDivisionError"),
}
RAISES = "@hookimpl\ndef process_images(self, images):\n    raise ValueError('no paint')"
EXITS = "@hookimpl\ndef process_images(self, images):\n    sys.exit('had enough')"
DIES = "@hookimpl\ndef process_images(self, images, job):\n    if 'die' in job.request.prompt: os._exit(3)"


def write(root: Path, name: str, before: str = "", body: str = "", keys: dict[str, Any] | None = None) -> None:
    """A folder with an extension in it."""
    folder = root / name.replace("-", "_")
    folder.mkdir(parents=True)
    manifest = {"name": name} | MANIFEST | (keys or {})
    (folder / "extension.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in manifest.items()))
    code = f"{HEAD}\n{before}\nclass Entry(Extension):\n{indent(body or 'pass', '    ')}\n"
    (folder / "__init__.py").write_text(code)


def rows(one: Running) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in one.get("/sdapi/v1/extensions").json()}


def warned(one: Running) -> list[str]:
    """The warnings of a picture."""
    answer = one.post(TINY)
    assert answer.status_code == 200, answer.text
    told: list[str] = json.loads(answer.json()["info"])["easel"]["warnings"]
    return told


def test_each_is_set_aside_with_its_reason_and_the_service_serves(tmp_path: Path, tiny_data: Path) -> None:
    data = tiny_folder(tmp_path / "data", tiny_data)
    write(data / "extensions", "a-good", body=GOOD, keys={"requires": ["pluggy<999"]})
    for name, (before, body, keys, _, _) in AT_START.items():
        write(data / "extensions", name, before, body, keys)
    for name, body in (("c-raises", RAISES), ("c-exits", EXITS), ("c-dies", DIES)):
        write(data / "extensions", name, body=body)
    flags = ("--no-half", "--quarantine-failures", "2", "--quarantine-losses", "1", "--api-auth", "ann:secret")
    with running(data, *flags) as one:
        for name, (_, _, _, state, words) in AT_START.items():
            row = rows(one)[name]
            assert (row["state"], words in row["reason"]) == (state, True), row
            assert str(data) not in row["reason"]
        for _ in range(2):  # the hooks of two fail, are left out, and at the second time set aside
            assert [rows(one)[name]["state"] for name in ("c-raises", "c-exits")] == ["enabled"] * 2
            told = "\n".join(warned(one))
            assert "good was here" in told
            assert "'c-raises' failed in process_images: ValueError: no paint" in told
            assert "'c-exits' failed in process_images: SystemExit: had enough" in told
        lost = one.post(TINY | {"prompt": "die"})
        assert (lost.status_code, lost.json()["error"]) == (503, "WorkerLost")
        assert "it was inside the extension 'c-dies' (process_images)" in lost.json()["detail"]
        assert warned(one) == ["good was here"]
        after = rows(one)
        for name, words in {
            "c-raises": "its process_images failed 2 times in a row; the last time: ValueError: no paint",
            "c-exits": "its process_images failed 2 times in a row; the last time: SystemExit: had enough",
            "c-dies": "1 worker was lost within an hour in its process_images",
        }.items():
            assert (after[name]["state"], words in after[name]["reason"]) == ("quarantined", True), after[name]
        assert (after["a-good"]["state"], one.get("/good").json()) == ("enabled", "here")
        assert after["lora"]["state"] == after["controlnet"]["state"] == "enabled"
        assert all(after[name]["state"] == state for name, (_, _, _, state, _) in AT_START.items())
