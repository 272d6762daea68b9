"""What goes wrong in real life: the service says so clearly and serves the next request."""

from __future__ import annotations

import base64
import json
import resource
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import numpy as np
import psutil
import pytest

from easel.bench.service import LOCALHOST, easel_command, easel_environment

from .conftest import ENDLESS, PATIENCE, TINY, Running, pixels, running, tiny_folder, until

pytestmark = pytest.mark.timeout(400)


def test_a_worker_that_dies_is_replaced(shared: Running) -> None:
    job, dead = shared.begin_endless(), shared.worker.pid
    shared.worker.send_signal(SIGKILL)
    answer = job.result(PATIENCE)
    assert answer.status_code == 503
    assert answer.json()["error"] == "WorkerLost"
    assert answer.json()["detail"] == "The worker died while it ran the job."
    assert shared.post(TINY).status_code == 200  # it waits for the fresh worker
    assert shared.worker.pid != dead


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_worker_past_the_deadline_is_replaced(shared: Running, tmp_path: Path, tiny_data: Path) -> None:
    shared.worker.kill()
    begin = time.monotonic()
    assert shared.post(TINY).status_code == 200
    deadline = round(3 * (time.monotonic() - begin) + 5)  # a worker's first job takes long on a busy machine
    with running(tiny_folder(tmp_path, tiny_data), "--no-half", "--job-deadline", str(deadline)) as one:
        job, stuck = one.begin_endless(), one.worker.pid
        one.worker.send_signal(SIGSTOP)  # stuck for good: it will not hear of any cancelling
        answer = job.result(deadline + PATIENCE)
        assert answer.status_code == 504
        assert answer.json()["error"] == "DeadlinePassed"
        assert answer.json()["detail"] == f"the job ran longer than {deadline} s"
        assert one.post(TINY).status_code == 200
        assert one.worker.pid != stuck


def test_clients_that_hang_up_free_their_places(shared: Running) -> None:
    body = json.dumps(ENDLESS).encode()
    with ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(socket.create_connection((LOCALHOST, shared.server.port)))
            client.sendall(head(len(body)) + body)
        until(lambda: shared.sampling_step() > 0)
        waiting = shared.begin(TINY)
        until(lambda: shared.get("/internal/pending-tasks").json()["size"] == 1)
        assert not waiting.done()
    assert waiting.result(PATIENCE).status_code == 200  # the two would have taken minutes
    until(lambda: shared.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0)


def test_a_client_that_sends_byte_by_byte_holds_up_nobody(shared: Running) -> None:
    body = json.dumps(TINY).encode()
    with socket.create_connection((LOCALHOST, shared.server.port)) as client:
        client.sendall(head(len(body)))
        for byte in body[:-1]:
            client.sendall(bytes((byte,)))
            time.sleep(0.01)
        assert shared.post(TINY | {"seed": 2}).status_code == 200  # meanwhile
        client.sendall(body[-1:])
        client.settimeout(PATIENCE)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_two_users_at_once_get_their_own_pictures(shared: Running) -> None:
    bodies = {
        "ann": TINY | {"prompt": "a red fox", "steps": 12, "seed": 7},
        "bob": TINY | {"prompt": "a green apple", "steps": 9, "seed": 8, "sampler_name": "DPM++ 2M"},
    }
    alone = {user: pixels(shared.post(body, user)) for user, body in bodies.items()}
    jobs = {user: shared.begin(body, user) for user, body in bodies.items()}
    for user, job in jobs.items():
        answer = job.result(PATIENCE)
        assert json.loads(answer.json()["info"])["prompt"] == bodies[user]["prompt"]
        assert np.abs(pixels(answer) - alone[user]).max() <= 2  # grey levels
    assert np.abs(alone["ann"] - alone["bob"]).mean() > 2


def test_a_full_disk_fails_the_job_and_leaves_no_half_picture(shared: Running, request: pytest.FixtureRequest) -> None:
    outputs = shared.data / "outputs"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(outputs)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    request.addfinalizer(lambda: subprocess.run(["umount", str(outputs)], check=True))
    answer = shared.post(TINY | {"save_images": True})
    assert answer.status_code == 507
    assert "disk" in answer.json()["detail"] or "space" in answer.json()["detail"]
    assert str(shared.data) not in answer.text
    assert [path for path in outputs.rglob("*") if path.is_file()] == []
    assert shared.post(TINY).status_code == 200


def test_a_file_that_cannot_grow_fails_the_job_and_leaves_no_half_picture(shared: Running) -> None:
    before = saved(shared.data)
    worker = shared.worker
    unlimited = worker.rlimit(resource.RLIMIT_FSIZE)
    worker.rlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))  # a picture is larger
    try:
        answer = shared.post(TINY | {"save_images": True})
    finally:
        worker.rlimit(resource.RLIMIT_FSIZE, unlimited)
    assert (answer.status_code, answer.json()["error"]) == (507, "DiskFull")
    assert str(shared.data) not in answer.text
    assert saved(shared.data) == before
    assert shared.post(TINY | {"save_images": True}).status_code == 200
    assert len(saved(shared.data)) == len(before) + 1


