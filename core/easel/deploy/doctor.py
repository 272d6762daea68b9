"""Is this installation well? One finding a line, in words that say what to do."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from easel import __version__
from easel.app import Easel
from easel.egress import EgressLog
from easel.errors import EaselError
from easel.settings import Settings

_GIGABYTE = 2**30
_LOW_DISK, _LOW_RAM = 5, 8  # gigabytes
# In a process of its own: the gateway's side never imports torch.
_TORCH = """
import torch
if torch.cuda.is_available():
    free, total = (size >> 30 for size in torch.cuda.mem_get_info())
    where = f"{torch.cuda.get_device_name()}, {free} of {total} GB free"
else:
    where = f"processor, {torch.get_num_threads()} threads"
print(torch.__version__, "on", where)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Literal["well", "look", "broken"]
    about: str
    text: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:<8} {self.about}: {self.text}" + (f"; {self.cure}" if self.cure else "")


def examine(settings: Settings) -> list[Finding]:
    """Look at versions, torch, memory, disk, packages, models, extensions and the edition; starts no engine."""
    findings = [Finding("well", "version", f"easel {__version__}, Python {sys.version.split()[0]}")]
    findings += [
        _torch(),
        *_gpu(settings),
        _memory(),
        _packages(),
        *_data(settings),
        *_edition(settings),
        *egress(settings),
        *_port(settings),
    ]
    if all(finding.verdict != "broken" for finding in findings):
        findings += _parts(settings)
    findings += [Finding("look", "flag", remark) for remark in settings.remarks()]
    return findings


def _torch() -> Finding:
    try:
        run = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=120, check=True)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Finding("broken", "torch", reason, "run ./webui.sh once without --skip-prepare-environment")
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
        yield Finding(
            "broken", "data", f"{there} cannot be written", "give its owner the right to, or choose another --data-dir"
        )
        return
    free = shutil.disk_usage(there).free / _GIGABYTE
    low = free < _LOW_DISK
    cure = "delete old pictures, or choose another --data-dir" if low else ""
    yield Finding("look" if low else "well", "data", f"{folder}, {free:.0f} GB free", cure)
    kind = _file_system(there)
    if kind in ("overlay", "tmpfs"):  # a container's own layer, or memory
        text = f"{folder} is on {kind}: models and pictures may be gone after a restart"
        yield Finding("look", "storage", text, "mount a storage there, or name one with --data-dir")


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder is on; empty where that is not known."""
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(one.mountpoint)]
    return str(max(mounts, key=lambda one: len(one.mountpoint)).fstype) if mounts else ""


def _gpu(settings: Settings) -> Iterator[Finding]:
    """Is there a card that torch cannot use?"""
    if settings.use_cpu or shutil.which("nvidia-smi") is None:
        return
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
        cure = "update the driver, or install torch for it: TORCH_COMMAND=… ./webui.sh; --use-cpu all says it is meant"
        yield Finding("look", "gpu", "there is an NVIDIA driver, but torch finds no card", cure)


def _packages() -> Finding:
    """Do the installed packages agree with each other?"""
    run = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    # spandrel names torchvision; what is used of it does without (tools/setup.sh).
    told = (run.stdout or run.stderr).strip().splitlines()
    lines = [line for line in told if not (line.startswith("spandrel ") and "torchvision" in line)]
    if run.returncode == 0 or (told and not lines):
        return Finding("well", "packages", "they agree with each other")
    text = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
    return Finding("look", "packages", text or "pip cannot say", "./webui.sh installs Easel's own set in .venv")


def _edition(settings: Settings) -> Iterator[Finding]:
    if settings.edition == "api" and "data_dir" not in settings.given:
        text = f"the api edition was given no --data-dir: results are saved below {settings.data_dir}"
        yield Finding("look", "edition", text, "name the mounted storage; clients look for pictures there")
    if not settings.page:
        why = "--nowebui" if settings.nowebui else "the api edition"
        yield Finding("well", "page", f"there is none ({why}); the standard edition has one")
    if not settings.filebrowser:
        yield Finding("well", "files", "the file manager is off; --filebrowser switches it on")
    mode = "--offline: what asks the network is refused at once" if settings.offline else "nothing is downloaded"
    yield Finding("well", "offline", f"{mode}; an extension that lacks a file says below where to put it")


def egress(settings: Settings) -> Iterator[Finding]:
    """What the service tried to get from the network, and what to do without one."""
    for one in EgressLog(settings.state_dir).read():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.when))
        yield Finding("look", "egress", f"{one.outcome} {one.url} for {one.by or 'a library'}, {when}", one.put)


def _port(settings: Settings) -> Iterator[Finding]:
    """Can the port be had? If not: is it a service that answers, or one that is stuck?"""
    if not settings.bind_port:
        return
    try:
        with socket.create_server((settings.host, settings.bind_port)):
            return
    except OSError as error:
        reason = error.strerror
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
    address = f"{host}:{settings.bind_port}{'/' + settings.subpath.strip('/') if settings.subpath else ''}"
    if settings.tls_certfile is None and _answers(f"http://{address}/internal/ping"):
        yield Finding("well", "port", f"a service answers at {address}")
        return
    cure = "if it is a service, it is stuck: `easel restart NAME`; else choose another --port"
    yield Finding("broken", "port", f"{settings.bind_port} cannot be used: {reason}, and nobody answers there", cure)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _parts(settings: Settings) -> Iterator[Finding]:
    try:
        app = Easel(settings)
    except EaselError as error:
        yield Finding("broken", "settings", error.message)
        return
    for info in app.store.checkpoints():
        if info.refused_reason:
            cure = "easel convert FILE rewrites a pickle; then restart, or refresh the list"
            yield Finding("look", "model", info.refused_reason, cure)
        else:
            yield Finding("well", "model", f"{info.title} ({info.family})")
    app.extensions.load()
    for status in app.extensions.list():
        verdict: Literal["well", "look"] = "look" if status.state in ("failed", "unavailable") else "well"
        text = f"{status.name} {status.version} is {status.state}" + (f": {status.reason}" if status.reason else "")
        yield Finding(verdict, "extension", text)
