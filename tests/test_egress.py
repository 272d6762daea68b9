"""What a service tried to get from the network: noted with where the file belongs, refused at once when offline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from easel.deploy.doctor import egress
from easel.egress import EgressLog
from easel.errors import BadRequest, Forbidden
from easel.settings import read_settings
from easel.worker.workplace import fetcher

URL = "https://files.example.invalid/models/net.safetensors?Signature=secret"
GUARDED = """
import json, socket, sys, urllib.request
from easel.settings import read_settings
from easel.worker.workplace import guard_egress

guard_egress(read_settings(sys.argv[1:], {}))
told = []
extension = {"__name__": "easel_extensions.my_net.weights", "get": urllib.request.urlopen}
for code, scope in (
    ("get('https://hub.invalid/net.safetensors?token=1', timeout=5)", extension),
    ("socket.create_connection(('93.184.216.34', 80), timeout=0.2)", {"socket": socket}),
    ("socket.create_connection(('127.0.0.1', 1), timeout=1)", {"socket": socket}),
    ("socket.getaddrinfo('friend.invalid', 80)", {"socket": socket}),
):
    try:
        exec(code, scope)
    except OSError as error:
        told.append(str(error))
print(json.dumps(told))
"""


def guarded(folder: Path, *flags: str) -> list[str]:
    """What four attempts of another process end with."""
    command = [sys.executable, "-c", GUARDED, "--data-dir", str(folder), "--fetch-allow", "friend.invalid", *flags]
    told: list[str] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def test_what_goes_past_the_way_out_is_seen_and_refused_when_offline(tmp_path: Path) -> None:
    told = guarded(tmp_path, "--offline")
    assert "this service is offline (--offline): hub.invalid:443 is not asked" in told[0]
    assert "this service is offline (--offline): 93.184.216.34:80 is not asked" in told[1]
    assert not any("offline" in text for text in told[2:])  # this machine, and whom the operator allows
    noted = EgressLog(tmp_path / ".easel").read()
    assert [(one.url, one.outcome, one.by) for one in noted] == [
        ("hub.invalid:443", "refused", "my_net"),
        ("93.184.216.34:80", "refused", ""),
    ]
    assert noted[0].put.endswith(f"or to {tmp_path}/.easel/extensions/my-net")
    assert noted[1].put == f"models belong below {tmp_path}/models"


def test_without_the_flag_it_is_only_seen(tmp_path: Path) -> None:
    assert not any("offline" in text for text in guarded(tmp_path))
    noted = EgressLog(tmp_path / ".easel").read()
    assert [(one.url, one.outcome) for one in noted] == [("hub.invalid:443", "made"), ("93.184.216.34:80", "made")]


def test_the_way_out_notes_urls_and_the_doctor_lists_them(tmp_path: Path) -> None:
    settings = read_settings(["--data-dir", str(tmp_path), "--offline", "--port", "0"], {})
    begin = time.monotonic()
    with pytest.raises(Forbidden, match=r"init_images\[0\]: this service is offline \(--offline\) and fetches nothing"):
        fetcher(settings).fetch(URL, field="init_images[0]")
    assert time.monotonic() - begin < 1
    online = fetcher(read_settings(["--data-dir", str(tmp_path)], {}))
    with pytest.raises(BadRequest, match="not on the public internet"):
        online.fetch("http://169.254.169.254/latest", field="image")
    found = list(egress(settings))
    assert [one.text.rpartition(",")[0] for one in found] == [
        "refused https://files.example.invalid/models/net.safetensors for init_images[0]",
        "refused http://169.254.169.254/latest for image",
    ]
    assert {one.cure for one in found} == {"send the file itself (base64) instead of a URL"}
    assert "secret" not in (tmp_path / ".easel" / "egress.jsonl").read_text()
    assert {(one.about, one.verdict) for one in found} == {("egress", "look")}


def test_a_damaged_log_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    log = EgressLog(tmp_path)
    for number in range(3):
        log.note(f"https://a.invalid/{number}", "made", "x", "y")
    log.note("https://a.invalid/0", "made", "x", "y")  # within the hour
    file = tmp_path / "egress.jsonl"
    file.write_text(file.read_text()[:-9])
    assert [one.url for one in log.read()] == ["https://a.invalid/0", "https://a.invalid/1"]
