"""Starting: the command line's first word, the server's first answer, its first picture."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import psutil

from easel.bench.checkpoints import TINY, checkpoint_in, data_folder
from easel.bench.figures import Figure, Report, Target
from easel.bench.opponent import SCRIPT
from easel.bench.service import Server, easel_command, easel_environment
from easel.bench.timing import Effort, Rounds, Side, alternate

STEPS = 4
HELP = "easel --help"
BARE = "python -c pass"
ANSWER = "server to its first answer"
GATEWAY = "the same in processor time"
PICTURE = "server to its first picture"
SCRIPT_NAME = "diffusers script"


def measure(effort: Effort) -> Report:
    """Everything is a process started anew each time, files in the system's cache."""
    help_rounds = alternate(
        {HELP: lambda: _run([*easel_command(), "--help"]), BARE: lambda: _run([sys.executable, "-c", "pass"])},
        1 if effort.quick else 2 * effort.rounds + 1,
    )
    used: list[float] = []
    with data_folder(TINY) as data:
        sides: dict[str, Side] = {
            ANSWER: lambda: _first_answer(data, used),
            PICTURE: lambda: _first_picture(data, 64),
            SCRIPT_NAME: lambda: _script(checkpoint_in(data, TINY)),
        }
        rounds = alternate(sides, effort.rounds, warm_up=not effort.quick)
    figures = [
        _against(help_rounds, HELP, BARE, Target("below", 0.3)),
        Figure(
            what=ANSWER,
            value=rounds.median(ANSWER),
            target=Target("below", 3.0),
            note="/internal/ping, --nowebui",
            samples={ANSWER: rounds.seconds[ANSWER]},
        ),
        Figure(
            what=GATEWAY,
            value=median(used),
            note="of the gateway; what an idle machine waits",
            samples={GATEWAY: used},
        ),
        _against(rounds, PICTURE, SCRIPT_NAME, None, note=f"tiny checkpoint, {STEPS} steps, 64x64"),
    ]
    if not effort.quick:
        figures.append(_starter(effort))
    return Report(
        name="start",
        title="from nothing",
        figures=tuple(figures),
        remark=f"Median of {effort.rounds} alternating rounds; seconds from the start of the process.",
    )


def run_script(folder: Path, *, side: int = 64, steps: int = STEPS) -> float:
    """Run the opponent's script in a process of its own; its greatest memory in MB."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(side), str(side), str(steps)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=easel_environment()
    )
    return int(done.stdout) * 1024 / 1e6


def _script(folder: Path) -> None:
    run_script(folder)  # the memory it returns is no time


def _starter(effort: Effort) -> Figure:
    with data_folder() as data:
        rounds = alternate({PICTURE: lambda: _first_picture(data, 512)}, effort.rounds, warm_up=False)
    return Figure(
        what=PICTURE,
        value=rounds.median(PICTURE),
        note=f"starter, {STEPS} steps, 512x512",
        samples=rounds.seconds,
    )


def _against(rounds: Rounds, side: str, opponent: str, target: Target | None, note: str = "") -> Figure:
    """The target is about the seconds themselves, so the ratio is left to the reader."""
    return Figure(
        what=side,
        value=rounds.median(side),
        against=opponent,
        opponent=rounds.median(opponent),
        target=target,
        note=note,
        samples={side: rounds.seconds[side], opponent: rounds.seconds[opponent]},
    )


def _first_answer(data: Path, used: list[float]) -> float:
    """Seconds to the first answer; `used` gets the gateway's processor time until then."""
    begin = time.perf_counter()
    with Server(data) as server:
        server.wait_until_it_answers()
        seconds = time.perf_counter() - begin  # stopping it does not count
        spent = psutil.Process(server.process.pid).cpu_times()
        used.append(float(spent.user + spent.system))
    return seconds


def _first_picture(data: Path, side: int) -> float:
    begin = time.perf_counter()
    with Server(data) as server:
        server.wait_until_it_answers()
        server.txt2img({"prompt": "a cute cat", "steps": STEPS, "width": side, "height": side})
        return time.perf_counter() - begin


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=easel_environment())
