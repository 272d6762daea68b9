"""ScopedFiles: walking, adding to files, moving without replacing, copying, full and read-only disks."""

import os
import resource
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from easel.errors import BadRequest, Conflict, DiskFull, EaselError, Forbidden, NotFound
from easel.files import ScopedFiles
from easel.files.names import check_portable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def files(root: Path) -> ScopedFiles:
    return ScopedFiles(root)


@pytest.fixture
def mounted(root: Path):
    """`mounted(options)`: another disk at `other/` of the root; needs the right to mount."""
    target = root / "other"
    target.mkdir()

    def mount(options: str) -> Path:
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", target]).returncode:
            pytest.skip("mounting is not allowed here")
        return target

    yield mount
    if target.is_mount():
        subprocess.run(["umount", target], check=True)


def names(files: ScopedFiles) -> list[str]:
    return [path for path, _ in files.walk()]


def test_walking_tells_paths_below_the_root_folders_first(root):
    files = ScopedFiles(root, denied=["a/hidden"])
    for path in ("a/b/c.txt", "a/d.txt", "a/hidden.txt"):
        files.write(path, b"12")
    (root / "a" / "hidden").mkdir()
    (root / "a" / "link").symlink_to(root)
    assert [(path, entry.size) for path, entry in files.walk("./a//")] == [
        ("a/b", 0),
        ("a/d.txt", 2),
        ("a/hidden.txt", 2),
        ("a/b/c.txt", 2),
    ]


def test_names_that_nobody_can_send_are_not_listed(files, root):
    (root / "back\\slash").write_text("")
    (root / os.fsdecode(b"not \xff text")).write_text("")
    files.write("fine", b"")
    assert names(files) == ["fine"]


def test_unfinished_writes_are_not_listed(files):
    with pytest.raises(ZeroDivisionError), files.writing("x") as file:
        file.write(b"half")
        assert files.list() == ()
        raise ZeroDivisionError
    files.append(".easel-1.part", b"half", at=0)
    assert files.list() == ()


def test_too_many_folders_are_refused(files):
    with pytest.raises(BadRequest, match="too many folders"):
        files.mkdir("a/" * 101)


def test_adding_to_a_file_says_where_it_ends(files):
    files.append("new/part", b"", at=0)
    files.append("new/part", b"one", at=0)
    files.append("new/part", b"two", at=3)
    for at in (0, 3, 7):
        with pytest.raises(Conflict, match="allowed: 6"):
            files.append("new/part", b"x", at=at)
    assert files.read("new/part", 10) == b"onetwo"
    with pytest.raises(NotFound):
        files.append("gone/part", b"x", at=5)


def test_what_the_disk_does_not_take_is_not_there(files):
    files.write("part", b"begin")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for change in (lambda: files.append("part", bytes(2000), at=5), lambda: files.write("new", bytes(2000))):
            with pytest.raises(DiskFull, match="the disk is full"):
                change()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files.read("part", 10) == b"begin"
    assert names(files) == ["part"]
    assert [path.name for path in files.root.iterdir()] == ["part"]


def test_copying_a_folder_takes_what_can_be_seen(root):
    files = ScopedFiles(root, denied=["a/secret"])
    files.write("a/b/c.txt", b"c")
    (root / "a" / "secret").mkdir()
    (root / "a" / "link").symlink_to("/etc")
    files.copy("a//", "copy")
    assert [path for path, _ in files.walk("copy")] == ["copy/b", "copy/b/c.txt"]
    assert sorted(path.name for path in (root / "copy").iterdir()) == ["b"]
    for source, target in (("a", "copy"), ("a/b/c.txt", "copy/b/c.txt")):
        with pytest.raises(Conflict, match="already"):
            files.copy(source, target)
    for change in (files.copy, files.rename):
        with pytest.raises(BadRequest, match="into itself"):
            change("copy", "copy/b/inside")


def test_a_copy_that_fails_leaves_nothing(files, root, monkeypatch):
    for name in ("a/1", "a/2"):
        files.write(name, b"x")
    real, calls = os.fsync, iter(range(10))

    def fail_late(handle: int) -> None:
        if next(calls) > 1:
            raise OSError(28, "full")
        real(handle)

    monkeypatch.setattr(os, "fsync", fail_late)
    with pytest.raises(DiskFull):
        files.copy("a", "b")
    assert [path.name for path in root.iterdir()] == ["a"]


def test_of_many_that_want_one_name_one_gets_it(files):
    """Real threads, each with a file of its own."""
    won, barrier = [], threading.Barrier(8)

    def take(number: int) -> None:
        files.write(f"from{number}", str(number).encode())
        barrier.wait()
        with suppress(Conflict):
            files.rename(f"from{number}", "wanted")
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.read("wanted", 10) == str(won[0]).encode()
    assert len(won) == 1
    assert len(names(files)) == 8  # nobody's file is lost


