"""ScopedFiles: each test is a way out that must not be one, or something that must still work."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from easel.errors import BadRequest, EaselError, Forbidden, NotFound, TooLarge
from easel.files import ScopedFiles

OUTSIDE = "the secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file in it, and a secret beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file.txt").write_text("inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file.txt").write_text(OUTSIDE)
    return root


@pytest.fixture
def files(root: Path) -> ScopedFiles:
    return ScopedFiles(root)


def each_way(files: ScopedFiles, path: str):
    """Every operation on a path, as a function."""
    return [
        lambda: files.read(path, 100),
        lambda: files.write(path, b"overwritten"),
        lambda: files.open(path).close(),
        lambda: files.list(path),
        lambda: files.mkdir(path),
        lambda: files.rename(path, "moved"),
        lambda: files.rename("sub/file.txt", path, replace=True),
        lambda: files.delete(path, recursive=True),
        lambda: files.resolve(path),
        lambda: files.stat(path),
        lambda: files.sync(path),
        lambda: list(files.walk(path)),
        lambda: files.writable(path),
        lambda: files.free(path),
        lambda: files.append(path, b"appended", at=0),
        lambda: files.copy(path, "copied"),
        lambda: files.copy("sub/file.txt", path, replace=True),
    ]


WAYS = len(each_way(ScopedFiles(Path("/")), ""))


@pytest.mark.parametrize("way", range(WAYS))
@pytest.mark.parametrize(
    "path",
    [
        "../secret/file.txt",
        "sub/../../secret/file.txt",
        "..",
        "/etc/passwd",
        "//etc/passwd",
        "sub\\..\\..\\secret",
        "..\\secret",
        "file\0.txt",
        "sub/../file.txt",
    ],
)
def test_paths_that_leave_are_refused_by_every_operation(files, root, path, way):
    with pytest.raises(Forbidden):
        each_way(files, path)[way]()
    assert (root.parent / "secret" / "file.txt").read_text() == OUTSIDE
    assert (root / "sub" / "file.txt").read_text() == "inside"


@pytest.mark.parametrize("way", range(WAYS))
@pytest.mark.parametrize("path", ["link/file.txt", "link/new.txt", "link/new/new.txt"])
def test_linked_folders_are_not_entered(files, root, path, way):
    (root / "link").symlink_to(root.parent / "secret")
    with pytest.raises(Forbidden):
        each_way(files, path)[way]()
    assert sorted(path.name for path in (root.parent / "secret").iterdir()) == ["file.txt"]
    assert (root.parent / "secret" / "file.txt").read_text() == OUTSIDE


def test_linked_files_are_not_read(files, root):
    (root / "link.txt").symlink_to(root.parent / "secret" / "file.txt")
    for read in (lambda: files.read("link.txt", 100), lambda: files.resolve("link.txt")):
        with pytest.raises(Forbidden):
            read()


def test_links_inside_are_not_followed_either(files, root):
    (root / "link").symlink_to(root / "sub")
    with pytest.raises(Forbidden):
        files.read("link/file.txt", 100)


def test_writing_over_a_link_replaces_the_link_not_its_target(files, root):
    (root / "link.txt").symlink_to(root.parent / "secret" / "file.txt")
    files.write("link.txt", b"mine")
    assert not (root / "link.txt").is_symlink()
    assert (root.parent / "secret" / "file.txt").read_text() == OUTSIDE


def test_writing_through_a_dangling_link_makes_nothing_outside(files, root):
    (root / "dangling").symlink_to(root.parent / "secret" / "new.txt")
    files.write("dangling", b"mine")
    assert not (root.parent / "secret" / "new.txt").exists()
    (root / "dangling-folder").symlink_to(root.parent / "nowhere")
    with pytest.raises(Forbidden):
        files.write("dangling-folder/new.txt", b"mine")
    assert not (root.parent / "nowhere").exists()


def test_deleting_a_link_leaves_its_target(files, root):
    (root / "link").symlink_to(root.parent / "secret")
    files.delete("link", recursive=True)
    assert not (root / "link").is_symlink()
    (root / "sub" / "link").symlink_to(root.parent / "secret")
    files.delete("sub", recursive=True)
    assert (root.parent / "secret" / "file.txt").read_text() == OUTSIDE


@pytest.mark.parametrize("call", ["open", "mkdir", "rename", "stat"])
@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("way", range(WAYS))
def test_a_folder_swapped_for_a_link_while_we_look_leads_nowhere(files, root, monkeypatch, call, nth, way):
    """Just before the nth system call of an operation, somebody puts a link to the secret in the folder's place."""
    real, calls = getattr(os, call), iter(range(1000))
    secret = root.parent / "secret"

    def swap_then_call(*arguments: object, **named: object) -> object:
        if next(calls) == nth:
            (root / "sub").rename(root / "aside")
            (root / "sub").symlink_to(secret)
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, swap_then_call)
    with suppress(EaselError):
        result = each_way(files, "sub/file.txt")[way]()
        assert OUTSIDE.encode() != result
    monkeypatch.undo()
    assert [path.name for path in secret.iterdir()] == ["file.txt"]
    assert (secret / "file.txt").read_text() == OUTSIDE


