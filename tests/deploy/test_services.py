"""`easel deploy` and its sisters, with real processes: supervisor, gateway, worker, the starter."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from easel.cli import main

Run = Callable[..., tuple[int, str]]
PATIENCE = 300.0  # seconds; other programs may be at work here


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """A command with a root of its own: its status and all its words. Services are deleted in the end."""
    monkeypatch.setenv("EASEL_DEPLOY_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("COMMANDLINE_ARGS", "--bogus")  # of the operator's shell, not of the service

    def command(*words: object) -> tuple[int, str]:
        status = main([str(word) for word in words])
        told = capfd.readouterr()
        return status, told.out + told.err

    yield command
    for line in command("list")[1].splitlines():
        command("delete", line.split()[0])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def service_file(folder: Path, name: str, flags: str = "", **parts: Any) -> tuple[Path, int]:
    """A file like PAI-EAS' own, with the line of `webui.sh`, a mount path below `folder` and a free port."""
    port = free_port()
    mount = folder / "code" / "data-oss"
    line = f"./webui.sh --listen --port {port} --skip-version-check --no-hashing --no-download-sd-model "
    line += f"--skip-prepare-environment --api-log --time-log --data-dir={mount} {flags}"
    data = {
        "metadata": {"name": name, "instance": 1},
        "containers": [{"image": "registry/sd:4.2", "script": line, "port": port}],
        "storage": [{"oss": {"path": "oss://bucket/data"}, "mount_path": str(mount)}],
    } | parts
    file = folder / f"{name}.json"
    file.write_text(json.dumps(data))
    return file, port


def state(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "root" / "services" / name / "state.json").read_text())
    return found


def state_url(folder: Path, name: str) -> str:
    found = json.loads((folder / "root" / "services" / name / "deployed.json").read_text())
    return str(found["url"])


def wait_for(folder: Path, name: str, *, restarts: int) -> None:
    until = time.monotonic() + 120
    while (found := state(folder, name))["state"] != "Running" or found["restarts"] != restarts:
        assert time.monotonic() < until, found
        time.sleep(0.1)


def test_a_service_lives(tmp_path: Path, run: Run) -> None:
    metadata = {"name": "sd_async", "type": "Async", "rpc.worker_threads": 1}
    file, port = service_file(tmp_path, "sd_async", metadata=metadata, queue={"max_delivery": 2, "memory": 64})
    status, said = run("deploy", file)
    assert status == 0, said
    assert said.index("Creating") < said.index("Running")
    folder, mount = tmp_path / "root" / "services" / "sd_async", tmp_path / "code" / "data-oss"
    token = (folder / "token").read_text().strip()
    assert token not in Path(f"/proc/{state(tmp_path, 'sd_async')['service']['pid']}/cmdline").read_text()

    base = f"http://127.0.0.1:{port}"
    endpoints = run("info", "--endpoints")[1]
    for text in (f"input    {base}/api/predict/sd_async\n", "/api/predict/sd_async/sink\n", f"token    {token}\n"):
        assert text in endpoints
    body = {"prompt": "cute dog", "steps": 1, "width": 64, "height": 64}
    body |= {"alwayson_scripts": {"save_dir": f"{mount}/outputs/mine"}}
    assert httpx.post(f"{base}/sdapi/v1/txt2img", json=body).status_code == 401
    answer = httpx.post(f"{base}/sdapi/v1/txt2img", json=body, headers={"Authorization": token}, timeout=200)
    assert answer.status_code == 200, answer.text
    saved = answer.json()["parameters"]["image_url"]
    assert saved.startswith(f"{mount}/outputs/mine/")
    assert (tmp_path / "root/storage/oss-bucket_data" / Path(saved).relative_to(mount)).read_bytes()[:4] == b"\x89PNG"

    status, said = run("deploy", file)
    assert (status, "there is a service 'sd_async' already" in said) == (2, True)
    other, _ = service_file(tmp_path, "sd_two")
    other.write_text(file.read_text().replace("sd_async", "sd_two"))
    status, said = run("deploy", other)
    assert (status, f"port {port} belongs to the service 'sd_async'" in said) == (2, True)

    os.kill(state(tmp_path, "sd_async")["service"]["pid"], signal.SIGKILL)
    wait_for(tmp_path, "sd_async", restarts=1)
    assert "Restarting: ended by signal 9" in run("logs", "sd_async", "-n", 1000)[1]
    assert run("list")[1] == f"sd_async  Running  api  {base}\n"

    gateway = state(tmp_path, "sd_async")["service"]["pid"]
    assert run("scale", "sd_async", 0)[0] == 0
    assert "Stopped" in run("status", "sd_async")[1]
    assert not Path(f"/proc/{gateway}").exists()
    assert "Application shutdown complete" in (folder / "service.log").read_text()  # gently
    assert run("delete", "sd_async")[0] == 0
    assert run("list")[1] == ""
    storage = tmp_path / "root/storage/oss-bucket_data"
    assert (storage / Path(saved).relative_to(tmp_path / "code/data-oss")).is_file()