def test_a_file_system_without_hard_links_moves_too(files, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    files.write("a", b"a")
    files.rename("a", "b")
    files.write("c", b"c")
    with pytest.raises(Conflict):
        files.rename("c", "b")
    assert files.read("b", 1) == b"a"


def test_links_that_come_and_go_never_lead_outside(files, root, tmp_path):
    """A real race: one thread swaps a folder and a link to a secret, the other does everything it can with it."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("the secret")
    (secret / "only here").write_text("")
    (root / "target").mkdir()
    (root / "target" / "file").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):
                (root / "target").rename(root / "aside")
                (root / "target").symlink_to(secret)
            if (root / "target").is_symlink():
                (root / "target").unlink()
            shutil.rmtree(root / "target", ignore_errors=True)  # the other thread made one in the gap
            with suppress(OSError):
                (root / "aside").rename(root / "target")

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen, turn, until = set(), 0, time.monotonic() + 60
    try:
        while turn < 400 or (b"inside" not in seen and time.monotonic() < until):  # it is there for moments only
            turn += 1
            with suppress(EaselError):
                seen.add(files.read("target/file", 100))
            with suppress(EaselError):
                files.write("target/new", b"x")
            with suppress(EaselError):
                files.append(f"target/part{turn % 7}", b"x", at=0)
            with suppress(EaselError):
                files.rename("target/new", f"target/moved{turn % 5}", replace=True)
            with suppress(EaselError):
                files.delete("target/moved1")
            with suppress(EaselError):
                seen.update(path for path, _ in files.walk("target"))
    finally:
        stop.set()
        swapping.join()
    assert b"inside" in seen
    assert not seen & {b"the secret", "target/only here"}
    assert sorted(path.name for path in secret.iterdir()) == ["file", "only here"]
    assert (secret / "file").read_text() == "the secret"


def test_a_full_disk(files, mounted):
    mounted("size=1m")
    assert files.free("other") <= 1 << 20 < files.free()
    files.write("big", bytes(2 << 20))
    for change in (
        lambda: files.write("other/x", bytes(2 << 20)),
        lambda: files.append("other/y", bytes(2 << 20), at=0),
        lambda: files.copy("big", "other/z"),
        lambda: files.rename("big", "other/z"),
    ):
        with pytest.raises(DiskFull):
            change()
    assert [(entry.name, entry.size) for entry in files.list("other")] == [("y", 0)]
    assert files.stat("big").size == 2 << 20


def test_moving_between_two_disks_copies(files, mounted):
    mounted("size=1m")
    files.write("a/b/c", b"c")
    files.rename("a", "other/a")
    assert files.read("other/a/b/c", 1) == b"c"
    assert not files.exists("a")
    files.write("c", b"mine")
    with pytest.raises(Conflict):
        files.rename("c", "other/a/b/c")


def test_a_read_only_disk_is_read_and_says_so(files, root, mounted):
    other = mounted("size=1m")
    files.write("other/model", b"weights")
    subprocess.run(["mount", "-o", "remount,ro", other], check=True)
    files.write("mine", b"x")
    assert files.read("other/model", 10) == b"weights"
    assert (files.writable(), files.writable("other")) == (True, False)
    for change in (
        lambda: files.write("other/model", b"x"),
        lambda: files.append("other/new", b"x", at=0),
        lambda: files.mkdir("other/new"),
        lambda: files.delete("other/model"),
        lambda: files.rename("other/model", "other/new"),
        lambda: files.rename("other/model", "here"),
        lambda: files.rename("mine", "other/mine"),
        lambda: files.copy("mine", "other/mine"),
    ):
        with pytest.raises(Forbidden, match="read-only"):
            change()
    assert sorted(names(files)) == ["mine", "other", "other/model"]
    files.copy("other/model", "copy")


def test_more_denied(files):
    files.write("a/b", b"")
    narrower = files.without("a")
    assert (names(files), names(narrower)) == (["a", "a/b"], [])
    with pytest.raises(Forbidden):
        narrower.without("c").read("a/b", 1)


@pytest.mark.parametrize("name", [
    "line\nbreak", "tab\t", "bell\x07", "trailing.", "trailing ", " leading", "CON", "nul.txt", "Com1.tar.gz", "lpt³",
    "x" * 256, "ü" * 128, ".easel-mine", "\u202egnp.exe", "a/aux/b", "\x85",
])  # fmt: skip
def test_names_that_other_systems_cannot_hold_are_refused_for_new_files(name):
    with pytest.raises(BadRequest, match="not a name for a new file or folder"):
        check_portable(name)


@pytest.mark.parametrize("name", ["cat.png", ".hidden", "console", "a comma, (brackets)", "猫/😺 ’", "com10", "a.b.c"])
def test_ordinary_names_are_fine(name):
    check_portable(name)