def test_a_link_as_root_is_fine(tmp_path, root):
    (tmp_path / "alias").symlink_to(root)
    assert ScopedFiles(tmp_path / "alias").read("sub/file.txt", 100) == b"inside"


@pytest.mark.parametrize("way", range(WAYS))
@pytest.mark.parametrize("path", [".easel", ".easel/easel.db", ".EASEL/easel.db", "./.easel//easel.db", ".easel/new"])
def test_denied_subtrees_are_refused_by_every_operation(root, path, way):
    (root / ".easel").mkdir()
    (root / ".easel" / "easel.db").write_text("state")
    files = ScopedFiles(root, denied=[".easel"])
    with pytest.raises(Forbidden):
        each_way(files, path)[way]()
    assert (root / ".easel" / "easel.db").read_text() == "state"
    assert ".easel" not in [entry.name for entry in files.list()]


def test_denied_names_are_refused_before_they_exist(root):
    with pytest.raises(Forbidden):
        ScopedFiles(root, denied=["users/eve"]).write("users/Eve/x.txt", b"")
    assert not (root / "users").exists()


def test_folders_above_denied_ones_cannot_be_moved_or_deleted(root):
    (root / "users" / "eve").mkdir(parents=True)
    files = ScopedFiles(root, denied=["users/eve"])
    for change in (
        lambda: files.rename("users", "mine"),
        lambda: files.delete("users", recursive=True),
        lambda: files.rename("sub", "users", replace=True),
    ):
        with pytest.raises(Forbidden):
            change()
    assert (root / "users" / "eve").is_dir()


def test_the_root_itself_cannot_be_changed_or_denied(files, root):
    for change in (
        lambda: files.delete("", recursive=True),
        lambda: files.rename(".", "x"),
        lambda: files.write("", b""),
    ):
        with pytest.raises((Forbidden, BadRequest)):
            change()
    assert root.is_dir()
    with pytest.raises(ValueError, match="root"):
        ScopedFiles(root, denied=["."])


def test_named_pipes_and_devices_are_not_opened(files, root):
    os.mkfifo(root / "pipe")
    with pytest.raises(Forbidden):
        files.read("pipe", 100)
    with pytest.raises(Forbidden):
        files.resolve("pipe")
    assert [entry.name for entry in files.list()] == ["sub"]


def test_reading_is_bounded(files, root):
    (root / "large").write_bytes(bytes(1001))
    assert len(files.read("large", 1001)) == 1001
    with pytest.raises(TooLarge):
        files.read("large", 1000)


@pytest.mark.parametrize("path", ["x" * 300, "a/" + "x" * 300, "\ud800"])
def test_impossible_names_are_the_callers_mistake(files, path):
    with pytest.raises(BadRequest):
        files.write(path, b"")


