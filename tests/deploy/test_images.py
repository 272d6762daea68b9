"""The Dockerfile and the manifests in docs/deploy say what this program understands, and agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from easel.settings import EDITIONS, Settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
KUBERAY: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))


def pods() -> Iterator[dict[str, Any]]:
    """The specs of all pods."""
    for one in KUBERAY:
        spec = one.get("spec", {})
        groups = [spec.get("headGroupSpec"), *spec.get("workerGroupSpecs", ())]
        yield from (group["template"]["spec"] for group in [spec, *groups] if group and "template" in group)


CONTAINERS = [(pod, container) for pod in pods() for container in pod["containers"]]
GATEWAY = next(container for _, container in CONTAINERS if container["name"] == "gateway")


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in KUBERAY if (one["kind"], one["metadata"]["name"]) == (kind, name))


@pytest.mark.parametrize(
    "words", [COMPOSE["services"]["gateway"]["command"], GATEWAY["args"]], ids=["compose", "kuberay"]
)
def test_the_gateways_flags_are_ours(words: list[str]) -> None:
    settings = read_settings(words, {"EASEL_TOKEN": "x"})
    assert settings.ray == "auto" and settings.edition == "api" and settings.queue_url
    assert not settings.remarks()
    assert settings.state_dir != settings.data_dir  # SQLite does not belong on a network storage


def test_images_and_editions_agree() -> None:
    tags = set(re.findall(r"docker build -t (\S+)", DOCKERFILE))
    images = {one["image"] for one in COMPOSE["services"].values()} | {one["image"] for _, one in CONTAINERS}
    assert images - tags == {"redis:7"}
    for tag in tags:
        assert tag.partition(":")[2] in EDITIONS
    (default,) = re.findall(r"^ARG EDITION=(\S+)", DOCKERFILE, re.M)
    assert default in EDITIONS
    assert read_settings(["--listen", "--port=7860"], {"EASEL_EDITION": default, "EASEL_TOKEN": "x"}).edition == default


def test_every_variable_of_ours_is_one() -> None:
    known = {f"EASEL_{option.name.upper()}" for option in fields(Settings)}
    texts = [DOCKERFILE, *(path.read_text() for path in DEPLOY.glob("*.y*ml"))]
    used = {name for text in texts for name in re.findall(r"\b(EASEL_[A-Z_]+)\b", text)}
    assert used and used <= known


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and all((ROOT / name).exists() for name in kept)
    wanted = {"core", "extensions", "filebrowser", "pyproject.toml", "setup.py", "MANIFEST.in", "constraints.txt"}
    assert wanted | {"README.md", "LICENSE", "NOTICE"} == kept  # what the wheel is built of
    pinned = (ROOT / "tools" / "setup.sh").read_text()
    for name in re.findall(r"\b(?:spandrel|einops)==[\d.]+", DOCKERFILE):
        assert name in pinned
    (torch,) = re.findall(r"^ARG TORCH=(\S+)", DOCKERFILE, re.M)
    assert torch in (ROOT / "constraints.txt").read_text().splitlines()


def test_compose_names_what_there_is() -> None:
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    for service in services.values():
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(volumes)
        assert set(service.get("depends_on", ())) <= set(services)
    settings = read_settings(services["gateway"]["command"], {"EASEL_TOKEN": "x"})
    assert settings.queue_url.startswith("redis://redis:6379")
    assert services["gateway"]["ports"] == [f"7860:{settings.port}"]
    for name in ("gateway", "worker", "head"):
        assert f"data:{settings.data_dir}" in services[name]["volumes"]
    for name in ("gateway", "worker"):
        assert "--address=head:6379" in " ".join(services[name]["entrypoint"])


def test_manifests_name_what_there_is() -> None:
    settings = read_settings(GATEWAY["args"], {"EASEL_TOKEN": "x"})
    for pod, container in CONTAINERS:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in container["volumeMounts"]:
            claim = volumes[mount["name"]].get("persistentVolumeClaim")
            assert claim is None or named("PersistentVolumeClaim", claim["claimName"])
        for variable in container.get("env", ()):
            if (key := variable.get("valueFrom", {}).get("secretKeyRef")) is not None:
                assert key["key"] in named("Secret", key["name"])["stringData"]
        if container["image"].startswith("easel"):
            assert str(settings.data_dir) in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert settings.queue_url.startswith("redis://easel-redis:6379") and named("Service", "easel-redis")
    assert "--address=easel-head-svc:6379" in GATEWAY["command"][2] and named("RayCluster", "easel")  # KubeRay's naming
    assert named("Service", "easel")["spec"]["ports"][0]["targetPort"] == settings.port
    gpu = named("RayCluster", "easel")["spec"]["workerGroupSpecs"][0]
    assert settings.workers * settings.worker_gpus <= gpu["maxReplicas"]  # every worker finds its part of a GPU
    assert settings.workers / gpu["maxReplicas"] * settings.worker_cpus <= int(
        gpu["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    )
