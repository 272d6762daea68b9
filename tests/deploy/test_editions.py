"""The matrix of editions: each starts from PAI-EAS' own JSON, but for its paths, and does what its row says."""

from __future__ import annotations

import base64
import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from .test_services import PATIENCE, Run, free_port, run, state
from .test_validate import ASYNC, NFS, STANDARD

__all__ = ["run"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SMALL = {"prompt": "cute dog", "steps": 1, "width": 64, "height": 64}


class Deployed:
    """A service that was deployed from the seed's file, as a client sees it."""

    def __init__(self, folder: Path, run: Run, file: dict[str, Any], **metadata: Any) -> None:
        self.folder, self.port = folder, free_port()
        data = copy.deepcopy(file)
        data["metadata"] |= metadata
        self.name = str(data["metadata"]["name"])
        self.mount = folder / "code" / "data"
        data["storage"][0]["mount_path"] = str(self.mount)
        container = data["containers"][0]
        line = container["script"].replace("--port 8000", f"--port {self.port}")
        container |= {"script": line.replace("/code/stable-diffusion-webui/data", str(self.mount)), "port": self.port}
        written = folder / "service.json"
        written.write_text(json.dumps(data))
        status, said = run("deploy", written)
        assert status == 0, said
        token = folder / "root/services" / self.name / "token"
        headers = {"Authorization": token.read_text().strip()} if token.exists() else {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=PATIENCE)

    @property
    def workers(self) -> int:
        gateway = psutil.Process(state(self.folder, self.name)["service"]["pid"])
        return len(gateway.children())

    def picture(self, **more: Any) -> httpx.Response:
        return self.http.post("/sdapi/v1/txt2img", json=SMALL | more)

    def page(self) -> bool:
        answer = self.http.get("/")
        return answer.status_code == 200 and "gradio" in answer.text


@pytest.fixture
def deploy(tmp_path: Path, run: Run) -> Iterator[Callable[..., Deployed]]:
    """Deploy a file, with another `metadata`."""
    made: list[Deployed] = []

    def make(file: dict[str, Any], **metadata: Any) -> Deployed:
        made.append(Deployed(tmp_path, run, file, **metadata))
        return made[-1]

    yield make
    for one in made:
        one.http.close()


Deploy = Callable[..., Deployed]


def test_standard(deploy: Deploy) -> None:
    one = deploy(STANDARD)
    assert one.page()
    assert len(one.picture().json()["images"]) == 1
    assert one.http.get("/filebrowser/").status_code == 200
    told = one.http.get(f"/api/predict/{one.name}/sink?_index_=0")
    assert (told.status_code, "the api edition has one" in told.text) == (501, True)
    assert (one.mount / "models" / "Stable-diffusion").is_dir()


def test_api(deploy: Deploy) -> None:
    one = deploy(ASYNC)
    told = one.http.get("/")
    assert (told.status_code, "no web page" in told.text) == (404, True)
    assert one.http.get("/filebrowser/").status_code == 404
    assert len(one.picture().json()["images"]) == 1
    assert one.http.post(f"/api/predict/{one.name}/sdapi/v1/txt2img", json=SMALL).status_code == 200
    answer = one.http.get(f"/api/predict/{one.name}/sink?_index_=0&_length_=1&_timeout_=60s&_raw_=false")
    result = json.loads(base64.b64decode(answer.json()[0]["data"]))
    assert result["parameters"]["status"] == 0
    saved = Path(result["parameters"]["image_url"])
    assert saved.is_relative_to(one.mount) and saved.is_file()


def test_serverless(deploy: Deploy) -> None:
    scaler = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}}, "min": 0, "max": 1}
    file = STANDARD | {"autoscaler": scaler, "storage": [NFS]}
    one = deploy(file, edition="serverless")
    assert one.page() and one.workers == 0
    assert one.http.get("/sdapi/v1/sd-models").json()[0]["title"].startswith("starter")
    extensions = {row["name"] for row in one.http.get("/sdapi/v1/extensions").json()}
    assert {"lora", "controlnet"} <= extensions  # PAI-EAS' own has none
    assert one.workers == 0
    begin = time.monotonic()
    assert len(one.picture().json()["images"]) == 1
    assert one.http.get("/easel/v1/jobs").json()[0]["cold_start"] > 0
    assert one.workers == 1
    gone(lambda: one.workers == 0)
    assert time.monotonic() - begin > 3


def test_cluster(deploy: Deploy, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operator's guide has it: the first start makes an operator; users are added while it runs."""
    monkeypatch.delenv("COMMANDLINE_ARGS")  # `easel users` heeds it, as the service of a webui-user.sh does
    one = deploy(STANDARD, edition="cluster")
    assert "This service has its first user, the operator 'admin'" in run("logs", one.name)[1]
    assert one.picture().status_code == 401
    told = run("info", one.name, "--endpoints")[1]
    words = told[told.index("easel users token admin ") :].split()
    tokens = {"admin": run(*words[1:])[1].split()[-1]}
    for name in ("ann", "bob"):
        status, said = run("users", "add", name, *words[4:])
        assert status == 0, said
        tokens[name] = said.split()[-1]
    for name in ("ann", "bob"):
        one.http.headers["Authorization"] = tokens[name]
        assert one.page() and len(one.picture(save_images=True).json()["images"]) == 1
        assert len(one.http.get("/easel/v1/jobs").json()) == 1  # and not the other's
        assert one.http.get("/internal/sysinfo").status_code == 403
        (saved,) = (one.mount / "users" / name / "outputs").rglob("*.png")
        assert one.http.get(f"/file={saved}").content == saved.read_bytes()
    assert one.http.get(f"/file={next((one.mount / 'users' / 'ann').rglob('*.png'))}").status_code in (403, 404)
    one.http.headers["Authorization"] = tokens["admin"]
    assert len(one.http.get("/easel/v1/jobs").json()) == 2
    assert run("users", "disable", "bob", *words[4:])[0] == 0
    one.http.headers["Authorization"] = tokens["bob"]
    assert one.picture().status_code == 403


def gone(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.1)
