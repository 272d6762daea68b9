"""Names of samplers and schedules: the recorded lists, and how a request's names find them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from easel.engine.samplers.registry import SOLVERS
from easel.engine.schedules import RULES
from easel.errors import UnknownName
from easel.values.sampling import SAMPLERS, SCHEDULERS, find_sampler, find_scheduler, scheduler_that_runs

# Where A1111 quietly took its first sampler, dropped a schedule or read another one, Easel understands or refuses.
UNDERSTOOD = {"euler a": "Euler a", "k_euler_a": "Euler a"}
REFUSED_SAMPLERS = {"nope", "DPM++ 2M Heun"}
REFUSED_SCHEDULERS = {"zzz"}
READ_RIGHT = {"DPM++ 2M SGM Uniform": ["DPM++ 2M", "SGM Uniform"]}


def test_lists_are_a1111s(goldens: Path) -> None:
    samplers = json.loads((goldens / "recorded/api/get_samplers.json").read_text())["body"]
    assert samplers == [
        {"name": sampler.name, "aliases": list(sampler.aliases), "options": sampler.options}
        for sampler in SAMPLERS.values()
    ]
    schedulers = json.loads((goldens / "recorded/api/get_schedulers.json").read_text())["body"]
    assert schedulers == [
        {
            "name": scheduler.name,
            "label": scheduler.label,
            "aliases": list(scheduler.aliases) if scheduler.aliases else None,
            "default_rho": scheduler.default_rho,
            "need_inner_model": scheduler.need_inner_model,
        }
        for scheduler in SCHEDULERS
    ]


def test_everything_listed_runs() -> None:
    assert set(SOLVERS) == set(SAMPLERS)
    assert set(RULES) == {scheduler.name for scheduler in SCHEDULERS}


def test_names_resolve_as_recorded_or_better(goldens: Path) -> None:
    followed = 0
    for case in json.loads((goldens / "parts/sampler_names.json").read_text()):
        name, scheduler, result = case["sampler"], case["scheduler"], case["result"]
        if name in REFUSED_SAMPLERS or scheduler in REFUSED_SCHEDULERS:
            field = "sampler_name" if name in REFUSED_SAMPLERS else "scheduler"
            # A schedule in the name wins, so the field is not looked at.
            if field == "scheduler" and _names_a_schedule(name):
                continue
            with pytest.raises(UnknownName, match=f"^{field}: "):
                find_sampler(name, scheduler)
        elif case["convert_automatic"]:
            sampler, label = find_sampler(name, scheduler)
            if name in UNDERSTOOD:
                assert sampler.name == UNDERSTOOD[name]
                assert label == find_scheduler(scheduler).label
            else:
                assert [sampler.name, label] == READ_RIGHT.get(name, result), case
                followed += name not in READ_RIGHT
    assert followed > 60


def _names_a_schedule(name: str | None) -> bool:
    return name is not None and name not in SAMPLERS and name not in UNDERSTOOD


@pytest.mark.parametrize("name", [name for sampler in SAMPLERS.values() for name in (sampler.name, *sampler.aliases)])
def test_aliases_and_any_case(name: str) -> None:
    expected = next(s for s in SAMPLERS.values() if name == s.name or name in s.aliases)
    for spelling in (name, name.upper(), name.lower(), f" {name} "):
        assert find_sampler(spelling) == (expected, "Automatic")


def test_a_schedule_at_the_end_wins() -> None:
    for scheduler in SCHEDULERS[1:]:
        for ending in (scheduler.label, scheduler.name, *(scheduler.aliases or ())):
            sampler, label = find_sampler(f"Euler a {ending}", "Karras")
            assert (sampler.name, label) == ("Euler a", scheduler.label)
            assert find_sampler("Euler", ending)[1] == scheduler.label


def test_the_samplers_own_schedule_is_automatic() -> None:
    assert find_sampler("DPM++ 2M Karras")[1] == "Automatic"
    assert find_sampler("DPM++ 2M", "Exponential")[1] == "Exponential"
    assert scheduler_that_runs(SAMPLERS["DPM++ 2M"], "Automatic").label == "Karras"
    assert scheduler_that_runs(SAMPLERS["DPM++ 3M SDE"], "Automatic").label == "Exponential"
    assert scheduler_that_runs(SAMPLERS["Euler"], "Automatic").label == "Automatic"
    assert scheduler_that_runs(SAMPLERS["Euler"], "SGM Uniform").name == "sgm_uniform"


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(UnknownName, match=r"'Eulr a'.*did you mean 'Euler a'"):
        find_sampler("Eulr a")
    with pytest.raises(UnknownName, match=r"^hr_scheduler: .*did you mean 'Karras'"):
        find_scheduler("Karas", field="hr_scheduler")


def test_names_need_no_torch() -> None:
    code = "import sys, easel.values.sampling; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": ":".join(sys.path)}).returncode
        == 0
    )
