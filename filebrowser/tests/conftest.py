"""What the tests of the file manager share: a client that speaks of paths, and a real server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from PIL.PngImagePlugin import PngInfo

API = "/filebrowser/api"


class Files:
    """The API in short words; `data` is the data folder on disk, `app` the service."""

    def __init__(self, client: Any) -> None:
        self.client, self.app = client, client.app.state.easel
        self.data: Path = self.app.settings.data_dir

    def get(self, what: str, **query: Any) -> Any:
        return self.client.get(f"{API}/{what}", params=query)

    def post(self, what: str, **body: Any) -> Any:
        return self.client.post(f"{API}/{what}", json=body)

    def names(self, path: str = "") -> list[str]:
        return [item["name"] for item in self.get("list", path=path).json()["items"]]

    def begin(self, path: str, size: int, **more: Any) -> Any:
        return self.post("uploads", path=path, size=size, **more)

    def send(self, id: str, data: bytes, offset: int = 0) -> Any:
        return self.client.put(f"{API}/uploads/{id}", params={"offset": offset}, content=data)

    def upload(self, path: str, data: bytes, **more: Any) -> Any:
        """Announce and send at once; the answer of the last call."""
        begun = self.begin(path, len(data), **more)
        return begun if begun.status_code != 201 or not data else self.send(begun.json()["id"], data)


@pytest.fixture
def files(request: pytest.FixtureRequest, easel_module_client: Any) -> Files:
    """A service with an empty data folder; a test with settings of its own has one of its own."""
    if request.node.get_closest_marker("easel_settings"):
        return Files(request.getfixturevalue("easel_client"))
    files = Files(easel_module_client)
    state = files.app.settings.state_dir
    kept = state / "extensions" / "filebrowser"
    for place in (*files.data.iterdir(), *files.data.parent.iterdir(), *kept.iterdir()):
        if place not in (state, files.data):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    files.app.store.make_tree()
    files.app.refresh_models()
    return files


@pytest.fixture
def port(files: Files) -> Iterator[int]:
    """The same service behind a real server, at this port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(files.client.app, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def read_only(files: Files) -> Iterator[Path]:
    """`models/` on a disk that is read only, with a file in it."""
    target = files.data / "models"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", target], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (target / "model.safetensors").write_bytes(b"weights")
        subprocess.run(["mount", "-o", "remount,ro", target], check=True)
        yield target
    finally:
        subprocess.run(["umount", target], check=True)


def picture(infotext: str = "", size: tuple[int, int] = (600, 400), format: str = "PNG") -> bytes:
    """A picture file."""
    text = PngInfo()
    if infotext:
        text.add_text("parameters", infotext)
    file = BytesIO()
    Image.new("RGB", size, "teal").save(file, format, **({"pnginfo": text} if format == "PNG" else {}))
    return file.getvalue()
