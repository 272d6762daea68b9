"""The machine a benchmark runs on: what it is, and how fast it multiplies matrices."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the figures depend on besides the program."""

    processor: str
    cores: int
    threads: int  # that torch computes with
    memory_gb: float
    load: float  # of the last minute, when the run began
    bf16: bool  # the processor multiplies bfloat16 in hardware
    device: str
    python: str
    torch: str
    diffusers: str

    def __str__(self) -> str:
        half = "with" if self.bf16 else "without"
        return (
            f"{self.processor}, {self.cores} cores, {self.threads} thread(s) used, {half} bf16 instructions, "
            f"{self.memory_gb:.0f} GB, load {self.load:.1f}; device {self.device}; "
            f"Python {self.python}, torch {self.torch}, diffusers {self.diffusers}"
        )


def describe_machine() -> Machine:
    """This machine as it is now."""
    import diffusers
    import torch

    from easel.models.placement import choose_placement, cpu_has_bf16

    return Machine(
        processor=_processor(),
        cores=psutil.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gb=psutil.virtual_memory().total / 1e9,
        load=psutil.getloadavg()[0],
        bf16=cpu_has_bf16(),
        device=str(choose_placement().device),
        python=platform.python_version(),
        torch=torch.__version__,
        diffusers=diffusers.__version__,
    )


def matmul_peak(dtype: torch.dtype, device: torch.device, *, side: int = 2048, runs: int = 5) -> float:
    """Floating-point operations a second of a (side, side) matrix product: the best that models could reach."""
    import torch

    a = torch.randn(side, side, device=device).to(dtype)
    b = torch.randn(side, side, device=device).to(dtype)
    seconds = []
    for _ in range(runs + 1):
        begin = perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        seconds.append(perf_counter() - begin)
    return 2 * side**3 / median(seconds[1:])


def _processor() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
