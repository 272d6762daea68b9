"""`easel install`: from folders, ZIP files and wheels; nothing is run, nothing leaves its place."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from easel.cli import main

Write = Callable[..., Path]
EVIL = "raise SystemExit('this must not run')"


def install(source: Path, data: Path, *flags: str) -> int:
    return main(["install", str(source), *flags, "--data-dir", str(data)])


def zipped(folder: Path, file: Path, below: str = "") -> Path:
    with ZipFile(file, "w") as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, below + str(path.relative_to(folder)))
    return file


@pytest.mark.parametrize("how", ["folder", "zip", "zip of the folder", "wheel"])
def test_from_everywhere(how: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write("my-frame", head=EVIL, requires=["no-such-package>=3"], files={"work.py": "x = 1"})
    sources = {
        "folder": lambda: folder,
        "zip": lambda: zipped(folder, tmp_path / "my_frame.zip"),
        "zip of the folder": lambda: zipped(folder, tmp_path / "any.zip", "my_frame/"),
        "wheel": lambda: zipped(folder, tmp_path / "my_frame-1.0-py3-none-any.whl", "my_frame/"),
    }
    assert install(sources[how](), tmp_path / "data") == 0
    there = tmp_path / "data" / "extensions" / "my_frame"
    assert sorted(path.name for path in there.iterdir()) == ["__init__.py", "extension.toml", "work.py"]
    assert [path.name for path in there.parent.iterdir()] == ["my_frame"]  # nothing half done beside it
    said = capsys.readouterr().out
    assert "My-Frame 1.0: a test" in said and "cannot run yet: it needs no-such-package" in said


def test_what_is_there_stays_unless_it_is_to_be_replaced(write: Write, tmp_path: Path) -> None:
    folder = write("frame")
    there = tmp_path / "data" / "extensions" / "frame"
    assert install(folder, tmp_path / "data") == 0
    (there / "old.txt").write_text("")
    assert install(folder, tmp_path / "data") == 2 and (there / "old.txt").exists()
    assert install(folder, tmp_path / "data", "--replace") == 0 and not (there / "old.txt").exists()


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "frame/../../evil.py", "frame\\..\\evil.py"])
def test_an_archive_cannot_leave_its_folder(name: str, write: Write, tmp_path: Path) -> None:
    file = zipped(write("frame"), tmp_path / "frame.zip", "frame/")
    with ZipFile(file, "a") as archive:
        archive.writestr(name, "")
    assert install(file, tmp_path / "data") == 2
    assert list((tmp_path / "data" / "extensions").iterdir()) == []


def test_links_are_refused(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write("frame")
    file = zipped(folder, tmp_path / "frame.zip", "frame/")
    link = ZipInfo("frame/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(file, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert install(file, tmp_path / "data") == 2
    (folder / "link").symlink_to("/etc/passwd")
    assert install(folder, tmp_path / "data") == 2
    assert "is no plain file (got 'link')" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no zip", "cannot be read"), (None, "no such file"), (b"PK\x05\x06" + bytes(18), "no extension")],
)
def test_what_is_no_extension(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.zip"
    if content is not None:
        file.write_bytes(content)
    assert install(file, tmp_path / "data") == 2
    assert said in capsys.readouterr().err


def test_a_bad_manifest(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(write("frame", colour="red"), tmp_path / "data") != 0
    assert "unknown key 'colour'" in capsys.readouterr().err
