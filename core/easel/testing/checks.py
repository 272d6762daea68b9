"""`easel check FOLDER`: is this folder an extension that a service can be trusted with?"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from easel.errors import EaselError
from easel.extensions.manifest import BadManifest, read_manifest
from easel.testing.service import EaselUnderTest
from easel.values.result import Result

PUBLIC = ("easel", "easel.testing", "easel.testing.plugin")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (a file, or a phase such as "start") and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check(folder: Path) -> list[Problem]:
    """Everything that is wrong with an extension; runs its code. Empty: fine."""
    folder = folder.resolve()
    try:
        read_manifest(folder)
    except BadManifest as error:
        return [Problem("extension.toml", error.message)]
    return [*_files(folder), *_imports(folder), *_behaviour(folder)]


def _files(folder: Path) -> Iterator[Problem]:
    if not (folder / "README.md").is_file():
        yield Problem("README.md", "there is none: say what it does, its settings, an example")
    if not list((folder / "tests").rglob("test_*.py")):
        yield Problem("tests", "there are none")


def _imports(folder: Path) -> Iterator[Problem]:
    """Only public names of Easel."""
    for file in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(file.read_text())
        except (SyntaxError, UnicodeDecodeError) as error:
            yield Problem(str(file.relative_to(folder)), f"cannot be read: {error}")
            continue
        for module in _modules(tree):
            if module.partition(".")[0] == "easel" and module not in PUBLIC:
                yield Problem(str(file.relative_to(folder)), f"imports {module}; public names are those of `easel`")


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def _behaviour(folder: Path) -> Iterator[Problem]:
    """Load, start, make pictures twice, switch off."""
    path, modules = list(sys.path), set(sys.modules)
    with TemporaryDirectory() as data:
        app = EaselUnderTest(Path(data), folder)
        try:
            app.start()
            first, again = (app.generate("a cat", batch_size=2, n_iter=2) for _ in range(2))
            if _pixels(first) != _pixels(again):
                yield Problem("generate", "the same request made other pictures the second time")
            if len(first.images) < 4:
                yield Problem("generate", f"4 pictures were asked for, {len(first.images)} came")
            yield from _switching(app, folder)
        except EaselError as error:
            yield Problem("generate" if app.engine.calls else "start", error.message)
        finally:
            app.stop()
    if sys.path != path:
        yield Problem("import", "changes sys.path")
    if added := [name for name in sorted(set(sys.modules) - modules) if name.partition(".")[0] == "torch"]:
        yield Problem("import", f"imports {added[0]}, which a gateway must not; import it in the hook that needs it")


def _switching(app: EaselUnderTest, folder: Path) -> Iterator[Problem]:
    name = read_manifest(folder).name
    app.switch_extension(name, False)
    hooks = app.extensions.hooks
    if hooks.extensions or hooks.scripts.owned or hooks.upscalers:
        yield Problem("switching", "something of it is left after it was switched off")
    app.generate("a cat")
    status = app.switch_extension(name, True)
    if status.reason:
        yield Problem("switching", f"does not come back: {status.reason}")


def _pixels(result: Result) -> list[bytes]:
    return [image.data for image in result.images]
