"""The written pages are true: generated ones equal the code, and the code shown in them runs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from easel.api.server import create_api
from easel.app import Easel
from easel.settings import Settings, read_settings
from easel.testing import check
from easel.values.options import Options

from .conftest import QueueServer

DOCS = Path(__file__).parents[1] / "docs"
ASYNCHRONOUS = re.findall(r"```(sh|python)\n(.*?)```", (DOCS / "asynchronous.md").read_text(), re.DOTALL)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["hooks.md"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    pages = generator().PAGES
    assert page in pages
    assert (DOCS / page).read_text() == pages[page](), f"run: python docs/generate.py  ({page})"


def test_options_page_names_every_option_that_has_an_effect() -> None:
    rows = [line.split("|")[1] for line in (DOCS / "options.md").read_text().splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(field.name for field in fields(Options))


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.glob("**/*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", ["extensions.md"])
def test_routes_and_flags_that_are_named_are_there(page: str, tmp_path: Path) -> None:
    text = (DOCS / page).read_text()
    paths = create_api(Easel(read_settings(["--data-dir", str(tmp_path)], {}))).openapi()["paths"]
    routes = re.findall(r"`(GET|POST|PUT|DELETE) (/[^`?]*)", text)
    assert len(routes) >= 5
    assert [route for route in routes if route[0].lower() not in paths.get(route[1], {})] == []
    flags = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)} | {"--replace"}
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= flags


@pytest.mark.parametrize("page", ["writing-extensions.md", "recipes.md"])
def test_code_that_is_shown_is_code_that_is_there(page: str) -> None:
    shown = re.findall(r"<!-- (\S+) -->\n```\w*\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert len(shown) >= 5
    for file, code in shown:
        assert code in (DOCS / file).read_text(), f"{page} shows what is not in {file}:\n{code}"


@pytest.mark.parametrize("folder", sorted((DOCS / "examples").iterdir()), ids=lambda folder: folder.name)
def test_an_example_is_fine_and_passes_its_own_tests(folder: Path) -> None:
    assert check(folder) == []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=DOCS.parent)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("number", range(len(ASYNCHRONOUS)))
def test_code_of_the_asynchronous_api_runs(
    queue_server: QueueServer, eas_python: Path, number: int, tmp_path: Path
) -> None:
    language, code = ASYNCHRONOUS[number]
    code = code.replace("127.0.0.1:7860", f"127.0.0.1:{queue_server.port}")
    python = eas_python if "eas_prediction" in code else Path(sys.executable)
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [python, "-c", code]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
