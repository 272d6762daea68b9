"""Paths in requests and answers: the data folder by the name that clients know, and storages that nothing changes."""

from __future__ import annotations

from .conftest import Serve

MOUNT = "/mnt/sd/data"
SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


def test_paths_are_as_clients_know_them(serve: Serve) -> None:
    service = serve("--nowebui", "--mount-path", MOUNT, "--read-only", f"{MOUNT}/models/shared", "/mnt/pictures")
    (service.data / "models" / "shared").mkdir(parents=True)
    for asked in (f"{MOUNT}/outputs/mine", "outputs/mine"):
        answer = service.post("txt2img", SMALL | {"alwayson_scripts": {"save_dir": asked}})
        saved = answer["parameters"]["image_url"]
        assert saved.startswith(f"{MOUNT}/outputs/mine/")
        assert (service.data / saved.removeprefix(f"{MOUNT}/")).is_file()
        assert str(service.data) not in str(answer)
    for asked in (f"{MOUNT}/models/shared", "models/shared/new", "/mnt/pictures/mine"):
        status, told = service.refused("txt2img", SMALL | {"alwayson_scripts": {"save_dir": asked}})
        assert (status, "is read-only" in told, str(service.data) in told) == (403, True, False)
    assert list((service.data / "models" / "shared").iterdir()) == []
