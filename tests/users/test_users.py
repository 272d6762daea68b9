"""Who may come in: tokens, passwords, cookies; shut out, they are out at once; what operators do while it runs."""

from __future__ import annotations

import base64
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from easel.cli import main

from .conftest import Cluster, Person


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def easel(*words: str, typed: str = "") -> Ended:
    """The command line, as an operator uses it."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(typed)
    try:
        with redirect_stdout(out), redirect_stderr(errors):
            status = main(["users", *words])
    finally:
        sys.stdin = before
    return Ended(status, out.getvalue(), errors.getvalue())


def test_the_first_start_makes_an_operator(cluster: Cluster) -> None:
    (line,) = [line for line in cluster.told if "told only once" in line]
    token = line.rpartition(" ")[2]
    with cluster.client(Authorization=token) as operator:
        assert operator.get("/user").json() == "admin"
        assert operator.get("/metrics").status_code == 200
    assert token.encode() not in (cluster.data / ".easel" / "easel.db").read_bytes()


def test_the_ways_in(cluster: Cluster) -> None:
    data = ["--data-dir", str(cluster.data)]
    made = easel("add", "eve", "--password", *data, typed="correct horse\n")
    token = made.stdout.rpartition("token ")[2].strip()
    pair = base64.b64encode(b"eve:correct horse").decode()
    as_password = base64.b64encode(f"eve:{token}".encode()).decode()
    for header in (token, f"Bearer {token}", f"Basic {pair}", f"Basic {as_password}"):
        with cluster.client(Authorization=header) as eve:
            assert eve.get("/user").json() == "eve", header
    for wrong in ("", "nothing", f"Basic {base64.b64encode(b'eve:wrong password').decode()}", f"Bearer {token}x"):
        with cluster.client(Authorization=wrong) as stranger:
            assert stranger.get("/user").status_code == 401, wrong
            assert stranger.get("/internal/ping").status_code == 200
    with cluster.client() as browser:
        assert "<form" in browser.get("/", headers={"Accept": "text/html"}).text
        entered = browser.post("/login", data={"username": "eve", "password": "correct horse"})
        assert entered.status_code == 200 and browser.get("/user").json() == "eve"
        assert easel("disable", "eve", *data).returncode == 0
        assert browser.get("/user").status_code == 401  # the cookie is of no use any more
        with cluster.client(Authorization=token) as eve:
            assert eve.get("/user").status_code == 403
        easel("enable", "eve", *data)
        assert browser.get("/user").status_code == 401  # of an older session
    assert easel("token", "eve", *data).stdout.startswith("token ")
    with cluster.client(Authorization=token) as eve:
        assert eve.get("/user").status_code == 401
    listed = easel("list", *data).stdout
    assert "eve" in listed and "admin" in listed and token not in listed
    assert easel("remove", "eve", *data).returncode == 0 and (cluster.data / "users" / "eve").is_dir()


@pytest.mark.parametrize("name", ["../x", "Ann", "a/b", "", "-a", "a" * 33, "a."])
def test_names_are_names_of_folders(tmp_path: Path, name: str) -> None:
    from easel.errors import BadRequest
    from easel.users.account import check_name

    with pytest.raises(BadRequest):
        check_name(name)


def test_the_last_operator_stays(cluster: Cluster) -> None:
    refused = easel("remove", "admin", "--data-dir", str(cluster.data))
    assert refused.returncode == 2 and "only operator" in refused.stderr
    unknown = easel("disable", "nobody", "--data-dir", str(cluster.data))
    assert unknown.returncode == 2 and "nobody" in unknown.stderr


def test_guessing_is_slowed_down(cluster: Cluster) -> None:
    with cluster.client() as stranger:
        answers = [stranger.post("/login", data={"username": "zoe", "password": f"guess {n}"}) for n in range(11)]
    assert [one.status_code for one in answers] == [401] * 10 + [429]
    assert "try again" in answers[-1].json()["detail"]


def test_a_long_answer_ends_when_its_user_is_shut_out(cluster: Cluster) -> None:
    dan = cluster.person("dan")
    began = dan.http.post(
        "/sdapi/v1/txt2img", json={"prompt": "long", "steps": 900}, headers={"Prefer": "respond-async"}
    )
    events = f"/{began.json()['url']}/events"
    seen = 0
    with pytest.raises(httpx.RemoteProtocolError), dan.http.stream("GET", events) as stream:
        for line in stream.iter_lines():
            seen += line.startswith("data:")
            if seen == 3:
                assert easel("disable", "dan", "--data-dir", str(cluster.data)).returncode == 0
    assert 3 <= seen < 890


def test_operators_alone_see_the_service(ann: Person) -> None:
    for path in ("/metrics", "/internal/sysinfo", "/sdapi/v1/memory", "/sdapi/v1/cmd-flags"):
        assert ann.http.get(path).status_code == 403, path
    for path in ("/sdapi/v1/unload-checkpoint", "/easel/v1/extensions/rescan", "/easel/v1/extensions/lora/release"):
        assert ann.http.post(path).status_code == 403, path
