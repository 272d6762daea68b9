"""The wheel: it carries the first-party extensions, and a service installed from it has them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from easel.extensions.finder import CHECKOUT, OWN_ROOTS, find_extensions

SOURCES = ("core", "extensions", "filebrowser", "pyproject.toml", "setup.py", "MANIFEST.in")
PAPERS = ("README.md", "LICENSE", "NOTICE")
BUILD = """
import sys, tarfile
from setuptools import build_meta

if sys.argv[1] == "from-sdist":  # what `python -m build` does: an archive, and the wheel from what it holds
    with tarfile.open(f"../{build_meta.build_sdist('..')}") as archive:
        archive.extractall("../unpacked")  # Python 3.11.2 knows no filters
else:
    print(build_meta.build_wheel(".."))
"""
FIND = """
from pathlib import Path
from easel.extensions.finder import find_extensions, standard_roots
for one in find_extensions(standard_roots(Path("data"))):
    print(one.name, one.own, one.folder)
"""
SERVE = """
import base64, io, json, sys, urllib.request
from pathlib import Path
from PIL import Image
import easel
from easel.bench.service import Server

with Server(Path(sys.argv[1])) as server:
    server.wait_until_it_answers(120)
    body = {"prompt": "a cute cat <lora:flat:1>", "seed": 1, "steps": 2, "width": 64, "height": 64}
    body["alwayson_scripts"] = {"controlnet": {"args": []}}
    answer = server.txt2img(body)
    rows = json.load(urllib.request.urlopen(server.url("/sdapi/v1/extensions")))
print(json.dumps({
    "easel": easel.__file__,
    "size": Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).size,
    "report": json.loads(answer["info"])["easel"]["report"],
    "states": {row["name"]: row["state"] for row in rows},
}))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from; building leaves things behind."""
    folder = tmp_path_factory.mktemp("wheel") / "source"
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(CHECKOUT / name, folder)
    for name in PAPERS:
        shutil.copy(CHECKOUT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """The wheel, built with the setuptools that is here."""
    return source.parent / build(source, "")


def build(folder: Path, how: str) -> str:
    """Run the build backend as `pip` does; the last line it says."""
    return run([sys.executable, "-c", BUILD, how], cwd=folder).splitlines()[-1]


def run(command: list[str | Path], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_party() -> dict[str, Path]:
    """Extensions of the checkout by name."""
    return {one.name: one.folder for one in find_extensions(OWN_ROOTS)}


def carried(wheel: Path) -> set[str]:
    """The files of the bundled extensions, as paths in the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not [name for name in names if "__pycache__" in name or name.startswith(("extensions/", "filebrowser/"))]
    return {name.removeprefix("easel/bundled/") for name in names if name.startswith("easel/bundled/")}


def own_files() -> set[str]:
    folders = [CHECKOUT / "extensions", CHECKOUT / "filebrowser"]
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(CHECKOUT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Whatever is added later: a page's style sheet that is not carried is missed by users only."""
    package = CHECKOUT / "core" / "easel"
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    with zipfile.ZipFile(wheel) as archive:
        missing = {path.relative_to(CHECKOUT / "core").as_posix() for path in files} - set(archive.namelist())
    assert missing == set()


def test_the_wheel_has_every_file_and_the_finder_finds_them(wheel: Path, tmp_path: Path) -> None:
    assert carried(wheel) == own_files()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    found = run([sys.executable, "-P", "-c", FIND], tmp_path, {"PYTHONPATH": str(tmp_path / "site")}).splitlines()
    bundled = (tmp_path / "site" / "easel" / "bundled").resolve()
    expected = {f"{name} True {bundled / folder.relative_to(CHECKOUT)}" for name, folder in first_party().items()}
    assert len(expected) >= 15
    assert set(found) == expected


@pytest.mark.long
def test_the_source_archive_has_them_too(source: Path) -> None:
    build(source, "from-sdist")
    (unpacked,) = (source.parent / "unpacked").iterdir()
    assert carried(unpacked.parent / build(unpacked, "")) == own_files()


@pytest.mark.long
def test_a_fresh_installation_serves_with_them(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that only borrows the libraries of this one, outside the checkout."""
    alone = {"OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "fresh"], tmp_path)
    python = tmp_path / "fresh" / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel], tmp_path, alone)
    (site,) = (tmp_path / "fresh" / "lib").glob("*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    told = run([python, "-c", SERVE, tmp_path / "data"], tmp_path, alone)
    answer = json.loads(told)
    assert Path(answer["easel"]).is_relative_to(site)
    assert answer["size"] == [64, 64]
    assert [line["outcome"] for line in answer["report"] if line["item"] == "<lora:flat:1>"] == ["applied"]
    off = {"nsfw-censor": "disabled", "filebrowser": "disabled"}  # until a flag asks for them
    assert answer["states"] == {name: off.get(name, "enabled") for name in first_party()}
    assert (tmp_path / "fresh" / "bin" / "easel").is_file()
