"""Downloads: ranges, what browsers may show, archives."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Any

import pytest

from .conftest import API, Files, picture

DATA = bytes(range(256)) * 40


@pytest.fixture
def get(files: Files) -> Any:
    """`get(range, **headers)`: a file of 10240 bytes."""
    files.upload("outputs/data.bin", DATA)

    def get(range: str = "", **headers: str) -> Any:
        sent = {"Range": range} if range else {}
        return files.client.get(f"{API}/file?path=outputs/data.bin", headers=sent | headers)

    return get


def test_ranges(get: Any) -> None:
    for range, begin, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10000-", 10000, 10240),
        ("bytes=-5", 10235, 10240),
        ("bytes=0-99999999", 0, 10240),
        ("bytes=-99999999", 0, 10240),
    ):
        answer = get(range)
        assert (answer.status_code, answer.content) == (206, DATA[begin:end])
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/10240"
        assert answer.headers["content-length"] == str(end - begin)


def test_ranges_that_are_not_there(get: Any) -> None:
    for range in ("bytes=10240-", "bytes=-0", "bytes=999999999999-"):
        answer = get(range)
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10240")


def test_what_is_no_single_range_gets_the_whole_file(get: Any) -> None:
    for range in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-", f"bytes={'9' * 5000}-"):
        answer = get(range)
        assert (answer.status_code, answer.content) == (200, DATA)


def test_a_download_goes_on_only_with_the_same_file(get: Any, files: Files) -> None:
    etag = get().headers["etag"]
    assert get("bytes=5-", **{"If-Range": etag}).status_code == 206
    assert get(**{"If-None-Match": etag}).status_code == 304
    files.upload("outputs/data.bin", DATA[::-1], replace=True)
    changed = get("bytes=5-", **{"If-Range": etag})
    assert (changed.status_code, changed.content) == (200, DATA[::-1])


def test_downloads_are_not_compressed_on_the_way(get: Any) -> None:
    answer = get(**{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == "10240"


def test_asking_for_the_head_only(files: Files) -> None:
    files.upload("outputs/cat.png", picture())
    answer = files.client.head(f"{API}/file?path=outputs/cat.png&inline=true")
    assert (answer.status_code, answer.content, answer.headers["accept-ranges"]) == (200, b"", "bytes")
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize("inline", [False, True])
def test_nothing_scriptable_is_ever_shown_in_place(inline: bool, files: Files) -> None:
    for name in (
        "x.html",
        "x.svg",
        "x.xml",
        "x.xhtml",
        "x.php",
        "x.js",
        "x.pdf",
        "x.htm",
        "X.HTML",
        "png",
        "x.png.html",
    ):
        files.upload(f"outputs/{name}", b"<script>alert(1)</script>")
        answer = files.client.get(f"{API}/file", params={"path": f"outputs/{name}", "inline": inline})
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_script_that_calls_itself_a_picture_stays_a_picture(files: Files) -> None:
    files.upload("outputs/x.png", b"<script>alert(1)</script>")
    answer = files.client.get(f"{API}/file?path=outputs/x.png&inline=true")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")


def test_odd_names_survive_the_header(files: Files) -> None:
    name = 'a "quoted" 猫;, name%.txt'
    files.upload(f"outputs/{name}", b"x")
    header = files.get("file", path=f"outputs/{name}").headers["content-disposition"]
    assert header.isascii()
    assert "filename*=UTF-8''a%20%22quoted%22%20%E7%8C%AB%3B%2C%20name%25.txt" in header


def archive(answer: Any) -> zipfile.ZipFile:
    assert answer.status_code == 200
    opened = zipfile.ZipFile(BytesIO(answer.content))
    assert opened.testzip() is None
    return opened


def test_a_folder_and_a_selection_as_an_archive(files: Files) -> None:
    files.upload("outputs/day/cat.bin", DATA)
    files.upload("outputs/day/deep/ü.txt", b"u")
    files.upload("outputs/other.txt", b"o")
    answer = files.get("zip", path="outputs/day")
    assert 'filename="day.zip"' in answer.headers["content-disposition"]
    assert set(archive(answer).namelist()) == {"day/", "day/cat.bin", "day/deep/", "day/deep/ü.txt"}
    assert archive(answer).read("day/cat.bin") == DATA
    chosen = archive(files.get("zip", path=["outputs/day/cat.bin", "outputs/other.txt"]))
    assert chosen.namelist() == ["cat.bin", "other.txt"]
    everything = archive(files.get("zip", path=""))
    assert "outputs/day/deep/ü.txt" in everything.namelist()
    assert not [name for name in everything.namelist() if name.startswith((".", "/"))]


def test_archives_of_what_is_not_there_or_twice(files: Files) -> None:
    for folder in ("outputs/a", "outputs/b"):
        files.upload(f"{folder}/x", b"")
    assert files.get("zip", path="nothing").status_code == 404
    assert files.get("zip", path=["outputs/a/x", "outputs/b/x"]).status_code == 422
    assert files.get("zip").status_code == 422
    assert files.get("zip", path=["outputs/a", ".easel"]).status_code == 403


@pytest.mark.long
def test_an_archive_of_more_than_4_gb(files: Files, tmp_path: Any) -> None:
    with (files.data / "outputs" / "huge").open("wb") as file:
        file.truncate(4200 << 20)
    size = 0
    with files.client.stream("GET", f"{API}/zip?path=outputs/huge") as answer, (tmp_path / "z.zip").open("wb") as saved:
        for block in answer.iter_bytes():
            size += len(block)
            saved.write(block) if any(block) else saved.seek(len(block), 1)
    assert size > 4200 << 20
    with zipfile.ZipFile(tmp_path / "z.zip") as opened:
        assert opened.getinfo("huge").file_size == 4200 << 20