def test_a_broken_checkpoint_is_refused_and_the_service_serves(shared: Running) -> None:
    folder = shared.data / "models" / "Stable-diffusion"
    whole = (folder / "tiny.safetensors").resolve()
    with whole.open("rb") as file:
        (folder / "cut.safetensors").write_bytes(file.read(1 << 20))
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "page.safetensors").write_bytes(b"<!DOCTYPE html>" * 100)
    (folder / "old.ckpt").write_bytes(b"PK\x03\x04")
    names = ("cut.safetensors", "empty.safetensors", "page.safetensors", "old.ckpt")
    try:
        listed = easel("models", "--data-dir", str(shared.data))
        for name in names:
            answer = shared.post(TINY | {"override_settings": {"sd_model_checkpoint": name}})
            assert answer.status_code == 422, answer.text
            assert name in answer.json()["detail"]
            assert str(shared.data) not in answer.text
            assert any(line.startswith(f"checkpoint  {name}  {name}: ") for line in listed.splitlines())
        assert shared.post(TINY).status_code == 200
        usable = [row["title"].split()[0] for row in shared.get("/sdapi/v1/sd-models").json()]
        assert usable == ["tiny.safetensors"]
    finally:
        for name in names:
            (folder / name).unlink()


def test_sigterm_ends_everything(tmp_path: Path, tiny_data: Path) -> None:
    with running(tiny_folder(tmp_path, tiny_data)) as one:
        job, worker = one.begin_endless(), one.worker
        one.server.process.terminate()
        assert one.server.process.wait(PATIENCE) in (0, -15)  # uvicorn passes the signal on when it is done
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
        answer = job.result(PATIENCE)
        assert answer.status_code == 503
        assert answer.json()["detail"] == "the service is shutting down"
        assert "Traceback" not in one.server.log_text()


def test_a_worker_does_not_outlive_its_gateway(tmp_path: Path, tiny_data: Path) -> None:
    with running(tiny_folder(tmp_path, tiny_data)) as one:
        job, worker = one.begin_endless(), one.worker
        one.server.process.kill()
        until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
        assert job.exception(PATIENCE) is not None


NETWORK_GUARD = """
import os, sys

def guard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in ("127.0.0.1", "localhost", "::1"):
        with open(os.environ["GUARD_FILE"], "a") as file:
            file.write(f"{event} {host}\\n")
        raise OSError("the network is blocked")

sys.addaudithook(guard)
"""
FIRST_PICTURE = """
import base64, fcntl, io, socket, struct, sys
from pathlib import Path
from PIL import Image
from easel.bench.service import Server

if sys.argv[2] == "alone":  # in a network namespace of its own: only the loopback, still down
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    print("blocked:", error)
with Server(Path(sys.argv[1])) as server:
    server.wait_until_it_answers(120)
    answer = server.txt2img({"prompt": "a cute cat", "seed": 1, "steps": 2})
    print("size:", Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).size)
"""


def test_from_start_to_picture_without_a_network(tmp_path: Path) -> None:
    """The embedded starter, with every look-up and connection refused and, where the system lets us, none possible."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(NETWORK_GUARD)
    tried = tmp_path / "tried.txt"
    environment = easel_environment() | {"GUARD_FILE": str(tried)}
    environment["PYTHONPATH"] = f"{tmp_path / 'guard'}:{environment['PYTHONPATH']}"
    python, alone = easel_command()[0], ["unshare", "--net", "--map-root-user"]
    can_be_alone = shutil.which("unshare") and not subprocess.run([*alone, "true"], capture_output=True).returncode
    command = [python, "-c", FIRST_PICTURE, str(tmp_path / "data"), "alone" if can_be_alone else "guarded"]
    done = subprocess.run(
        [*(alone if can_be_alone else []), *command], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "blocked: the network is blocked" in done.stdout  # the guard guards
    assert "size: (512, 512)" in done.stdout
    assert tried.read_text().splitlines() == ["socket.getaddrinfo 192.0.2.1"]  # our own probe, nothing else


def head(length: int) -> bytes:
    """The head of ann's request for a picture."""
    who = base64.b64encode(b"ann:secret").decode()
    lines = (
        "POST /sdapi/v1/txt2img HTTP/1.1",
        "Host: localhost",
        f"Authorization: Basic {who}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "\r\n",
    )
    return "\r\n".join(lines).encode()


def saved(data: Path) -> list[Path]:
    """All files below outputs/, half ones too."""
    return [path for path in (data / "outputs").rglob("*") if path.is_file()]


def easel(*arguments: str) -> str:
    """What the command prints."""
    command = [*easel_command(), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=easel_environment()).stdout
