"""Where models compute and in which precision."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from easel.errors import SettingsError
from easel.models.cache import available_memory

log = logging.getLogger(__name__)
CPU_INFO = Path("/proc/cpuinfo")
COMPILERS = ("g++", "c++", "clang++")  # what torch.compile looks for
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is ARM's name


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, the number types of denoiser and text encoders, and of the autoencoder.

    `compiled`: denoisers go through torch.compile; `xformers`: they use its attention, PyTorch's own otherwise.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    vae_dtype: torch.dtype = torch.float32
    compiled: bool = False
    xformers: bool = False


def choose_placement(
    device: str = "auto",
    *,
    no_half: bool = False,
    no_half_vae: bool = False,
    compiled: bool = False,
    xformers: bool = False,
) -> Placement:
    """The best placement this machine has. Errors: SettingsError (no such device, `compiled` without a compiler).

    `device` is "auto" or a torch device name. On the processor bfloat16 where it has it in hardware, else float32; on
    GPUs float16; float32 with `no_half`. `no_half_vae` keeps only the autoencoder in float32.
    """
    chosen = torch.device(_best_device() if device == "auto" else device)
    if chosen.type == "cuda":
        _prepare_gpu(chosen)
    if no_half:
        half = torch.float32
    elif chosen.type == "cpu":
        half = torch.bfloat16 if cpu_has_bf16() else torch.float32
    else:
        half = torch.float16
    if compiled and not any(map(shutil.which, COMPILERS)):
        raise SettingsError(f"--blade needs a C++ compiler; none of these is installed: {', '.join(COMPILERS)}")
    if xformers and (chosen.type != "cuda" or find_spec("xformers") is None):
        log.warning("--xformers has no effect: it needs a CUDA device and the package xformers; PyTorch's SDPA is used")
        xformers = False
    return Placement(chosen, half, torch.float32 if no_half_vae else half, compiled, xformers)


def cpu_has_bf16(info: Path = CPU_INFO) -> bool:
    """The processor multiplies bfloat16 in hardware, as far as `info` says so; elsewhere than on Linux: no."""
    if not info.is_file():
        return False
    for line in info.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            return bool(BF16_FLAGS & set(value.split()))
    return False


def free_memory(device: torch.device) -> Callable[[], int]:
    """What tells how many bytes are free where models of this device live: its own memory, or the machine's."""
    if device.type == "cuda":
        return lambda: _free_on_gpu(device)
    return available_memory


def finish(device: torch.device) -> None:
    """Wait until a device has computed all it was given (a processor has): else its time is counted to who is next."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _free_on_gpu(device: torch.device) -> int:
    torch.cuda.empty_cache()  # what dropped models leave stays with torch, and would count as taken
    return torch.cuda.mem_get_info(device)[0]


def _prepare_gpu(device: torch.device) -> None:
    """A1111's choices: TF32 for what is computed in float32, and on GTX 16 cards cuDNN's search, or half is NaN."""
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise SettingsError(f"--device-id {device.index or 0}: there are {count} CUDA devices")
    torch.set_float32_matmul_precision("high")
    if "GeForce GTX 16" in torch.cuda.get_device_name(device):
        torch.backends.cudnn.benchmark = True


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def describe_machine(placement: Placement) -> dict[str, Any]:
    """What of device and number types decides about the last bits of a picture."""
    name = torch.backends.cpu.get_cpu_capability()
    if placement.device.type == "cuda":
        name = torch.cuda.get_device_name(placement.device)
    return {
        "device": f"{placement.device.type} ({name})",
        "dtype": str(placement.dtype).removeprefix("torch."),
        "vae_dtype": str(placement.vae_dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "compiled": placement.compiled,
        "xformers": placement.xformers,
    }


def device_memory(device: torch.device) -> dict[str, Any]:
    """Bytes of a GPU's memory and its allocator's peaks, by the names of A1111's `/memory`; an `error` without one."""
    if device.type != "cuda":
        return {"error": "unavailable"}
    free, total = torch.cuda.mem_get_info(device)
    figures = torch.cuda.memory_stats(device)

    def pair(name: str) -> dict[str, int]:
        return {"current": figures[f"{name}.all.current"], "peak": figures[f"{name}.all.peak"]}

    return {
        "system": {"free": free, "used": total - free, "total": total},
        "active": pair("active_bytes"),
        "allocated": pair("allocated_bytes"),
        "reserved": pair("reserved_bytes"),
        "inactive": pair("inactive_split_bytes"),
        "events": {"retries": figures["num_alloc_retries"], "oom": figures["num_ooms"]},
    }
