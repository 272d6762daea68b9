"""Changing: folders, moving, copying, the trash; models that come and go; read-only disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Files


def test_folders(files: Files) -> None:
    made = files.post("folders", path="outputs/new/inner")
    assert (made.status_code, made.json()["path"]) == (201, "outputs/new/inner")
    assert files.post("folders", path="outputs/new").status_code == 409
    assert files.post("folders", path="outputs/nul").status_code == 422


def test_moving_and_renaming(files: Files) -> None:
    files.upload("outputs/a.txt", b"a")
    files.upload("outputs/b.txt", b"b")
    assert files.post("move", path="outputs/a.txt", to="outputs/c.txt").json()["path"] == "outputs/c.txt"
    taken = files.post("move", path="outputs/c.txt", to="outputs/b.txt")
    assert (taken.status_code, "already" in taken.json()["detail"]) == (409, True)
    assert files.post("move", path="outputs/nothing", to="outputs/d").status_code == 404
    assert files.post("move", path="outputs", to="outputs/inside").status_code == 422
    assert files.names("outputs") == ["b.txt", "c.txt"]


def test_what_is_replaced_goes_to_the_trash(files: Files) -> None:
    files.upload("outputs/a.txt", b"a")
    files.upload("outputs/b.txt", b"old")
    assert files.post("move", path="outputs/a.txt", to="outputs/b.txt", replace=True).status_code == 200
    assert files.upload("outputs/b.txt", b"newest", replace=True).json()["complete"]
    sizes = {item["size"] for item in files.get("trash").json()}
    assert ((files.data / "outputs/b.txt").read_bytes(), sizes) == (b"newest", {3, 1})
    assert files.post("move", path="outputs/b.txt", to="models", replace=True).status_code == 409  # never a folder


def test_copying(files: Files) -> None:
    files.upload("outputs/a/b.txt", b"b")
    assert files.post("copy", path="outputs/a", to="outputs/c").status_code == 201
    assert (files.data / "outputs/c/b.txt").read_bytes() == b"b"
    assert files.post("copy", path="outputs/a", to="outputs/c").status_code == 409


def test_deleting_restoring_emptying(files: Files) -> None:
    files.upload("outputs/a/b.txt", b"bb")
    files.upload("outputs/c.txt", b"c")
    deleted = files.post("trash", paths=["outputs/a", "outputs/c.txt"])
    assert [item["path"] for item in deleted.json()] == ["outputs/a", "outputs/c.txt"]
    assert files.names("outputs") == []
    last, first = files.get("trash").json()
    assert (last["path"], first["path"], first["size"], first["folder"]) == ("outputs/c.txt", "outputs/a", 2, True)
    assert files.get("room").json()["used"] >= 3
    assert files.post(f"trash/{first['id']}/restore").json()["path"] == "outputs/a"
    assert (files.data / "outputs/a/b.txt").read_bytes() == b"bb"
    files.upload("outputs/c.txt", b"another")
    assert files.post(f"trash/{last['id']}/restore").status_code == 409
    assert files.client.delete(f"/filebrowser/api/trash/{last['id']}").status_code == 204
    files.post("trash", paths=["outputs/a"])
    assert files.client.delete("/filebrowser/api/trash").status_code == 204
    assert files.get("trash").json() == []
    assert not list((files.data / ".filebrowser").rglob("*.txt"))


def test_restoring_makes_the_folder_again(files: Files) -> None:
    files.upload("outputs/a/b.txt", b"b")
    (item,) = files.post("trash", paths=["outputs/a/b.txt"]).json()
    files.post("trash", paths=["outputs/a"])
    assert files.post(f"trash/{item['id']}/restore").status_code == 200
    assert files.names("outputs/a") == ["b.txt"]


def test_the_trash_cannot_be_named(files: Files) -> None:
    files.upload("outputs/a.txt", b"a")
    (item,) = files.post("trash", paths=["outputs/a.txt"]).json()
    assert ".filebrowser" not in files.names()
    for path in (".filebrowser", f".FileBrowser/trash/{item['id']}/a.txt"):
        assert files.get("file", path=path).status_code == 403
        assert files.post("trash", paths=[path]).status_code == 403
    for id in ("nothing", "..", f"{item['id']}.json"):
        assert files.client.delete(f"/filebrowser/api/trash/{id}").status_code in (404, 405)
    assert files.post("trash/../restore").status_code in (404, 405)


@pytest.mark.parametrize("name", ["models", "models/Stable-diffusion"])
def test_folders_with_what_is_not_theirs_and_the_root_stay(name: str, files: Files) -> None:
    for body in ({"paths": [""]}, {"paths": ["extensions"]}, {"paths": []}):
        assert files.post("trash", **body).status_code in (403, 422)
    assert files.post("trash", paths=[name]).status_code == 201  # theirs, and it comes back
    (item,) = files.get("trash").json()
    assert files.post(f"trash/{item['id']}/restore").status_code == 200


def test_a_model_that_was_sent_is_found(files: Files) -> None:
    def titles() -> list[str]:
        return [one["model_name"] for one in files.client.get("/sdapi/v1/sd-vae").json()]

    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    assert files.upload("models/VAE/mine.safetensors", weights).json()["complete"]
    assert "mine.safetensors" in titles()
    (item,) = files.post("trash", paths=["models/VAE/mine.safetensors"]).json()
    assert "mine.safetensors" not in titles()
    files.post(f"trash/{item['id']}/restore")
    files.post("move", path="models/VAE/mine.safetensors", to="models/VAE/other.safetensors")
    assert "other.safetensors" in titles()


def test_a_read_only_disk_can_be_looked_at_and_says_so(read_only: Path, files: Files) -> None:
    listing = files.get("list", path="models").json()
    assert (listing["writable"], [item["name"] for item in listing["items"]]) == (False, ["model.safetensors"])
    assert files.get("file", path="models/model.safetensors").content == b"weights"
    files.upload("outputs/mine", b"x")
    for refused in (
        files.upload("models/new", b"x"),
        files.upload("models/model.safetensors", b"x", replace=True),
        files.post("folders", path="models/new"),
        files.post("move", path="models/model.safetensors", to="models/other"),
        files.post("move", path="models/model.safetensors", to="outputs/other"),
        files.post("move", path="outputs/mine", to="models/mine"),
        files.post("copy", path="outputs/mine", to="models/mine"),
        files.post("trash", paths=["models/model.safetensors"]),
    ):
        assert refused.status_code == 403
        assert "read-only" in refused.json()["detail"]
    assert files.names("models") == ["model.safetensors"]
    assert files.names("outputs") == ["mine"]
    assert files.get("trash").json() == []
    assert files.get("uploads").json() == []
