from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from easel import Job, Prompt
from easel.extensions.registry import ExtensionStatus, Registry, State

Write = Callable[..., Path]


def status(registry: Registry, name: str = "one") -> ExtensionStatus:
    registry.load()
    return next(status for status in registry.list() if status.name == name)


@pytest.mark.parametrize(
    ("body", "keys", "state", "words"),
    [
        (
            "",
            {"head": "import not_there_at_all"},
            State.FAILED,
            "No module named 'not_there_at_all'",
        ),
        ("", {"head": "def broken(:"}, State.FAILED, "SyntaxError"),
        ("", {"head": "raise SystemExit(3)"}, State.FAILED, "SystemExit: 3"),
        ("", {"entry": "Other"}, State.FAILED, "entry 'Other' is not a subclass of easel.Extension"),
        ("", {"entry": "replace"}, State.FAILED, "entry 'replace' is not a subclass of easel.Extension"),
        ("def __init__(self, place): 1 / 0", {}, State.FAILED, "failed in load: ZeroDivisionError"),
        (
            "@hookimpl\ndef rewrite_promt(self, prompt): ...",
            {},
            State.FAILED,
            "failed in rewrite_promt: there is no such hook; did you mean 'rewrite_prompt'?",
        ),
        (
            "@hookimpl\ndef rewrite_prompt(self, promt, job): ...",
            {},
            State.FAILED,
            "rewrite_prompt has no argument 'promt'; allowed: prompt, job",
        ),
        (
            "def rewrite_prompt(self, prompt, job): ...",
            {},
            State.FAILED,
            "failed in rewrite_prompt: has the name of a hook but not the mark @hookimpl",
        ),
        (
            "@hookimpl(wrapper=True)\ndef rewrite_prompt(self, prompt):\n    return (yield)",
            {},
            State.FAILED,
            "wrappers (wrapper=True) are for hooks of the style 'first'",
        ),
        (
            "@hookimpl(specname='rewrite_prompt')\ndef change(self, prompt): ...",
            {},
            State.FAILED,
            "a hook's method has the hook's own name",
        ),
        ("", {"easel": ">=2"}, State.UNAVAILABLE, "is written for hook API >=2; this Easel has 1."),
        ("", {"easel": "one"}, State.FAILED, "in extension.toml"),
        ("", {"requires": ["not-there-at-all>=2"]}, State.UNAVAILABLE, "not-there-at-all>=2, which is not installed"),
        ("", {"requires": ["pluggy>=999"]}, State.UNAVAILABLE, "needs pluggy>=999; installed is "),
        ("name = 'other'", {}, State.FAILED, "its attribute `name` is 'other'; the name stands in extension.toml"),
        ("def __init__(self, place): ...", {}, State.FAILED, "failed in load: AttributeError"),
        ("@hookimpl\ndef register_upscalers(self): return 3", {}, State.FAILED, "returned 3; allowed: Upscaler"),
        ("@hookimpl\ndef register_scripts(self): return Script(3, int)", {}, State.FAILED, "title is a text, not 3"),
        ("@hookimpl\ndef register_scripts(self): return Script('S', int)", {}, State.FAILED, "are a pydantic model"),
        ("@hookimpl\ndef register_scripts(self): return 3", {}, State.FAILED, "returned 3; allowed: Script"),
        ("@hookimpl\ndef register_scripts(self): 1 / 0", {}, State.FAILED, "failed in register_scripts: ZeroDivision"),
    ],
)
def test_what_is_wrong_is_told_and_the_others_work(
    write: Write, registry: Registry, job: Job, body: str, keys: dict[str, str], state: State, words: str
) -> None:
    write("one", body, **keys)
    write("two", "@hookimpl\ndef rewrite_prompt(self, prompt): return replace(prompt, positive=('two',))")
    before = list(sys.path)
    found = status(registry)
    assert (found.state, words in found.reason) == (state, True), found.reason
    assert registry.hooks.extensions == ("two",)
    assert registry.hooks.rewrite_prompt(Prompt(positive=("",), negative=("",)), job).positive == ("two",)
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("easel_extensions.one")]


def test_a_requirement_for_another_platform_does_not_count(write: Write, registry: Registry) -> None:
    write("one", requires=["not-there-at-all; sys_platform == 'no-such-system'", "pluggy"])
    assert status(registry).state is State.ENABLED


def test_relative_imports_and_equal_module_names(write: Write, registry: Registry) -> None:
    for name in ("one", "two-words"):
        write(
            name,
            "@hookimpl\ndef register_upscalers(self): return utils.Named()",
            head="from . import utils",
            files={"utils.py": f"class Named:\n    name = {name!r}\n"},
        )
    before = list(sys.path)
    registry.load()
    assert [owned.value.name for owned in registry.hooks.upscalers] == ["one", "two-words"]
    assert sys.modules["easel_extensions.two_words.utils"].Named.name == "two-words"
    assert sys.path == before
    assert "utils" not in sys.modules


def test_a_failed_import_leaves_no_module_behind(write: Write, registry: Registry) -> None:
    write("one", head="from . import part\n1 / 0", files={"part.py": ""})
    assert status(registry).state is State.FAILED
    assert not [name for name in sys.modules if name.startswith("easel_extensions.one")]


def test_settings_come_from_the_environment_and_are_checked(write: Write, registry: Registry) -> None:
    head = "from pydantic import BaseModel\nclass Model(BaseModel):\n    strength: float = 0.5\n"
    write("my-one", "settings_model = Model\n@hookimpl\ndef startup(self, app): app.append(self.settings)", head=head)
    seen: list[object] = []
    registry.environment = {"EASEL_EXT_MY_ONE__STRENGTH": "0.25", "EASEL_EXT_OTHER__X": "1"}
    registry.load()
    registry.start(seen)
    assert seen[0].strength == 0.25  # type: ignore[attr-defined]
    for variable, value in (("STRENGHT", "1"), ("STRENGTH", "much")):
        registry.environment = {f"EASEL_EXT_MY_ONE__{variable}": value}
        assert registry.disable("my-one").state is State.DISABLED
        failed = registry.enable("my-one")
        assert failed.state is State.FAILED
        assert variable.lower() in failed.reason.lower()
