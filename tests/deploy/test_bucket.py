"""A storage in a bucket and its folder here: both ways, on fsspec's own file system and on a real S3 server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from easel.deploy.bucket import Bucket, BucketPlace, file_system
from easel.errors import EaselError

from .test_services import Run, run, service_file

__all__ = ["run"]
Sides = tuple[Bucket, Any, Path]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.long)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A bucket `shop` in a file system of fsspec, and its endpoint."""
    if request.param == "folder":
        yield DirFileSystem(str(tmp_path / "there"), LocalFileSystem(auto_mkdir=True)), ""
    else:
        yield request.getfixturevalue("s3")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    moto_server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "secret")
    endpoint = f"http://{host}:{port}"
    httpx.post(f"{endpoint}/moto-api/reset")  # the servers of one process share what they hold
    found = file_system(BucketPlace("oss://shop/data", endpoint, ""))
    found.mkdir("shop")
    yield found, endpoint
    server.stop()


@pytest.fixture
def sides(system: tuple[Any, str], tmp_path: Path) -> Callable[..., Sides]:
    """A bucket with a model, and its empty folder."""
    found, endpoint = system
    found.pipe_file("shop/data/models/Lora/cat.safetensors", b"cat")
    found.pipe_file("shop/elsewhere", b"not below the folder")

    def make(name: str = "here", **changes: bool) -> Sides:
        place = BucketPlace("oss://shop/data", endpoint, str(tmp_path / name), **changes)
        return Bucket(found, place), found, tmp_path / name

    return make


def write(file: Path, data: bytes, age: float = 60) -> None:
    """A file that was written so many seconds ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (time.time() - age,) * 2)


def files(folder: Path) -> list[str]:
    plain = (one for one in folder.rglob("*") if one.is_file() and not one.is_symlink() and one.name[0] != ".")
    return sorted(str(one.relative_to(folder)) for one in plain)


def test_both_ways(sides: Callable[..., Sides]) -> None:
    bucket, there, here = sides()
    assert (bucket.take(), files(here)) == (1, ["models/Lora/cat.safetensors"])
    write(here / "outputs/1.png", b"picture")
    write(here / "outputs/2.png", b"half of", age=0)
    write(here / "outputs/.easel-1.tmp", b"being written")
    (here / "outputs" / "link").symlink_to("/etc/passwd")
    assert (bucket.give(), bucket.give(), bucket.take()) == (1, 0, 0)
    assert there.cat_file("shop/data/outputs/1.png") == b"picture"
    assert bucket.give(all_of_it=True) == 1
    assert sorted(path.rpartition("/")[2] for path in there.find("shop/data/outputs")) == ["1.png", "2.png"]

    there.pipe_file("shop/data/models/Lora/cat.safetensors", b"larger cat")  # changed there
    there.rm_file("shop/data/outputs/2.png")  # deleted there
    assert bucket.take() == 2
    assert (here / "models/Lora/cat.safetensors").read_bytes() == b"larger cat"
    (here / "outputs/1.png").unlink()  # deleted here
    assert bucket.give() == 1
    assert files(here) == ["models/Lora/cat.safetensors"]
    assert not there.exists("shop/data/outputs/1.png") and there.exists("shop/elsewhere")


def test_what_both_changed_is_as_the_folder_has_it(sides: Callable[..., Sides]) -> None:
    bucket, there, here = sides()
    bucket.take()
    there.pipe_file("shop/data/models/Lora/cat.safetensors", b"theirs")
    write(here / "models/Lora/cat.safetensors", b"ours!")
    assert (bucket.take(), bucket.give(), bucket.take()) == (0, 1, 0)
    assert there.cat_file("shop/data/models/Lora/cat.safetensors") == b"ours!"


def test_a_folder_that_was_lost_is_fetched_again_and_nothing_deleted(sides: Callable[..., Sides]) -> None:
    bucket, there, here = sides()
    bucket.take()
    for one in here.rglob("*"):
        if one.is_file():
            one.unlink()
    assert bucket.give() == 0
    assert there.exists("shop/data/models/Lora/cat.safetensors")
    assert bucket.take() == 1


def test_a_read_only_bucket_is_never_changed_and_wins(sides: Callable[..., Sides]) -> None:
    bucket, there, here = sides(read_only=True)
    bucket.take()
    write(here / "models/Lora/cat.safetensors", b"ours!")
    write(here / "mine", b"x")
    assert bucket.give(all_of_it=True) == 0
    assert bucket.take() == 1
    (here / "models/Lora/cat.safetensors").unlink()
    assert bucket.take() == 1
    assert (here / "models/Lora/cat.safetensors").read_bytes() == b"cat"
    assert there.find("shop/data") and not there.exists("shop/data/mine")


def test_two_folders_agree_through_the_bucket(sides: Callable[..., Sides]) -> None:
    (one, _, first), (two, _, second) = sides("first"), sides("second")
    one.take(), two.take()
    write(first / "outputs/1.png", b"1")
    write(second / "outputs/2.png", b"2")
    one.give(), two.give(), one.take(), two.take()
    assert files(first) == files(second) == ["models/Lora/cat.safetensors", "outputs/1.png", "outputs/2.png"]


def test_a_real_bucket_whose_names_lead_out(s3: tuple[Any, str], tmp_path: Path) -> None:
    there, endpoint = s3
    for name in ("a", "../../evil", "a/../../../evil", ".easel-bucket.json"):
        there.pipe_file(f"shop/data/{name}", b"x")
    bucket = Bucket(there, BucketPlace("oss://shop/data", endpoint, str(tmp_path / "here")))
    bucket.take()
    assert files(tmp_path) == ["here/a"]
    write(tmp_path / "here" / "outputs" / "1.png", b"picture")
    assert (bucket.give(), bucket.take()) == (1, 0)
    assert there.cat_file("shop/data/outputs/1.png") == b"picture"


def test_a_bucket_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    place = BucketPlace("oss://shop/data", "http://127.0.0.1:9", str(tmp_path))
    with pytest.raises(EaselError, match=r"oss://shop/data at http://127\.0\.0\.1:9"):
        Bucket(file_system(place), place).take()


@pytest.mark.long
def test_a_service_on_a_bucket(s3: tuple[Any, str], tmp_path: Path, run: Run) -> None:
    there, endpoint = s3
    there.pipe_file("shop/data/styles.csv", b"name,prompt,negative_prompt\nsunny,in the sun,\n")
    file, port = service_file(tmp_path, "on_bucket", "--nowebui --no-auth")
    data = json.loads(file.read_text())
    data["storage"][0]["oss"] = {"path": "oss://shop/data", "endpoint": endpoint}
    file.write_text(json.dumps(data))
    status, said = run("deploy", file)
    assert status == 0, said
    assert "Creating: its buckets are fetched" in run("logs", "on_bucket", "-n", 100)[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as http:
        assert "sunny" in http.get("/sdapi/v1/prompt-styles").text
        body = {"prompt": "cute dog", "steps": 1, "width": 64, "height": 64, "save_images": True}
        assert http.post("/sdapi/v1/txt2img", json=body).status_code == 200
    assert run("stop", "on_bucket")[0] == 0
    (saved,) = there.find("shop/data/outputs")
    assert there.cat_file(saved)[:4] == b"\x89PNG"
