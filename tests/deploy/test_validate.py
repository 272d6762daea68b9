"""`easel validate`: PAI-EAS' own files are understood, and what is wrong in one is told at once, by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from easel.cli import main

MOUNT = "/code/stable-diffusion-webui/data"
LINE = (
    "./webui.sh --listen --port 8000 --skip-version-check --no-hashing --no-download-sd-model "
    f"--skip-prepare-environment --data-dir={MOUNT}"
)
CLOUD = {
    "computing": {"instance_type": "ml.gu7i.c16m60.1-gu30", "instances": None},
    "networking": {"vpc_id": "vpc-t4nm****", "vswitch_id": "vsw-t4nf****", "security_group_id": "sg-t4n8****"},
}
OSS = {
    "oss": {"path": "oss://examplebucket/data-oss", "readOnly": False},
    "properties": {"resource_type": "model"},
    "mount_path": MOUNT,
}
NFS = {
    "nfs": {"path": "/", "server": "7264****.nas.aliyuncs.com"},
    "properties": {"resource_type": "model"},
    "mount_path": MOUNT,
}
STANDARD: dict[str, Any] = {
    "metadata": {"name": "sd_v32", "instance": 1, "enable_webservice": True},
    "containers": [
        {"image": "registry/stable-diffusion-webui:4.2", "script": f"{LINE} --api --filebrowser", "port": 8000}
    ],
    "cloud": CLOUD,
    "storage": [OSS],
}
ASYNC: dict[str, Any] = {
    "metadata": {"name": "sd_async", "instance": 1, "rpc.worker_threads": 1, "type": "Async"},
    "cloud": CLOUD,
    "queue": {"cpu": 1, "max_delivery": 1, "memory": 4096, "resource": ""},
    "storage": [NFS],
    "containers": [
        {
            "image": "registry/stable-diffusion-webui:4.2",
            "script": f"{LINE} --api-log --time-log --nowebui",
            "port": 8000,
        }
    ],
}

SCALER = {
    "min": 0,
    "max": 3,
    "scaleStrategies": [
        {"metricName": "queue[avgbacklog]", "threshold": 5},
        {"metricName": "cpu", "threshold": 50},
    ],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 120}},
}


def changed(base: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    """A copy with values put in; `containers.0.port` is a place, a value of ... takes the key away."""
    data = copy.deepcopy(base)
    for place, value in changes:
        *way, last = [int(key) if key.isdigit() else key for key in place.split("/")]
        part: Any = data
        for key in way:
            part = part[key]
        if value is ...:
            del part[last]
        else:
            part[last] = value
    return data


def validate(folder: Path, data: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, dict[str, Any]]:
    """What the command says: its status, its words, its JSON."""
    file = folder / "service.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    status = main(["validate", str(file)])
    told = capsys.readouterr()
    if status != 2:
        assert main(["validate", str(file), "--json"]) == status
        return status, told.out, json.loads(capsys.readouterr().out)
    return status, told.err, {}


@pytest.mark.parametrize(("data", "says"), [
    (STANDARD, "sd_v32: standard edition"), (ASYNC, "sd_async: api edition"),
    (changed(STANDARD, ("containers/0/image", "r/sd:4.2-cluster-webui")), "cluster edition"),
    (changed(STANDARD, ("metadata/edition", "serverless")), "serverless edition"),
    (changed(ASYNC, ("metadata/type", ...), ("containers/0/image", "r/sd:4.2-api")), "api edition"),
    (changed(STANDARD, ("storage", None), ("cloud", None), ("queue", None)), "standard edition"),
    (changed(ASYNC, ("metadata", {"name": "sd_1", "edition": "api", "rpc": {"worker_threads": 3}})), "threads=3"),
    (changed(ASYNC, ("queue/max_delivery", 3)), "--max-delivery=3"), (ASYNC, "--queue-max-length=262144"),
    (changed(STANDARD, ("metadata/enable_webservice", ...)), "--nowebui"),
    (changed(STANDARD, ("metadata/instance", 4)), "remark   metadata.instance: up to 4 workers run on this machine"),
    (changed(STANDARD, ("metadata/instance", 4)), "--workers=4"),
    (changed(STANDARD, ("autoscaler", SCALER)), "--workers=3 --min-workers=0 --idle-timeout=120 --worker-backlog=5"),
    (changed(STANDARD, ("autoscaler", {"min": 2, "max": 3})), "--workers=3 --min-workers=2"),
    (changed(STANDARD, ("autoscaler", {"strategies": {"queue[avgbacklog]": 10}})), "--worker-backlog=10"),
    (changed(STANDARD, ("autoscaler", SCALER)), "remark   autoscaler.scaleStrategies[1].metricName: has no"),
    (changed(STANDARD, ("autoscaler", SCALER), ("metadata/instance", 5)), "remark   metadata.instance: has no effect"),
    (STANDARD, "remark   cloud.computing.instance_type: has no effect"),
])  # fmt: skip
def test_what_is_right(data: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, found = validate(tmp_path, data, capsys)
    assert (status, found["valid"], found["problems"]) == (0, True, [])
    assert says in out


@pytest.mark.parametrize(("base", "place", "value", "says"), [
    (STANDARD, "metadata/instnace", 1, "metadata.instnace: unknown key; did you mean instance?"),
    (STANDARD, "name", "sd", "name: unknown key"),
    (STANDARD, "metadata/name", ..., "metadata.name: is missing"),
    (STANDARD, "metadata/name", "S D", 'metadata.name: is not valid (got "S D"; allowed: 3 to 63'),
    (STANDARD, "metadata/instance", "1", 'metadata.instance: input should be a valid integer (got "1")'),
    (STANDARD, "metadata/type", "Sync", "metadata.type: unknown value"),
    (STANDARD, "storage", [OSS, NFS], "storage[1].mount_path: two storages on one mount path: storage[0]"),
    (STANDARD, "storage", [{**OSS, **NFS}], "storage[0]: names 2 storages"),
    (STANDARD, "storage", [{"mount_path": MOUNT}], "storage[0]: names no storage"),
    (STANDARD, "storage", [{"nfs": {"path": "/"}}], "storage[0].mount_path: is missing"),
    (STANDARD, "storage/0/mount_path", "/mnt/x", f"--data-dir {MOUNT} is no mount path of storage"),
    (STANDARD, "storage/0/oss/readOnly", True, "storage[0].oss.readOnly: models and pictures are written to"),
    (STANDARD, "containers/0/port", 7860, "containers[0].port: does not match --port 8000 (got 7860)"),
    (STANDARD, "containers/0/image", "r-<region>.com/sd:4.2", "containers[0].image: the placeholder <region>"),
    (STANDARD, "containers/0/script", f"{LINE} --bogus-flag", "unknown flag '--bogus-flag'"),
    (STANDARD, "containers/0/script", f"{LINE} && rm -rf x", "must be one plain command"),
    (STANDARD, "containers/0/script", "python launch.py", "must be one line that begins with ./webui.sh"),
    (STANDARD, "containers/0/script", f"{LINE} --nowebui", "contradicts --nowebui"),
    (STANDARD, "containers/0/script", f"{LINE} --service-name other", "contradicts --service-name other"),
    (STANDARD, "containers", [], "containers: must be a list of one container (got 0)"),
    (STANDARD, "autoscaler", {"min": 4, "max": 3}, "autoscaler.min: is above autoscaler.max, 3 (got 4)"),
    (STANDARD, "autoscaler", {"strategies": {"queue[avgbacklog]": 0}}, "autoscaler.strategies.queue[avgbacklog]: must"),
    (STANDARD, "autoscaler", {"behavior": {"scaleDwn": {}}}, "autoscaler.behavior.scaleDwn: unknown key; did you mean"),
    (STANDARD, "containers/0/script", f"{LINE} --workers 2", "metadata.instance: contradicts --workers 2"),
    (ASYNC, "metadata/enable_webservice", True, "the api edition has no page: delete this key"),
    (ASYNC, "metadata/edition", "standard", "metadata.type: only the api edition is asynchronous"),
    (ASYNC, "metadata/rpc", {"worker_threads": 2}, "metadata.rpc.worker_threads: contradicts metadata.rpc"),
    (ASYNC, "storage", [], "storage: is missing: the api edition keeps"),
    (ASYNC, "queue/max_delivery", 0, "queue.max_delivery: input should be greater than or equal to 1 (got 0)"),
    (ASYNC, "queue/max_delivry", 1, "queue.max_delivry: unknown key; did you mean max_delivery?"),
])  # fmt: skip
def test_what_is_wrong_alone(
    base: dict[str, Any], place: str, value: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = changed(base, (place, value))
    status, out, found = validate(tmp_path, data, capsys)
    assert (status, found["valid"]) == (1, False)
    assert says in out
    assert len(found["problems"]) == 1, found["problems"]


def test_everything_wrong_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = changed(
        ASYNC,
        ("metadata/name", 5),
        ("metadata/enable_webservice", True),
        ("metadata/colour", "red"),
        ("storage", [{"oss": {"path": "bucket"}}, "x", NFS, OSS]),
        ("containers/0/port", 9000),
        ("containers/0/image", "r.<region>/sd:1"),
        ("containers/0/script", f"{LINE} --one --two"),
    )
    _, _, found = validate(tmp_path, data, capsys)
    assert sorted(one["path"] for one in found["problems"]) == [
        "containers[0].image",
        "containers[0].port",
        "containers[0].script",
        "containers[0].script",
        "metadata.colour",
        "metadata.enable_webservice",
        "metadata.name",
        "storage[0].mount_path",
        "storage[0].oss.path",
        "storage[1]",
        "storage[3].mount_path",
    ]


@pytest.mark.parametrize(("text", "says"), [
    ('{"metadata": {}\n "storage": []}', "line 2, column 2"), ('{"a": 1, "a": 2}', "a: stands there twice"),
    ("\x00", "line 1"), ("[" * 100_000, "is not JSON"),
])  # fmt: skip
def test_what_is_no_json(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, err, _ = validate(tmp_path, text, capsys)
    assert status == 2
    assert says in err


@pytest.mark.parametrize("data", [[], {}, 5, None, {"metadata": None, "containers": None}, {"containers": [None]}, {
    "metadata": {"rpc": 5, "rpc.worker_threads": 1}}, {"storage": {"0": 1}}, {"metadata": {"rpc.": 1}}])  # fmt: skip
def test_any_json_is_answered_with_words(data: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, found = validate(tmp_path, data, capsys)
    assert status == 1
    assert found["problems"]
    assert "Traceback" not in out


@pytest.mark.parametrize(("page", "says"), [
    ("service-json.md", "sd_async: api edition"), ("serverless.md", "sd_serverless: serverless edition"),
])  # fmt: skip
def test_the_files_of_the_operators_pages_are_right(
    page: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploy" / page).read_text()
    status, out, _ = validate(tmp_path, page.partition("```json\n")[2].partition("```")[0], capsys)
    assert status == 0, out
    assert says in out
