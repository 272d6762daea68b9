"""Prompt editing and alternation over the steps."""

import json
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from easel.prompt.schedule import Stage, conditions, index_at, schedule, text_at
from easel.prompt.syntax import DEEPEST

GOLDENS = Path(__file__).parents[1] / "goldens" / "parts"


def golden(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", golden("prompt_schedules"), ids=lambda case: f"{case['prompt']}-{case['steps']}")
def test_schedules_are_a1111s(case):
    stages = schedule(case["prompt"], case["steps"], case["hires_steps"], case["old"])
    assert [list(stage) for stage in stages] == case["schedule"]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("[[a:b:2]:c:4]", {2: "a", 4: "b", 6: "c"}),
        ("(x [a:b:3]:1.2)", {3: "(x a:1.2)", 6: "(x b:1.2)"}),
        ("[a:b] [c:d:3]", {3: "[a:b] c", 6: "[a:b] d"}),  # no number: text, and so is what is around it
        ("[[a:b]:c:3]", {6: "[[a:b]:c:3]"}),
        ("[(a:b:c):d:3]", {6: "[(a:b:c):d:3]"}),
        ("[x (y:3] [a:b:3]", {3: "[x (y:3] a", 6: "[x (y:3] b"}),
        ("[x [a:b:3]", {3: "[x a", 6: "[x b"}),
        ("[a:b:3]] )", {3: "a] )", 6: "b] )"}),
        ("[a:b:c:3] [d:3]", {3: "[a:b:c:3] ", 6: "[a:b:c:3] d"}),
        ("a|b [c:d:3]", {6: "a|b [c:d:3]"}),  # a bar elsewhere: nothing is edited
        ("[a|[b:c]]", {6: "[a|[b:c]]"}),
        ("[:3][::2][3]", {2: "[3]", 3: "[3]", 6: "[3]"}),
        ("[a: 3. ]", {6: ""}),
        ("[a:b:1e-1]", {6: "b"}),
        ("[a:b:+2]", {2: "a", 6: "b"}),
        ("[a\n:\nb:2]", {2: "a\n", 6: "\nb"}),
        ("\\[a:b:2] [c:d:2]", {2: "\\[a:b:2] c", 6: "\\[a:b:2] d"}),
        ("[a:b:2]\\", {6: "[a:b:2]\\"}),  # a backslash that escapes nothing
        ("[a:b:1e999]", {6: "a"}),
        ("[a:b:2] [c:d:2]", {2: "a c", 6: "b d"}),
    ],
)
def test_editing(prompt, texts):
    assert dict(schedule(prompt, 6)) == texts


def test_the_second_pass_goes_on_counting():
    assert schedule("[a:b:1.5]", 10, 4) == ((2, "a"), (4, "b"))
    assert schedule("[a:b:12]", 10, 4) == ((2, "a"), (4, "b"))
    assert schedule("[a:b:0.5]", 10, 4) == ((4, "b"),)
    assert schedule("[a:b:1.5]", 10) == ((10, "a"),)


def test_the_old_rule_knows_one_pass():
    assert schedule("[a:b:0.5]", 10, 4, use_old_scheduling=True) == ((5, "a"), (10, "b"))
    assert schedule("[a:b:1.5]", 10, use_old_scheduling=True) == ((1, "a"), (10, "b"))


def test_a_stage_serves_the_call_after_its_end_too():
    stages = schedule("[a:b:5]", 10)
    assert "".join(text_at(stages, call) for call in range(10)) == "aaaaaabbbb"
    assert index_at(stages, 11) == 0  # past the end, as in A1111


def test_and_joins_schedules():
    assert conditions("a [b:c:2] AND d :0.5", 4) == (
        (((2, "a b"), (4, "a c")), 1.0),
        (((4, " d"),), 0.5),
    )


@pytest.mark.parametrize("prompt", ["[" * 3000, "[a:" * 3000 + "1]" * 3000, "[a:b]" * 2000, "[" + "a|" * 3000 + "]"])
def test_monsters_cost_little(prompt):
    assert schedule(prompt, 2)[-1].end_at_step == 2


def test_deep_nesting_is_read_up_to_the_limit():
    prompt = "[" * DEEPEST + "x" + ":1]" * DEEPEST
    assert schedule(prompt, 2) == (Stage(1, ""), Stage(2, "x"))
    assert schedule(f"[{prompt}:1]", 2) == (Stage(2, f"[{prompt}:1]"),)


def test_reading_prompts_without_brackets_needs_no_grammar_library():
    code = "import sys, easel.prompt.schedule as s; s.schedule('(a:1.2)', 4); sys.exit('lark' in sys.modules)"
    core = str(Path(__file__).parents[2] / "core")
    assert run([sys.executable, "-c", code], env={"PYTHONPATH": core}, check=False).returncode == 0
