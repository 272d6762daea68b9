"""Is this installation well? One finding a line, in words that say what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil

from easel import __version__
from easel.app import Easel
from easel.errors import EaselError
from easel.settings import Settings

_GIGABYTE = 2**30
_LOW_DISK, _LOW_RAM = 5, 8  # gigabytes
# In a process of its own: the gateway's side never imports torch.
_TORCH = """
import torch
where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"processor, {torch.get_num_threads()} threads"
print(torch.__version__, "on", where)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Literal["well", "look", "broken"]
    about: str
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Look at versions, torch, memory, disk, models and extensions; starts no engine."""
    findings = [Finding("well", "version", f"easel {__version__}, Python {sys.version.split()[0]}")]
    findings += [_torch(), _memory(), *_data(settings)]
    if all(finding.verdict != "broken" for finding in findings):
        findings += _parts(settings)
    findings += [Finding("look", "flag", remark) for remark in settings.remarks()]
    return findings


def _torch() -> Finding:
    try:
        run = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=120, check=True)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding("broken", "torch", f"{reason}; run ./webui.sh once without --skip-prepare-environment")
    except subprocess.TimeoutExpired:
        return Finding("broken", "torch", "importing it takes more than two minutes")
    return Finding("well", "torch", run.stdout.strip())


def _memory() -> Finding:
    total, free = (size / _GIGABYTE for size in (psutil.virtual_memory().total, psutil.virtual_memory().available))
    verdict: Literal["well", "look"] = "look" if total < _LOW_RAM else "well"
    return Finding(verdict, "memory", f"{total:.0f} GB, {free:.0f} GB of it free; {os.cpu_count()} processors")


def _data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield Finding("broken", "data", f"{there} cannot be written; choose another --data-dir")
        return
    free = shutil.disk_usage(there).free / _GIGABYTE
    yield Finding("look" if free < _LOW_DISK else "well", "data", f"{folder}, {free:.0f} GB free")


def _parts(settings: Settings) -> Iterator[Finding]:
    try:
        app = Easel(settings)
    except EaselError as error:
        yield Finding("broken", "settings", error.message)
        return
    for info in app.store.checkpoints():
        if info.refused_reason:
            yield Finding("look", "model", info.refused_reason)
        else:
            yield Finding("well", "model", f"{info.title} ({info.family})")
    app.extensions.load()
    for status in app.extensions.list():
        verdict: Literal["well", "look"] = "look" if status.state in ("failed", "unavailable") else "well"
        text = f"{status.name} {status.version} is {status.state}" + (f": {status.reason}" if status.reason else "")
        yield Finding(verdict, "extension", text)
