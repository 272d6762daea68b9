"""Uploads: whole, in pieces, broken off and gone on with, two at once, too much."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import socket
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from .conftest import API, Files

MB = 1 << 20


def hidden(files: Files, folder: str = "outputs") -> list[str]:
    """What lies in a folder and is not shown."""
    return [file.name for file in (files.data / folder).iterdir() if file.name.startswith(".")]


def test_a_file_in_pieces(files: Files) -> None:
    begun = files.begin("outputs/new/x.bin", 5).json()
    assert (begun["offset"], begun["complete"]) == (0, False)
    assert begun["chunk"] <= 64 * MB
    assert files.send(begun["id"], b"abc").json()["offset"] == 3
    assert files.names("outputs/new") == []  # not before it is whole
    assert files.get(f"uploads/{begun['id']}").json()["offset"] == 3
    assert [one["path"] for one in files.get("uploads").json()] == ["outputs/new/x.bin"]
    assert files.send(begun["id"], b"de", 3).json()["complete"]
    assert (files.data / "outputs/new/x.bin").read_bytes() == b"abcde"
    assert files.get("uploads").json() == []
    assert files.get(f"uploads/{begun['id']}").status_code == 404
    assert hidden(files, "outputs/new") == []


def test_an_empty_file(files: Files) -> None:
    assert files.upload("outputs/empty", b"").json()["complete"]
    assert files.names("outputs") == ["empty"]


def test_pieces_that_do_not_fit_are_refused_and_nothing_is_lost(files: Files) -> None:
    id = files.begin("outputs/x", 5).json()["id"]
    files.send(id, b"abc")
    again, gap, more = files.send(id, b"abc"), files.send(id, b"e", 4), files.send(id, b"defg", 3)
    assert [answer.status_code for answer in (again, gap, more)] == [409, 409, 422]
    assert "allowed: 3" in again.json()["detail"]
    assert "allowed: 5" in more.json()["detail"]
    assert files.send(id, b"de", 3).json()["complete"]
    assert (files.data / "outputs/x").read_bytes() == b"abcde"


def test_a_name_that_is_taken(files: Files) -> None:
    files.upload("outputs/x", b"old")
    assert files.begin("outputs/x", 3).status_code == 409
    assert files.begin("outputs", 3, replace=True).status_code == 409
    assert files.upload("outputs/x", b"new", replace=True).json()["complete"]
    assert (files.data / "outputs/x").read_bytes() == b"new"


def test_giving_up_leaves_nothing(files: Files) -> None:
    id = files.begin("outputs/x", 5).json()["id"]
    files.send(id, b"abc")
    assert len(hidden(files)) == 1
    assert files.client.delete(f"{API}/uploads/{id}").status_code == 204
    assert hidden(files) == []
    assert files.send(id, b"de", 3).status_code == 404


def test_two_at_once_to_one_name_are_never_mixed(files: Files) -> None:
    """Both send in turns; the first that is complete has the name, the other is told."""
    first, second = (files.begin("outputs/x", 4).json()["id"] for _ in range(2))
    files.send(first, b"aa")
    files.send(second, b"bb")
    assert files.send(second, b"bb", 2).json()["complete"]
    late = files.send(first, b"aa", 2)
    assert (late.status_code, "already" in late.json()["detail"]) == (409, True)
    assert (files.data / "outputs/x").read_bytes() == b"bbbb"
    assert hidden(files) == []


def test_many_at_once(files: Files, port: int) -> None:
    """Eight clients, one name: every byte is one client's, and seven are told that they came too late."""
    codes, started = [], threading.Barrier(8)

    def send(number: int) -> None:
        id = files.begin("outputs/x", MB).json()["id"]
        started.wait()
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("PUT", f"{API}/uploads/{id}?offset=0", bytes([number]) * MB)
        codes.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7
    assert len(set((files.data / "outputs/x").read_bytes())) == 1
    assert files.names("outputs") == ["x"]
    assert hidden(files) == []


def blocks(size: int, begin: int = 0) -> Iterator[bytes]:
    """Bytes of a file that nobody has to keep: the same ones at the same place."""
    for at in range(begin, size, 1 << 16):
        yield random.Random(at).randbytes(1 << 16)


def test_a_connection_that_breaks_in_the_middle_and_a_flat_memory(files: Files, port: int) -> None:
    """64 MB there and back, byte by byte the same, with never more than a few in memory."""
    size, broken = 64 * MB, 24 * MB
    id = files.begin("outputs/big", size).json()["id"]
    tracemalloc.start()
    with socket.create_connection(("127.0.0.1", port)) as raw:
        head = f"PUT {API}/uploads/{id}?offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: {60 * MB}\r\n\r\n"
        raw.sendall(head.encode())
        for block in blocks(broken):
            raw.sendall(block)
    offset = -1
    while files.get(f"uploads/{id}").json()["offset"] != offset:  # until the server has seen the end
        offset = files.get(f"uploads/{id}").json()["offset"]
    assert 0 < offset <= broken
    offset = go_on(port, id, offset, size)
    assert offset == size
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"{API}/file?path={quote('outputs/big')}")
    answer, digest = connection.getresponse(), hashlib.sha256()
    while block := answer.read(1 << 16):
        digest.update(block)
    connection.close()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = hashlib.sha256()
    for block in blocks(size):
        expected.update(block)
    assert digest.digest() == expected.digest()
    assert most < 20 * MB


