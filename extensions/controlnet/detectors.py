"""Detectors of the package controlnet-aux, loaded on first use from safetensors in models/Annotators.

The package imports all of its detectors at once, and some need torchvision; each is imported alone, below a package
object that has nothing but the package's path. Its loaders read `.pth` files, which we do not: what was read from
safetensors is handed to them in a file of our own in a temporary folder.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from easel import NotAvailable

if TYPE_CHECKING:
    from easel import Job

    from .maps import Pixels
    from .preprocessors import Preprocessor

PACKAGE = "controlnet_aux"


@dataclass(frozen=True, slots=True)
class Detector:
    """One class of the package. `wrapped`: the key below which its loader looks for the tensors in the file."""

    module: str
    kind: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    loading: Mapping[str, object] = field(default_factory=dict)
    wrapped: str = ""
    values: Callable[[float, float], Mapping[str, object]] = lambda a, b: {}  # what the sliders are called there


_HED = Detector("hed", "HEDdetector")
_PIDI = Detector("pidi", "PidiNetDetector", wrapped="state_dict")
_LINEART = Detector("lineart", "LineartDetector")
_POSE = Detector("open_pose", "OpenposeDetector")


def _with(detector: Detector, **arguments: object) -> Detector:
    return Detector(detector.module, detector.kind, arguments, detector.loading, detector.wrapped, detector.values)


DETECTORS: Mapping[str, Detector] = {
    "hed": _HED,
    "hed_safe": _with(_HED, safe=True),
    "scribble_hed": _with(_HED, scribble=True),
    "pidinet": _PIDI,
    "pidinet_safe": _with(_PIDI, safe=True),
    "pidinet_scribble": _with(_PIDI, scribble=True),
    "pidinet_sketch": _with(_PIDI, apply_filter=True),
    "lineart": _LINEART,
    "lineart_coarse": _with(_LINEART, coarse=True),
    "lineart_anime": Detector("lineart_anime", "LineartAnimeDetector"),
    "mlsd": Detector("mlsd", "MLSDdetector", values=lambda a, b: {"thr_v": a, "thr_d": b}),
    "softedge_teed": Detector(
        "teed",
        "TEEDdetector",
        loading={"filename": "7_model.pth"},
        values=lambda a, b: {"safe_steps": int(a)},
    ),
    "openpose": _POSE,
    "openpose_hand": _with(_POSE, include_hand=True),
    "openpose_face": _with(_POSE, include_face=True),
    "openpose_faceonly": _with(_POSE, include_body=False, include_face=True),
    "openpose_full": _with(_POSE, include_hand=True, include_face=True),
}


def run(one: Preprocessor, picture: Pixels, resolution: int, a: float, b: float, job: Job, folder: Path) -> Pixels:
    """The map of a (H, W, 3) picture, made on the engine's thread; its weights lie in `folder`."""
    detector = DETECTORS[one.name]
    files = [folder / f"{name}.safetensors" for name in one.needs]

    def compute() -> Pixels:
        model = job.model(
            ("controlnet", detector.kind, *files),
            lambda device: _load(detector, files).to(device),
            sum(file.stat().st_size for file in files),
        )
        arguments = {"detect_resolution": resolution, "output_type": "np", **detector.arguments}
        if detector.module != "teed":
            arguments["image_resolution"] = resolution
        return np.asarray(model(picture, **arguments, **detector.values(a, b)), dtype=np.uint8)

    return job.compute(compute)


def _load(detector: Detector, files: list[Path]) -> Any:
    """The detector with its weights. Errors: NotAvailable for a package that it needs and that is missing."""
    import torch
    from safetensors.torch import load_file

    kind = _class(detector)
    with TemporaryDirectory() as folder:
        for file in files:
            weights: Any = load_file(file)
            torch.save({detector.wrapped: weights} if detector.wrapped else weights, Path(folder, f"{file.stem}.pth"))
        return kind.from_pretrained(folder, **detector.loading)


def _class(detector: Detector) -> Any:
    if PACKAGE not in sys.modules:
        spec = find_spec(PACKAGE)
        assert spec is not None
        sys.modules[PACKAGE] = module_from_spec(spec)  # not executed
    try:
        return getattr(importlib.import_module(f"{PACKAGE}.{detector.module}"), detector.kind)
    except ImportError as error:
        raise NotAvailable(f"the preprocessor needs a package that is missing: {error.name}") from error
