"""The kit for authors: what `check` finds, and what the service under test lets nobody overlook."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from easel.api.server import create_api
from easel.cli import main
from easel.errors import BadRequest, EaselError, ExtensionError
from easel.testing import EaselUnderTest, check
from easel.testing.skeleton import new_extension

Write = Callable[..., Path]
LORA = Path(__file__).parents[2] / "extensions" / "lora"


@pytest.fixture
def complete(write: Write) -> Write:
    """`write`, with README and tests."""

    def complete(name: str, body: str = "", **keys: object) -> Path:
        folder = write(name, body, **keys)
        (folder / "README.md").write_text("What it does.")
        (folder / "tests").mkdir()
        (folder / "tests" / "test_it.py").write_text("")
        return folder

    return complete


@contextmanager
def running(folder: Path, data: Path) -> Iterator[EaselUnderTest]:
    app = EaselUnderTest(data, folder)
    try:
        app.start()
        yield app
    finally:
        app.stop()


def test_our_own_extension_is_fine() -> None:
    assert check(LORA) == []


def test_a_minimal_extension_is_fine(complete: Write) -> None:
    assert check(complete("fine")) == []


@pytest.mark.parametrize(
    ("body", "keys", "problem"),
    [
        ("", {"colour": "red"}, "extension.toml: unknown key 'colour'"),
        ("", {"head": "import easel.values.job"}, "__init__.py: imports easel.values.job; public names are those of"),
        (
            "",
            {"head": "1 / 0"},
            "start: one is failed: extension 'one' failed in import: ZeroDivision",
        ),
        ("", {"requires": ["not-there>=1"]}, "start: one is unavailable: needs not-there>=1"),
        ("@hookimpl\ndef startup(self, app): 1 / 0", {}, "start: one is failed: extension 'one' failed in startup"),
        ("@hookimpl\ndef rewrite_promt(self, prompt): ...", {}, "did you mean 'rewrite_prompt'?"),
        (
            "@hookimpl\ndef rewrite_prompt(self, prompt): 1 / 0",
            {},
            "generate: extension 'one' failed in rewrite_prompt",
        ),
        ("@hookimpl\ndef process_images(self, images): return images[:1]", {}, "generate: 4 pictures were asked for"),
        (
            "n = 0\n@hookimpl\ndef rewrite_prompt(self, prompt):\n    self.n += 1\n"
            "    return replace(prompt, positive=tuple(f'{self.n}' for _ in prompt.positive))",
            {},
            "generate: the same request made other pictures the second time",
        ),
        ("", {"head": "import sys\nsys.path.append('/nowhere')"}, "import: changes sys.path"),
        ("", {"head": "import os\nos.environ['ONE'] = '1'"}, "import: changes the environment variable ONE"),
        (
            "@hookimpl\ndef startup(self, app): Thread(target=sleep, args=(4,), name='busy', daemon=True).start()",
            {"head": "from threading import Thread\nfrom time import sleep"},
            "switching: a thread is left: busy after it was switched off",
        ),
        (
            "@hookimpl\ndef rewrite_prompt(self, prompt): (self.folder / 'kept.txt').write_text('x')",
            {},
            "kept.txt; its own folder is self.data, others stand in permissions.paths",
        ),
        (
            "@hookimpl\ndef rewrite_prompt(self, prompt):\n    (self._at / 'x').write_text('x')\n"
            "@hookimpl\ndef startup(self, app): self._at = app.settings.data_dir",
            {},
            "files: writes x; its own folder",
        ),
        (
            "settings_model = Own",
            {"head": "from pydantic import BaseModel\nclass Own(BaseModel):\n    loudness: int = 1"},
            "README.md: does not name the setting loudness",
        ),
        (
            "@hookimpl\ndef register_scripts(self): return Script('Refiner', Own, always_on=True)",
            {"head": "from pydantic import BaseModel\nclass Own(BaseModel): ..."},
            "names: the script 'Refiner' has a name that means something else",
        ),
        (
            "@hookimpl\ndef rewrite_prompt(self, prompt, job):\n    self._seed = job.request.seed\n    sleep(0.05)\n"
            "@hookimpl\ndef process_images(self, images):\n"
            "    return tuple(replace(one, pixels=one.pixels.rotate(90 * self._seed)) for one in images)",
            {"head": "from time import sleep"},
            "generate: jobs that run at the same time make other pictures than one after the other",
        ),
    ],
)
def test_what_is_wrong_is_found(
    body: str, keys: dict[str, str], problem: str, complete: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("ONE", "")
    found = [str(one) for one in check(complete("one", body, **keys))]
    assert any(problem in one for one in found), found


def test_an_open_socket_is_found(complete: Write) -> None:
    body = "@hookimpl\ndef startup(self, app): OPEN.append(create_server(('127.0.0.1', 0)))"
    found = check(complete("one", body, head="from socket import create_server\nOPEN = []"))
    for socket in sys.modules["easel_extensions.one"].OPEN:
        socket.close()
    assert [str(one) for one in found] == ["switching: a socket is left open after it was switched off"]


def test_a_host_that_was_not_declared_is_found(complete: Write) -> None:
    body = "@hookimpl\ndef startup(self, app):\n    with socket() as one: one.connect_ex(('127.0.0.1', 9))"
    assert [str(one) for one in check(complete("one", body, head="from socket import socket"))] == [
        "network: connects to 127.0.0.1, which is not in permissions.hosts"
    ]


def test_files_of_its_own_and_declared_ones_are_fine(complete: Write) -> None:
    body = (
        "@hookimpl\ndef startup(self, app):\n    (self.data / 'own').write_text('x')\n"
        "    (app.settings.data_dir / 'wildcards').mkdir(exist_ok=True)\n"
        "    (app.settings.data_dir / 'wildcards' / 'x').write_text('x')\n"
        "    with TemporaryFile() as file: file.write(b'x')"
    )
    folder = complete("one", body, head="from tempfile import TemporaryFile")
    manifest = folder / "extension.toml"
    manifest.write_text(manifest.read_text() + '[permissions]\npaths = ["wildcards"]\n')
    assert check(folder) == []


def test_a_new_extension_is_fine_and_passes_its_own_tests(tmp_path: Path) -> None:
    folder = new_extension("soft-focus", tmp_path)
    assert folder == tmp_path / "soft_focus"
    assert check(folder) == []
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "easel.testing.plugin",
        "-p",
        "no:cacheprovider",
        str(folder),
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stdout


def test_a_new_extension_is_not_written_over_another(tmp_path: Path) -> None:
    new_extension("mine", tmp_path)
    with pytest.raises(EaselError, match="is there already"):
        new_extension("mine", tmp_path)
    with pytest.raises(BadRequest, match="lower-case words"):
        new_extension("../mine", tmp_path)


def test_check_as_a_command(write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["new-extension", "fine", "--into", str(tmp_path)]) == 0
    assert "easel check" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "fine")]) == 0
    assert "fine: fine" in capsys.readouterr().out
    assert main(["check", str(write("one", "@hookimpl\ndef rewrite_promt(self): ..."))]) == 1
    said = capsys.readouterr().out
    assert "problem  README.md: there is none" in said
    assert "did you mean 'rewrite_prompt'?" in said


def test_readme_and_tests_are_missed(write: Write) -> None:
    assert [problem.where for problem in check(write("one"))] == ["README.md", "tests"]


def test_only_the_extension_under_test_is_on(write: Write, tmp_path: Path) -> None:
    with running(write("one", "@hookimpl\ndef register_scripts(self): return []"), tmp_path / "data") as app:
        assert [status.name for status in app.extensions.list()] == ["one"]
        assert len(app.generate("a cat", batch_size=2).images) == 2


def test_scripts_by_position_and_by_name(write: Write, tmp_path: Path) -> None:
    folder = write(
        "one",
        """
        @hookimpl
        def register_scripts(self): return [Script("Say", Say), Script("Always", Often, always_on=True)]
        @hookimpl
        def rewrite_prompt(self, prompt, job):
            said = job.script_args(Say)
            words = (said.word if said else "") + job.script_args(Often).ending
            return replace(prompt, positive=tuple(words for _ in prompt.positive))
        """,
        head="""
        from pydantic import BaseModel
        class Say(BaseModel):
            word: str = "hello"
        class Often(BaseModel):
            ending: str = "."
        """,
    )
    with running(folder, tmp_path / "data") as app:
        for scripts in ({"say": ["hi"], "always": {"ending": "!"}}, {"Say": {}}, {}):
            app.generate(scripts=scripts)
        texts = [call.arguments["positive"][0] for call in app.engine.called("encode_prompts")]
    assert texts == ["hi!", "hello.", "."]


def test_a_hook_that_a_service_would_leave_out_fails_here(write: Write, tmp_path: Path) -> None:
    folder = write("one", "@hookimpl\ndef process_images(self, images): 1 / 0")
    with (
        running(folder, tmp_path / "data") as app,
        pytest.raises(ExtensionError, match="'one' failed in process_images: ZeroDivisionError"),
    ):
        app.generate("a cat")


def test_a_selectable_script_runs_requests_as_parts_of_its_job(write: Write, tmp_path: Path) -> None:
    folder = write(
        "one",
        """
        @hookimpl
        def register_scripts(self): return Script("Seeds", Seeds)
        @hookimpl
        def generate(self, job):
            seeds = job.script_args(Seeds)
            if seeds is None:
                return None
            drafts = job.run_all([replace(job.request, seed=seed) for seed in range(seeds.count)])
            return replace(drafts[0], images=tuple(image for draft in drafts for image in draft.images))
        """,
        head="""
        from pydantic import BaseModel
        class Seeds(BaseModel):
            count: int = 2
        """,
    )
    with running(folder, tmp_path / "data") as app:
        assert [image.seed for image in app.generate(scripts={"seeds": [3]}).images] == [0, 1, 2]
        assert len(app.generate().images) == 1


def test_routes_answer_while_the_extension_is_on(write: Write, tmp_path: Path) -> None:
    folder = write(
        "one",
        """
        @hookimpl
        def register_routes(self, app):
            router = APIRouter()
            @router.get("/one/{number}")
            def one(number: int) -> int: return number + 1
            return router
        """,
        head="from fastapi import APIRouter",
    )
    app = EaselUnderTest(tmp_path / "data", folder)
    with TestClient(create_api(app)) as client:
        assert client.get("/one/2").json() == 3
        app.switch_extension("one", False)
        assert client.get("/one/2").status_code == 404


def test_a_copied_extension_can_be_tested_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "lora"
    shutil.copytree(LORA, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert check(folder) == []