def test_writing_makes_folders_replaces_and_leaves_no_temporary(files, root):
    files.write("a/b/c.txt", b"one")
    files.write("a/b/c.txt", b"two")
    assert files.read("a/b/c.txt", 10) == b"two"
    assert [path.name for path in (root / "a" / "b").iterdir()] == ["c.txt"]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_no_half_of_the_new(files, root, monkeypatch, number, words, step):
    files.write("picture.png", b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "failed")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(EaselError, match=words) as caught:
        files.write("picture.png", b"new")
    assert str(root) not in caught.value.message
    assert files.read("picture.png", 10) == b"old"
    assert sorted(path.name for path in root.iterdir()) == ["picture.png", "sub"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_really_full_disk(files, root, monkeypatch):
    real = os.open

    def open_full(path: object, flags: int, *arguments: object, **named: object) -> int:
        return real("/dev/full", os.O_WRONLY) if str(path).endswith(".tmp") else real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", open_full)
    with pytest.raises(EaselError, match=r"the disk is full: 'x\.png' was not written"):
        files.write("x.png", b"data")


def test_errors_never_tell_where_the_root_is(files, root):
    for path in ("nothing", "sub/file.txt/x", "../x", "sub"):
        with pytest.raises(EaselError) as caught:
            files.read(path, 10)
        assert str(root.parent) not in caught.value.message


def test_listing_sorts_folders_first_and_leaves_links_out(files, root):
    files.write("b.txt", b"12")
    files.mkdir("z")
    (root / "link").symlink_to(root / "sub")
    assert [(entry.name, entry.folder, entry.size) for entry in files.list()] == [
        ("sub", True, 0),
        ("z", True, 0),
        ("b.txt", False, 2),
    ]


def test_moving_refuses_to_overwrite_unless_told(files):
    files.write("new.txt", b"new")
    with pytest.raises(BadRequest, match="already"):
        files.rename("new.txt", "sub/file.txt")
    files.rename("new.txt", "sub/file.txt", replace=True)
    assert files.read("sub/file.txt", 10) == b"new"
    assert not files.exists("new.txt")


def test_deleting(files):
    with pytest.raises(EaselError):
        files.delete("sub")
    files.delete("sub", recursive=True)
    assert files.list() == ()
    with pytest.raises(NotFound):
        files.delete("sub")


def test_absolute_paths_below_the_root_have_a_relative_name(files, root):
    assert files.relative(f"{root}/a/b") == "a/b"
    assert files.relative(str(root)) == ""
    assert files.relative("a//./b/") == "a/b"
    for path in (f"{root}-other/a", f"{root}/../secret", "/", f"{root}/a/../../secret"):
        with pytest.raises(Forbidden):
            files.relative(path)


def test_descriptors_are_closed(files, root):
    before = len(list(Path("/proc/self/fd").iterdir()))
    (root / "link").symlink_to(root.parent / "secret")
    for _ in range(50):
        files.write("x/y.txt", b"")
        files.list("x")
        for path in ("link/x", "nothing/x", "../x", "sub/file.txt/x"):
            with pytest.raises(EaselError):
                files.read(path, 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_root_behind_a_link_may_be_named_both_ways(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files = ScopedFiles(tmp_path / "link")
    assert files.relative(f"{tmp_path}/link/a") == files.relative(f"{tmp_path}/real/a") == "a"
    for path in (f"{tmp_path}/link/../a", f"{tmp_path}/linked/a", f"{tmp_path}/real/../a"):
        with pytest.raises(Forbidden):
            files.relative(path)


def test_a_read_only_storage_is_read_and_every_change_names_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "models" / "shared").mkdir(parents=True)
    (tmp_path / "data" / "models" / "shared" / "a.txt").write_text("a")
    mount = Path("/mnt/data/models/shared")
    files = ScopedFiles(tmp_path / "data", named=Path("/mnt/data"), read_only=[mount, Path("/mnt/elsewhere")])
    assert files.relative("/mnt/data/models/shared/a.txt") == "models/shared/a.txt"
    assert files.read("models/shared/a.txt", 9) == b"a"
    assert not files.writable("models/shared") and files.writable("models")
    files.copy("models/shared/a.txt", "b.txt")
    changes = (
        lambda: files.write("models/shared/b.txt", b""),
        lambda: files.append("models/shared/a.txt", b"b", at=1),
        lambda: files.mkdir("models/shared/new"),
        lambda: files.rename("models/shared/a.txt", "a.txt"),
        lambda: files.rename("b.txt", "models/shared/b.txt"),
        lambda: files.rename("models", "moved"),
        lambda: files.copy("b.txt", "models/shared/b.txt"),
        lambda: files.delete("models/shared/a.txt"),
        lambda: files.delete("models", recursive=True),
        lambda: files.without("x").delete("models/shared", recursive=True),
    )
    for change in changes:
        with pytest.raises(Forbidden, match=f"the storage at {mount} is read-only"):
            change()
    with pytest.raises(Forbidden, match="the storage at /mnt/elsewhere is read-only"):
        files.relative("/mnt/elsewhere/outputs")
    assert [path for path, _ in files.walk()] == ["models", "b.txt", "models/shared", "models/shared/a.txt"]
