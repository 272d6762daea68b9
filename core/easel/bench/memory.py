"""What the two processes of a server hold."""

from __future__ import annotations

from pathlib import Path

import psutil

from easel.bench.checkpoints import TINY, checkpoint_in, data_folder
from easel.bench.figures import Figure, Report
from easel.bench.service import Server
from easel.bench.start import SCRIPT_NAME, STEPS, run_script
from easel.bench.timing import Effort

PICTURES = 20


def measure(effort: Effort) -> Report:
    """A server on the tiny checkpoint: what is there after one picture and after some more is program, not weights."""
    more = 2 if effort.quick else PICTURES
    body = {"prompt": "a cute cat", "steps": STEPS, "width": 64, "height": 64}
    with data_folder(TINY) as data:
        with Server(data) as server:
            server.wait_until_it_answers()
            server.txt2img(body)
            gateway = psutil.Process(server.process.pid)
            (worker,) = gateway.children()
            first = [_resident(gateway), _resident(worker)]
            for seed in range(more):
                server.txt2img(body | {"seed": seed})
            later = [_resident(gateway), _resident(worker)]
            peak = _peak(worker.pid)
        script = run_script(checkpoint_in(data, TINY))
    return Report(
        name="memory",
        title="resident memory, tiny checkpoint, 64x64",
        figures=(
            Figure(what="gateway", value=first[0], unit="MB", note="after the first picture"),
            Figure(what="worker", value=first[1], unit="MB", note="after the first picture"),
            Figure(
                what="worker, greatest",
                value=peak,
                unit="MB",
                against=SCRIPT_NAME,
                opponent=script,
                ratio=script / peak,
            ),
            Figure(what="gateway, growth", value=later[0] - first[0], unit="MB", note=f"over {more} pictures"),
            Figure(what="worker, growth", value=later[1] - first[1], unit="MB", note=f"over {more} pictures"),
        ),
    )


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def _peak(pid: int) -> float:
    """The greatest resident memory of a process so far, in MB (Linux counts it)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise psutil.AccessDenied(pid)
