"""The command `easel` and `webui.sh`."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CHECKOUT = Path(__file__).parents[1]
HELP_SECONDS = 0.3


def easel(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "easel", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        timeout=240,
        check=False,
    )


def test_help_comes_at_once_and_names_every_command() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = easel("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 0
    for command in (
        "serve",
        "txt2img",
        "img2img",
        "explain",
        "models",
        "extensions",
        "convert",
        "submit",
        "watch",
        "bench",
        "doctor",
        "info",
    ):
        assert f"\n    {command}" in answer.stdout
    # Of the processor's time: what the clock shows on an idle machine, whatever else runs on this one.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_SECONDS


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, easel.cli\n"
        "try: easel.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'pydantic', 'fastapi', 'torch', 'numpy', 'rich', 'easel.settings'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "[]"


def test_serve_help_lists_the_flags() -> None:
    answer = easel("serve", "--help")
    assert answer.returncode == 0
    assert "--data-dir" in answer.stdout
    assert "Not available yet" in answer.stdout


@pytest.mark.parametrize(("words", "says"), [
    (["serve", "--prot", "1"], "unknown flag '--prot'; did you mean --port?"),
    (["serve", "--share"], "--share is not available yet"),
    (["models", "--bogus"], "unknown flag '--bogus'"),
    (["img2img", "a", "-i", "/no/such.png"], "/no/such.png cannot be read"),
    (["submit", "txt2img", "{"], "BODY is not JSON"), (["submit", "txt2img", "[]"], "must be a JSON object"),
    (["submit", "txt2img", "@/no/such.json"], "/no/such.json cannot be read"), (["submit"], "required"),
    (["submit", "txt2img", "--url", "nowhere"], "is no address"), (["watch", "--bogus"], "--bogus"),
    (["nope"], "invalid choice"), ([], "required"), (["txt2img"], "required"),
])  # fmt: skip
def test_wrong_usage(words: list[str], says: str, tmp_path: Path) -> None:
    answer = easel(*words, cwd=tmp_path)
    assert answer.returncode in (1, 2)
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_request_names_the_field(tmp_path: Path) -> None:
    answer = easel("txt2img", "a cat", "--steps", "0", "--data-dir", str(tmp_path))
    assert (answer.returncode, answer.stderr) == (2, "easel: steps: out of range (got 0; allowed: at least 1)\n")
    answer = easel("txt2img", "a cat", "--cfg", "nan", "--data-dir", str(tmp_path))
    assert (answer.returncode, "cfg_scale" in answer.stderr, "Traceback" in answer.stderr) == (2, True, False)


def test_a_picture_from_a_prompt_and_one_from_that_picture(tmp_path: Path) -> None:
    """The whole program on the starter model, offline: what the README promises."""
    data = ["--data-dir", str(tmp_path / "data")]
    answer = easel("txt2img", "a cute cat", "-o", "cat.png", "--steps", "1", "--height", "128", *data, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "cat.png"
    with Image.open(tmp_path / "cat.png") as picture:
        assert picture.size == (512, 128)
        assert "a cute cat\nSteps: 1, Sampler: DPM++ 2M" in picture.info["parameters"]
    small = ["--width", "64", "--height", "64", "--steps", "2", "--count", "2"]
    answer = easel("img2img", "a dog", "-i", "cat.png", "-o", "dog.jpg", *small, *data, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    for name in ("dog-1.jpg", "dog-2.jpg"):
        with Image.open(tmp_path / name) as picture:
            assert (picture.size, picture.format) == ((64, 64), "JPEG")


def test_explaining_a_picture(tmp_path: Path) -> None:
    answer = easel("explain", "a {cat|cat}", "--seed", "3", "--steps", "2", "--data-dir", str(tmp_path))
    assert answer.returncode == 0, answer.stderr
    assert "txt2img: 1 picture(s), seed 3" in answer.stdout
    assert "loads     checkpoint starter" in answer.stdout
    assert "denoises  first: 2 steps of" in answer.stdout
    assert "wildcards changed: positive: 'a {cat|cat}' → 'a cat'" in answer.stdout
    assert not list((tmp_path / "outputs").rglob("*.*"))


def test_lists_and_info(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path)]
    assert "checkpoint  starter  starter" in easel("models", *data).stdout
    assert "lora  " in easel("extensions", *data).stdout
    assert f"data    {tmp_path}" in easel("info", *data, "--port", "8000").stdout
    assert ":8000/sdapi/v1" in easel("info", *data, "--port", "8000").stdout


def test_doctor(tmp_path: Path) -> None:
    well = easel("doctor", "--data-dir", str(tmp_path))
    assert well.returncode == 0
    for about in ("version: easel", "torch: 2.", "memory:", "data:", "model: starter", "extension: lora"):
        assert about in well.stdout
    assert "Traceback" not in easel("serve", "--data-dir", "/proc/none").stderr
    blocked = tmp_path / "file"
    blocked.write_text("")
    broken = easel("doctor", "--data-dir", str(blocked / "data"))
    assert (broken.returncode, "broken" in broken.stdout) == (1, True)


def test_converting_a_pickle(tmp_path: Path) -> None:
    code = "import torch; torch.save({'state_dict': {'a': torch.zeros(2)}}, 'model.ckpt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    answer = easel("convert", "model.ckpt", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "model.safetensors").stat().st_size > 8
    assert easel("convert", "model.ckpt", cwd=tmp_path).returncode == 1  # never overwrites


def launcher(folder: Path) -> Path:
    """A checkout with nothing in it but what `webui.sh` needs, and a Python that only notes how it is called."""
    for name in ("webui.sh", "tools/setup.sh", "pyproject.toml", "constraints.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    python = folder / "python"
    python.write_text(
        "#!/usr/bin/env bash\n"
        f'echo "$0 $*" >> "{folder}/calls"\n'
        'if [ "$1 $2" = "-m venv" ]; then mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; fi\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def launch(folder: Path, *words: str, cwd: Path, **environment: str) -> list[str]:
    """What the Python of `launcher` was called with, version checks left out."""
    (folder / "calls").unlink(missing_ok=True)
    environment = {"PATH": os.environ["PATH"], "python_cmd": str(folder / "python"), **environment}
    subprocess.run([folder / "webui.sh", *words], cwd=cwd, env=environment, check=True, capture_output=True, timeout=60)
    calls = (folder / "calls").read_text().splitlines()
    return [call.replace(str(folder), "") for call in calls if " -c " not in call and "--version" not in call]


def test_webui_installs_once_and_passes_its_flags_on(tmp_path: Path) -> None:
    folder = tmp_path / "check out"
    launcher(folder)
    first = launch(folder, "--port", "8000", "--data-dir=a b", cwd=tmp_path)
    assert [call.split(" ")[0] for call in first] == ["/python", *["/.venv/bin/python"] * 3]
    assert " -m pip install " in first[1]
    assert "--constraint /constraints.txt" in first[1]
    serve = "/.venv/bin/python -m easel serve --port 8000 --data-dir=a b"
    assert " --no-deps spandrel" in first[2]
    assert first[3] == serve
    assert launch(folder, "--port", "8000", "--data-dir=a b", cwd=tmp_path) == [serve]
    with (folder / "constraints.txt").open("a") as constraints:
        constraints.write("# another day\n")
    assert len(launch(folder, cwd=tmp_path)) == 3  # installs again, into the same environment


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_webui_can_be_told_to_install_nothing(tmp_path: Path, how: str) -> None:
    launcher(tmp_path)
    if how == "flag":
        calls = launch(tmp_path, "--skip-prepare-environment", "--port", "1", cwd=Path("/"))
        assert calls == ["/python -m easel serve --skip-prepare-environment --port 1"]
    else:
        calls = launch(tmp_path, "--port", "1", cwd=Path("/"), COMMANDLINE_ARGS="--skip-install")
        assert calls == ["/python -m easel serve --port 1"]


def test_webui_installs_torch_as_it_is_told(tmp_path: Path) -> None:
    launcher(tmp_path)
    calls = launch(tmp_path, cwd=tmp_path, TORCH_COMMAND="echo torch > torch-was-installed")
    assert (tmp_path / "torch-was-installed").exists()
    assert "--constraint /.venv/constraints.txt" in calls[1]
    assert "torch==" not in (tmp_path / ".venv" / "constraints.txt").read_text()


def test_webui_answers_with_the_real_python(tmp_path: Path) -> None:
    words = [CHECKOUT / "webui.sh", "--skip-prepare-environment", "--help"]
    answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "--data-dir" in answer.stdout
