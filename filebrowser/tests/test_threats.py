"""Named after the threats: what must not be reached, run, mixed up or left behind."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .conftest import API, Files

SECRET = b"the secret"


@pytest.fixture
def secret(files: Files) -> Path:
    """A file beside the data folder that nobody must see or change."""
    folder = files.data.parent / "secret"
    folder.mkdir()
    (folder / "file").write_bytes(SECRET)
    files.upload("outputs/mine", b"mine")
    return folder


def every_way(files: Files, path: str) -> list[Any]:
    """Each call that takes a path, with this one."""
    return [
        files.get("list", path=path),
        files.get("search", path=path, name="f"),
        files.get("room", path=path),
        files.get("file", path=path),
        files.client.head(f"{API}/file", params={"path": path}),
        files.get("zip", path=path),
        files.get("thumbnail", path=path),
        files.get("details", path=path),
        files.get("text", path=path),
        files.post("folders", path=f"{path}/new"),
        files.post("move", path=path, to="outputs/moved"),
        files.post("move", path="outputs/mine", to=path, replace=True),
        files.post("copy", path=path, to="outputs/copied"),
        files.post("copy", path="outputs/mine", to=path, replace=True),
        files.post("trash", paths=[path]),
        files.begin(path, 1, replace=True),
        files.begin(f"{path}/new", 1),
    ]


def refused(files: Files, path: str, secret: Path) -> None:
    for answer in every_way(files, path):
        assert 400 <= answer.status_code < 500, (answer.request.url, answer.text)
        assert SECRET not in answer.content
        assert str(files.data.parent) not in answer.text
    assert (files.data / "outputs" / "mine").read_bytes() == b"mine"
    assert [(one.name, one.read_bytes()) for one in secret.iterdir()] == [("file", SECRET)]


def test_traversal(files: Files, secret: Path) -> None:
    for path in (
        *("../secret/file", "outputs/../../secret/file", "..", "/etc/passwd", "//etc/passwd", "/", "outputs/.."),
        *("..\\secret\\file", "outputs\\..\\..\\secret", "C:\\secret", "outputs/mine\0.png", "\0"),
    ):
        refused(files, path, secret)


def test_what_only_looks_like_traversal_is_a_name_inside(files: Files, secret: Path) -> None:
    """Each is decoded once, by HTTP; what is left of a second encoding is an odd name, and no way out."""
    for path in (
        *("%2e%2e/secret/file", "%2e%2e%2fsecret%2ffile", "..%2fsecret", "%252e%252e%252fsecret", "....//secret/file"),
        *("..;/secret/file", "outputs/..%00/secret", "file:///etc/passwd", "~/secret", "..%c0%afsecret", "．．/secret"),
    ):
        for answer in every_way(files, path):
            assert answer.status_code < 500, (path, answer.text)
            assert SECRET not in answer.content
            assert b"root:" not in answer.content
        files.upload("outputs/mine", b"mine", replace=True)  # one of the ways moves it
    assert [(one.name, one.read_bytes()) for one in secret.iterdir()] == [("file", SECRET)]
    assert sorted(one.name for one in files.data.parent.iterdir()) == ["data", "secret"]


def test_traversal_in_the_address(files: Files, secret: Path) -> None:
    """The path of the address itself, sent as it stands."""
    for path in ("../secret/file", "%2e%2e/secret/file", "..%2fsecret%2ffile", "%252e%252e/secret/file"):
        for before in ("/filebrowser/", "/filebrowser/page/", f"{API}/file/", f"{API}/file?path="):
            answer = files.client.get(before + path)
            assert answer.status_code in (403, 404, 405), (before, path)
            assert SECRET not in answer.content


def test_absolute_paths_do_not_tell_where_the_data_is(files: Files, secret: Path) -> None:
    elsewhere = [answer.status_code for answer in every_way(files, "/nowhere/at/all")]
    for path in (files.data, files.data / "outputs", files.data / "outputs" / "mine"):
        assert [answer.status_code for answer in every_way(files, str(path))] == elsewhere
    assert (files.names("outputs"), set(elsewhere)) == (["mine"], {403, 422})


def test_links_dangling_ones_too_lead_nowhere(files: Files, secret: Path) -> None:
    link = files.data / "outputs" / "link"
    for target in (str(secret), f"{secret}/file", f"{secret}/nothing", "/etc", "../../secret", "mine"):
        link.symlink_to(target)
        assert files.names("outputs") == ["mine"]
        for path in ("outputs/link/file", "outputs/link/new"):
            refused(files, path, secret)
        for what in ("file", "text", "details", "zip"):
            assert files.get(what, path="outputs/link").status_code == 403
        assert files.upload("outputs/link", b"through the link?", replace=True).status_code == 403
        link.unlink()


def test_a_folder_swapped_for_a_link_in_a_race(files: Files, secret: Path) -> None:
    """A thread swaps folder and link as fast as it can, while the API is asked for what is in it."""
    target, aside = files.data / "outputs" / "target", files.data / "aside"
    files.upload("outputs/target/file", b"inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            target.rename(aside)
            target.symlink_to(secret)
            target.unlink()
            aside.rename(target)

    swapping = threading.Thread(target=swap)
    swapping.start()
    asked: list[Callable[[], Any]] = [
        lambda: files.get("file", path="outputs/target/file"),
        lambda: files.get("zip", path="outputs/target/file"),
        lambda: files.get("text", path="outputs/target/file"),
        lambda: files.get("list", path="outputs/target"),
    ]
    try:
        answers = [ask() for _ in range(60) for ask in asked]
    finally:
        stop.set()
        swapping.join()
    assert {200} < {answer.status_code for answer in answers} <= {200, 403, 404}
    assert not [answer for answer in answers if SECRET in answer.content]


def test_odd_names_are_not_given_to_anything_new(files: Files, secret: Path) -> None:
    for name in (
        *("nul", "CON.png", "com1", "line\nbreak", "bell\x07", "trailing.", "trailing ", " leading", "x" * 300, ".."),
        *("\u202egnp.exe", f".easel-{'0' * 32}.part", "back\\slash", "null\0byte"),
    ):
        path = f"outputs/folder/{name}"
        for answer in (
            files.begin(path, 1),
            files.post("folders", path=path),
            files.post("move", path="outputs/mine", to=path),
            files.post("copy", path="outputs/mine", to=path),
        ):
            assert answer.status_code in (403, 422), (name, answer.text)
    assert files.names("outputs") == ["mine"]


def test_state_code_and_other_people_by_another_spelling(files: Files, secret: Path) -> None:
    for folder in (".easel", "users/eve", "extensions"):
        (files.data / folder).mkdir(parents=True, exist_ok=True)
    for name in (".Easel", ".easel", "./.EASEL", "users", "USERS/eve", "extensions", ".ｅasel"):
        refused(files, name, secret)
        refused(files, f"{name}/easel.db", secret)


def test_zip_slip(files: Files) -> None:
    """Names on the disk that an unpacker would follow elsewhere do not get into an archive."""
    folder = files.data / "outputs"
    for name in ("..\\..\\evil.txt", "C:\\evil.txt", "fine.txt"):
        (folder / name).write_text("")
    (folder / "link").symlink_to("/etc/passwd")
    names = zipfile.ZipFile(BytesIO(files.get("zip", path="outputs").content)).namelist()
    assert names == ["outputs/", "outputs/fine.txt"]
    assert not [name for name in names if ".." in name or "\\" in name or name.startswith("/")]


def test_an_archive_that_was_sent_stays_a_file(files: Files) -> None:
    evil = BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../evil.txt", "")
    files.upload("outputs/evil.zip", evil.getvalue())
    assert files.names("outputs") == ["evil.zip"]


def test_other_sites_may_not_change_anything(files: Files, secret: Path) -> None:
    """What a browser sends for a foreign page without asking first."""
    foreign = {"Origin": "https://evil.example"}
    upload = files.begin("outputs/x", 1).json()["id"]
    for method, path, kind in (
        ("POST", "trash", "text/plain"),
        ("POST", "trash", "application/x-www-form-urlencoded"),
        ("POST", "folders", ""),
        ("PUT", f"uploads/{upload}?offset=0", "application/octet-stream"),
        ("DELETE", "trash", ""),
    ):
        headers = foreign | ({"Content-Type": kind} if kind else {})
        answer = files.client.request(method, f"{API}/{path}", headers=headers, content=b'{"paths": ["outputs/mine"]}')
        assert answer.status_code == 403, path
    asked = files.client.options(f"{API}/trash", headers=foreign | {"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in asked.headers
    assert files.names("outputs") == ["mine"]


def test_pieces_have_a_bound(files: Files) -> None:
    upload = files.begin("outputs/x", 200 << 20).json()["id"]
    answer = files.client.put(f"{API}/uploads/{upload}?offset=0", content=bytes(65 << 20))
    assert answer.status_code == 413
    assert files.get(f"uploads/{upload}").json()["offset"] == 0


def test_uploads_are_not_found_by_guessing(files: Files) -> None:
    for id in ("..", "%2e%2e", "x", "0" * 32, "../../secret", "a" * 31 + "/"):
        for answer in (files.get(f"uploads/{quote(id, safe='')}"), files.send(quote(id, safe=""), b"x")):
            assert answer.status_code in (404, 405)


def test_unknown_fields_are_refused(files: Files) -> None:
    assert files.post("folders", path="outputs/x", mode="0777").status_code == 422
    assert files.names("outputs") == []


def test_pipes_and_devices_are_left_alone(files: Files) -> None:
    os.mkfifo(files.data / "outputs" / "pipe")
    assert files.names("outputs") == []
    for answer in (files.get("file", path="outputs/pipe"), files.get("text", path="outputs/pipe")):
        assert answer.status_code == 403


def test_names_that_are_no_text_do_not_break_a_list(files: Files) -> None:
    (files.data / "outputs" / os.fsdecode(b"\xff\xfe")).write_text("")
    files.upload("outputs/fine", b"")
    assert files.names("outputs") == ["fine"]
    assert files.get("search", name="f").json()["items"][0]["name"] == "fine"