def go_on(port: int, id: str, offset: int, size: int) -> int:
    """Send the rest in pieces; where it ends. The server may still be busy with the broken one: ask again."""
    while offset < size:
        end, begin = min(size, offset + 4 * MB), offset - offset % (1 << 16)
        connection = HTTPConnection("127.0.0.1", port)
        body = b"".join(blocks(end, begin))[offset - begin : end - begin]
        connection.request("PUT", f"{API}/uploads/{id}?offset={offset}", body)
        answer = connection.getresponse()
        data = json.loads(answer.read())
        connection.close()
        if answer.status == 409:
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", f"{API}/uploads/{id}")
            data = json.loads(connection.getresponse().read())
            connection.close()
        offset = data["offset"]
    return offset


def test_a_file_of_more_than_4_gb(files: Files) -> None:
    """Most of it is a hole: offsets beyond 32 bits are what is tried."""
    size = 5 * 1024 * MB
    id = files.begin("outputs/huge", size).json()["id"]
    (part,) = hidden(files)
    os.truncate(files.data / "outputs" / part, size - 4)
    assert files.get(f"uploads/{id}").json()["offset"] == size - 4
    assert files.send(id, b"last", size - 4).json()["complete"]
    answer = files.client.get(f"{API}/file?path=outputs/huge", headers={"Range": f"bytes={size - 6}-"})
    assert (answer.status_code, answer.content) == (206, b"\0\0last")
    assert files.client.head(f"{API}/file?path=outputs/huge").headers["content-length"] == str(size)


@pytest.mark.easel_settings(quota_gb=3 / 1024)
def test_a_quota_is_checked_before(files: Files) -> None:
    assert files.upload("outputs/one", bytes(2 * MB)).json()["complete"]
    refused = files.begin("outputs/two", 2 * MB)
    assert (refused.status_code, "3.0 MB; 1.0 MB are left" in refused.json()["detail"]) == (507, True)
    assert hidden(files) == []
    assert files.begin("outputs/two", MB).status_code == 201
    assert files.begin("outputs/three", MB).status_code == 507  # the room is promised already
    assert files.get("room").json()["quota"] == 3 * MB
    assert files.post("copy", path="outputs/one", to="outputs/copy").status_code == 507
    assert files.names("outputs") == ["one"]


@pytest.mark.easel_settings(quota_gb=3 / 1024)
def test_emptying_the_trash_makes_room_at_once(files: Files) -> None:
    files.upload("outputs/one", bytes(2 * MB))
    files.post("trash", paths=["outputs/one"])
    assert files.begin("outputs/two", 2 * MB).status_code == 507
    files.client.delete(f"{API}/trash")
    assert files.upload("outputs/two", bytes(2 * MB)).json()["complete"]


@pytest.mark.easel_settings(quota_gb=3 / 1024)
def test_a_quota_is_checked_during_an_upload(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from easel_extensions.filebrowser import quota

    monkeypatch.setattr(quota, "_FRESH", 0.0)
    id = files.begin("outputs/one", 2 * MB).json()["id"]
    files.send(id, bytes(MB))
    other = files.data / "outputs" / "picture.png"
    other.write_bytes(bytes(5 * MB // 2))  # made meanwhile
    refused = files.send(id, bytes(MB), MB)
    assert (refused.status_code, "are left" in refused.json()["detail"]) == (507, True)
    other.unlink()
    assert files.send(id, bytes(MB), MB).json()["complete"]


def test_more_than_the_disk_has_is_refused_at_once(files: Files) -> None:
    refused = files.begin("outputs/x", 1 << 60)
    assert (refused.status_code, "the disk has only" in refused.json()["detail"]) == (507, True)
    assert hidden(files) == []


def test_a_disk_that_is_full_in_the_middle(files: Files) -> None:
    target = files.data / "outputs"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", target], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        id = files.begin("outputs/x", 3 * MB).json()["id"]
        files.send(id, bytes(MB))
        (target / "other").write_bytes(bytes(2 * MB))  # somebody else was quicker
        refused = files.send(id, bytes(2 * MB), MB)
        assert (refused.status_code, "the disk" in refused.json()["detail"]) == (507, True)
        assert files.names("outputs") == ["other"]
    finally:
        subprocess.run(["umount", target], check=True)


def test_what_the_file_system_does_not_take_leaves_no_half_file(files: Files) -> None:
    id = files.begin("outputs/x", 3 * MB).json()["id"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MB, before[1]))
    try:
        refused = files.send(id, bytes(3 * MB))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (refused.status_code, "the disk is full" in refused.json()["detail"]) == (507, True)
    assert files.names("outputs") == hidden(files) == []
    assert files.get("uploads").json() == []


def test_what_waits_for_a_day_is_thrown_away(files: Files) -> None:
    old, young = (files.begin(f"outputs/{name}", 5).json()["id"] for name in ("old", "young"))
    files.send(old, b"abc")
    part = files.data / "outputs" / f".easel-{old}.part"
    os.utime(part, (1, 1))
    for on in (False, True):  # it looks when it is switched on, and then every hour
        files.app.switch_extension("filebrowser", on)
    assert [one["id"] for one in files.get("uploads").json()] == [young]
    assert not part.exists()


def test_uploads_outlive_a_restart_and_belong_to_one_person(files: Files, tmp_path: Path) -> None:
    from easel_extensions.filebrowser.quota import Quota
    from easel_extensions.filebrowser.space import Space
    from easel_extensions.filebrowser.uploads import Uploads

    from easel import NotFound, ScopedFiles

    both = ScopedFiles(files.data)
    kept = ScopedFiles(tmp_path)
    ann, bob = (Space(name, both, lambda *paths: None) for name in ("ann", "bob"))
    upload = Uploads(kept, Quota(0), lambda user: both).begin(ann, "outputs/x", 5, replace=False)
    later = Uploads(kept, Quota(0), lambda user: both)
    assert later.find(ann, upload.id) == upload
    assert later.of(bob) == []
    for ask in (later.find, later.take):
        with pytest.raises(NotFound):
            ask(bob, upload.id)
