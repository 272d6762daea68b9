from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import easel

FOLDERS = sorted(path.parent for path in Path(__file__).parents[2].glob("*/*/extension.toml"))


def test_every_public_name_is_there() -> None:
    for name in easel.__all__:
        assert getattr(easel, name).__name__ == name if name != "hookimpl" else easel.hookimpl
    assert sorted(easel.__all__) == sorted(easel._HOME_OF)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        easel.nothing  # noqa: B018


def test_importing_easel_imports_nothing_else() -> None:
    code = "import easel, sys; print(sorted(m for m in sys.modules if m.partition('.')[0] in %r))"
    heavy = ("torch", "pydantic", "pluggy", "diffusers", "numpy", "PIL", "fastapi")
    found = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_extensions_and_their_values_do_without_torch() -> None:
    code = (
        "import sys; from easel import *; from easel.extensions.registry import Registry; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_our_own_extensions_import_public_names_only(folder: Path) -> None:
    for file in folder.rglob("*.py"):
        for module in _imports(ast.parse(file.read_text())):
            if module.partition(".")[0] == "easel":
                assert module in ("easel", "easel.testing"), f"{file.name} imports {module}"


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