def test_a_service_that_cannot_start_says_why(tmp_path: Path, run: Run) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "notes.txt").write_text("no folder")
    storage = [{"local": {"path": str(tmp_path)}, "mount_path": str(tmp_path / "code" / "data-oss")}]
    file, _ = service_file(tmp_path, "broken", f"--state-dir {tmp_path}/notes.txt", storage=storage)
    status, said = run("deploy", file)
    assert status == 1
    assert "broken  Failed: ended with status" in said
    assert "notes.txt" in said or "Not a directory" in said or "File exists" in said
    status, said = run("status", "broken", "--json")
    assert (status, json.loads(said)["state"]) == (1, "Failed")


def test_a_mount_path_goes_with_its_last_service(tmp_path: Path, run: Run) -> None:
    mount, own = tmp_path / "code" / "data-oss", tmp_path / "own"
    mount.parent.mkdir()
    mount.symlink_to(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("no folder")
    for name in ("first", "second"):  # neither can start, which is quick
        file, _ = service_file(tmp_path, name, f"--state-dir {tmp_path}/notes.txt")
        assert "Failed" in run("deploy", file)[1]
    assert run("delete", "first")[0] == 0
    assert mount.is_dir() and mount.is_symlink()
    assert run("delete", "second")[0] == 0
    assert not mount.is_symlink() and (tmp_path / "root/storage/oss-bucket_data").is_dir()
    own.mkdir()
    mount.symlink_to(own)
    file, _ = service_file(tmp_path, "third")
    status, said = run("deploy", file)
    assert status == 2 and f"the mount path {mount} exists and is not" in said
    assert mount.is_symlink()


def test_a_deploy_that_is_refused_leaves_no_mount_path(tmp_path: Path, run: Run) -> None:
    own, taken = tmp_path / "own", tmp_path / "taken"
    own.mkdir()
    taken.mkdir()
    file, _ = service_file(tmp_path, "refused")
    said = json.loads(file.read_text())
    said["storage"].append({"local": {"path": str(own)}, "mount_path": str(taken)})
    file.write_text(json.dumps(said))
    status, answer = run("deploy", file)
    assert status == 2 and f"the mount path {taken} exists and is not" in answer
    assert not os.path.lexists(tmp_path / "code" / "data-oss")
    assert taken.is_dir() and run("list")[1].strip() == ""


@pytest.mark.long
def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path, run: Run) -> None:
    file, port = service_file(tmp_path, "orphan", "--nowebui")
    assert run("deploy", file)[0] == 0
    before = state(tmp_path, "orphan")
    orphan = psutil.Process(before["service"]["pid"])
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    time.sleep(0.5)
    assert "Failed" in run("status", "orphan")[1]
    assert run("scale", "orphan", 1)[0] == 0  # the orphan held the port
    assert state(tmp_path, "orphan")["service"]["pid"] != before["service"]["pid"]
    assert psutil.wait_procs([orphan], timeout=10)[0]  # init takes a moment to see it
    service = state(tmp_path, "orphan")["service"]["pid"]
    assert run("scale", "orphan", 2)[0] == 0
    until = time.monotonic() + 60
    while len(psutil.Process(service).children()) != 2:  # without a restart
        assert time.monotonic() < until
        time.sleep(0.1)
    assert state(tmp_path, "orphan")["service"]["pid"] == service
    assert run("scale", "orphan", 2000)[0] == 2
    assert run("restart", "orphan")[0] == 0
    flags = json.loads((tmp_path / "root/services/orphan/deployed.json").read_text())["flags"]
    assert "--workers=2" in flags
    assert httpx.get(f"http://127.0.0.1:{port}/internal/ping").status_code == 200


@pytest.mark.long
def test_a_mount_path_that_cannot_be_made_is_mapped(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    file, _ = service_file(tmp_path, "mapped", "--nowebui")
    file.write_text(file.read_text().replace(f"{tmp_path}/code/data-oss", f"{tmp_path}/file/data"))
    status, said = run("deploy", file)
    assert status == 0, said
    assert "cannot be made here" in said
    here, base = tmp_path / "root/storage/oss-bucket_data", state_url(tmp_path, "mapped")
    assert (here / "models").is_dir()
    body = {"prompt": "cute dog", "steps": 1, "width": 64, "height": 64}
    headers = {"Authorization": (tmp_path / "root/services/mapped/token").read_text().strip()}
    for asked in ("outputs/mine", f"{tmp_path}/file/data/outputs/mine"):  # as clients know it, in and out
        call = body | {"alwayson_scripts": {"save_dir": asked}}
        answer = httpx.post(f"{base}/sdapi/v1/txt2img", json=call, headers=headers, timeout=200)
        assert answer.status_code == 200, answer.text
        saved = answer.json()["parameters"]["image_url"]
        assert saved.startswith(f"{tmp_path}/file/data/outputs/mine/")
        assert (here / Path(saved).relative_to(tmp_path / "file" / "data")).is_file()
        assert str(here) not in answer.text
