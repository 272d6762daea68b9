"""Looking: lists, search, text, pictures and their generation data, room."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from .conftest import Files, picture

INFOTEXT = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 600x400"


def test_the_data_folder_without_state_code_and_other_peoples_files(files: Files) -> None:
    for name in ("extensions", "users", ".easel"):
        (files.data / name).mkdir(exist_ok=True)
    assert files.names() == ["embeddings", "models", "outputs"]


def test_a_folder_is_sorted_and_comes_in_parts(files: Files) -> None:
    for name, size in (("b.txt", 3), ("A.txt", 1), ("c.bin", 2)):
        (files.data / "outputs" / name).write_bytes(bytes(size))
    (files.data / "outputs" / "z").mkdir()
    assert files.names("outputs") == ["z", "A.txt", "b.txt", "c.bin"]
    by_size = files.get("list", path="outputs", sort="size", descending=True).json()
    assert [item["name"] for item in by_size["items"]] == ["z", "b.txt", "c.bin", "A.txt"]
    part = files.get("list", path="outputs", begin=1, limit=2).json()
    assert ([item["name"] for item in part["items"]], part["total"]) == (["A.txt", "b.txt"], 4)
    assert part["items"][0] | {"modified": 0} == {
        "name": "A.txt", "path": "outputs/A.txt", "kind": "text", "size": 1, "modified": 0,
    }  # fmt: skip


def test_searching_by_a_part_of_a_name_or_a_pattern(files: Files) -> None:
    for name in ("outputs/one/Red Cat.png", "outputs/two/cat.txt", "outputs/dog.png"):
        files.upload(name, b"x")

    def found(name: str, path: str = "") -> set[str]:
        return {item["path"] for item in files.get("search", name=name, path=path).json()["items"]}

    assert found("CAT") == {"outputs/one/Red Cat.png", "outputs/two/cat.txt"}
    assert found("*.png") == {"outputs/one/Red Cat.png", "outputs/dog.png"}
    assert found("cat", "outputs/two") == {"outputs/two/cat.txt"}
    assert files.get("search", name=" ").status_code == 422


def test_a_search_that_finds_too_much_says_so(files: Files) -> None:
    for number in range(501):
        (files.data / "outputs" / f"{number}.txt").write_text("")
    answer = files.get("search", name=".txt").json()
    assert (len(answer["items"]), answer["complete"]) == (500, False)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_generation_data_of_what_easel_saved(format: str, files: Files) -> None:
    body = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64, "save_images": True, "seed": 5}
    options = {"samples_format": format.lower()}
    files.client.post("/sdapi/v1/txt2img", json=body | {"override_settings": options}).raise_for_status()
    (item,) = (one for one in files.get("search", name="*").json()["items"] if one["kind"] == "picture")
    details = files.get("details", path=item["path"]).json()
    assert details["infotext"].startswith("a cat\nSteps: 1,")
    assert "Seed: 5" in details["infotext"]
    assert (details["width"], details["height"], details["problem"]) == (64, 64, "")


def test_details_of_other_files_and_of_damaged_pictures(files: Files) -> None:
    files.upload("outputs/note.txt", b"hello")
    files.upload("outputs/broken.png", b"not a picture")
    assert files.get("details", path="outputs/note.txt").json()["item"]["kind"] == "text"
    assert "not a picture" in files.get("details", path="outputs/broken.png").json()["problem"]
    assert files.get("thumbnail", path="outputs/broken.png").status_code == 422
    assert files.get("thumbnail", path="outputs/note.txt").status_code == 422


def test_thumbnails_are_small_pictures_and_follow_changes(files: Files) -> None:
    files.upload("outputs/cat.png", picture())
    first = files.get("thumbnail", path="outputs/cat.png", side=128)
    assert first.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(first.content)).size == (128, 85)
    files.upload("outputs/cat.png", picture(size=(50, 100)), replace=True)
    assert Image.open(BytesIO(files.get("thumbnail", path="outputs/cat.png", side=128).content)).size == (50, 100)
    assert "allowed: 128, 256, 512" in files.get("thumbnail", path="outputs/cat.png", side=5000).json()["detail"]


def test_thumbnails_are_kept_outside_of_the_persons_files(files: Files) -> None:
    files.upload("outputs/cat.png", picture())
    files.get("thumbnail", path="outputs/cat.png")
    kept = files.app.settings.state_dir / "extensions" / "filebrowser" / "thumbnails"
    assert len(list(kept.rglob("*.webp"))) == 1
    assert files.get("search", name="webp").json()["items"] == []


def test_a_picture_of_too_many_pixels_is_not_decoded(files: Files) -> None:
    header = picture(size=(1, 1))
    bomb = header[:16] + (30_000).to_bytes(4, "big") * 2 + header[24:]  # IHDR: 900 million pixels
    files.upload("outputs/bomb.png", bomb)
    assert files.get("thumbnail", path="outputs/bomb.png").status_code in (413, 422)
    assert files.get("details", path="outputs/bomb.png").json()["problem"]


def test_texts_are_shown_up_to_a_megabyte(files: Files) -> None:
    files.upload("outputs/long.txt", b"x" * (2 << 20))
    answer = files.get("text", path="outputs/long.txt").json()
    assert (len(answer["text"]), answer["complete"]) == (1 << 20, False)
    files.upload("outputs/short.csv", "ä,ö".encode())
    assert files.get("text", path="outputs/short.csv").json() == {"text": "ä,ö", "complete": True}
    files.upload("outputs/binary.txt", b"\0\1")
    assert files.get("text", path="outputs/binary.txt").status_code == 422


def test_room(files: Files) -> None:
    files.upload("outputs/x", bytes(1000))
    room = files.get("room").json()
    assert room["used"] == 1000
    assert room["quota"] is None
    assert room["free"] > 1 << 20
