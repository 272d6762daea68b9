"""`easel check FOLDER`: is this folder an extension that a service can be trusted with?"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from easel.api.pai import KEYS
from easel.api.reading import PLAIN_SCRIPTS
from easel.errors import EaselError
from easel.extensions.loader import import_package
from easel.extensions.manifest import BadManifest, Manifest, read_manifest
from easel.imaging.upscale import BUILT_IN, LATENT_MODES
from easel.testing.leftovers import Process, misplaced, watched
from easel.testing.service import EaselUnderTest
from easel.values.result import Result

PUBLIC = ("easel", "easel.testing", "easel.testing.plugin")
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "gradio")  # seconds and hundreds of MB
ASPECTS = (
    "manifest, README, tests, public names only, settings, names of scripts and upscalers, starts, leaves heavy "
    "imports to hooks, same picture every time, batches, several jobs at once, writes in its own folder only, "
    "switches off and on, leaves nothing behind"
)
TOGETHER = 4  # jobs at once


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
        manifest = read_manifest(folder)
    except BadManifest as error:
        return [Problem("extension.toml", error.message)]
    return [*_files(folder), *_imports(folder), *_behaviour(folder, manifest)]


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


def _behaviour(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Load, start, make pictures in every way, switch off; without a page, in a data folder of its own."""
    before, modules = Process.now(), set(sys.modules)
    with TemporaryDirectory() as temporary, watched(folder) as deeds:
        data = Path(temporary) / "data"
        app = EaselUnderTest(data, folder)
        try:
            app.start()
            if heavy := [name for name in HEAVY if name in sys.modules and name not in modules]:
                yield Problem("import", f"imports {heavy[0]}, which a gateway must not; import it where it is used")
            yield from (Problem("README.md", what) for what in _undocumented(manifest, folder))
            yield from (Problem("names", what) for what in _taken_names(app))
            yield from _pictures(app)
            yield from _switching(app, manifest, before)
        except EaselError as error:
            yield Problem("generate" if app.engine.calls else "start", error.message)
        finally:
            app.stop()
        own = [app.settings.state_dir / "extensions" / manifest.name]
        own += [data / path for path in manifest.permissions.paths]
        yield from (Problem("files", what) for what in misplaced(deeds, data, tuple(own)))
        if hosts := deeds.called - set(manifest.permissions.hosts):
            yield Problem("network", f"connects to {min(hosts)}, which is not in permissions.hosts")
    yield from (Problem("import", what) for what in before.changes())


def _undocumented(manifest: Manifest, folder: Path) -> Iterator[str]:
    """Settings that the README does not name."""
    readme = folder / "README.md"
    model = getattr(import_package(manifest, folder), manifest.entry).settings_model
    if model is not None and readme.is_file():
        text = readme.read_text().lower()
        yield from (f"does not name the setting {name}" for name in model.model_fields if name.lower() not in text)


def _taken_names(app: EaselUnderTest) -> Iterator[str]:
    """Names that mean something else in a request."""
    titles = (one.script.title for one in app.extensions.hooks.scripts.owned)
    for title in titles:
        if title.lower() in (*KEYS, *PLAIN_SCRIPTS):
            yield f"the script {title!r} has a name that means something else in alwayson_scripts"
    upscalers = (one.value.name for one in app.extensions.hooks.upscalers)
    for name in upscalers:
        if name in (*LATENT_MODES, *(one.name for one in BUILT_IN)):
            yield f"the upscaler {name!r} is there already"


def _pictures(app: EaselUnderTest) -> Iterator[Problem]:
    first, again = (app.generate("a cat", batch_size=2, n_iter=2) for _ in range(2))
    if _pixels(first) != _pixels(again):
        yield Problem("generate", "the same request made other pictures the second time")
        return
    if len(first.images) < 4:
        yield Problem("generate", f"4 pictures were asked for, {len(first.images)} came")
    alone = [_pixels(app.generate("a cat", seed=seed)) for seed in range(TOGETHER)]
    jobs = [app.submit("a cat", seed=seed) for seed in range(TOGETHER)]
    if [_pixels(app.wait(job)) for job in jobs] != alone:
        yield Problem("generate", "jobs that run at the same time make other pictures than one after the other")


def _switching(app: EaselUnderTest, manifest: Manifest, before: Process) -> Iterator[Problem]:
    app.switch_extension(manifest.name, False)
    hooks = app.extensions.hooks
    if hooks.extensions or hooks.scripts.owned or hooks.upscalers or hooks.face_restorers:
        yield Problem("switching", "something of it is left after it was switched off")
    app.generate("a cat")
    yield from (Problem("switching", f"{what} after it was switched off") for what in before.left())
    status = app.switch_extension(manifest.name, True)
    if status.reason:
        yield Problem("switching", f"does not come back: {status.reason}")
    app.generate("a cat")


def _pixels(result: Result) -> list[bytes]:
    return [image.data for image in result.images]
