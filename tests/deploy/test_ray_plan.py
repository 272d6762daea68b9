"""What `--on ray` makes of a `service.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from easel.cli import main
from easel.deploy.plan import read_plan
from easel.deploy.ray_plan import on_ray
from easel.deploy.script import words
from easel.settings import read_settings


def service(**metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "sd_ray", "instance": 2} | metadata,
        "containers": [{"script": "./webui.sh --listen --port 8000 --nowebui"}],
        "autoscaler": {"min": 0, "max": 6},
    }


def test_parts_of_a_gpu_become_flags() -> None:
    raw = service(gpu=0.25, cpu=2)
    reading = on_ray(read_plan(raw), raw, "head:6379")
    assert reading.plan is not None
    settings = read_settings(words(reading.plan.flags), {})
    assert (settings.ray, settings.worker_gpus, settings.worker_cpus) == ("head:6379", 0.25, 2)
    assert (settings.workers, settings.min_workers) == (6, 0)
    told = {remark.path for remark in reading.remarks}
    assert "metadata.gpu" not in told and "metadata.gpu" in {remark.path for remark in read_plan(raw).remarks}


@pytest.mark.parametrize("gpu", ["half", -1, True, [1]])
def test_what_is_no_part_of_a_gpu_is_told(gpu: object) -> None:
    raw = service(gpu=gpu)
    reading = on_ray(read_plan(raw), raw, "auto")
    assert reading.plan is None
    assert [problem.path for problem in reading.problems] == ["metadata.gpu"]


def test_the_flag_and_the_script_may_not_contradict() -> None:
    raw = service()
    raw["containers"][0]["script"] += " --in-process"
    del raw["autoscaler"], raw["metadata"]["instance"]
    reading = on_ray(read_plan(raw), raw, "auto")
    assert "--in-process contradicts --ray" in str(reading.problems[0])


def test_other_places_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "service.json"
    file.write_text(json.dumps(service()))
    for where in ("mars", "ray="):
        assert main(["deploy", str(file), "--on", where, "--root", str(tmp_path)]) == 2
        assert "--on" in capsys.readouterr().err
