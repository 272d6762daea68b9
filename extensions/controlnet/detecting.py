"""Run a preprocessor: one of ours, or a detector of the package controlnet-aux with weights from models/Annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easel import Job

    from .maps import Pixels
    from .preprocessors import Preprocessor


def annotators_folder(settings: Any) -> Path:
    """Where detectors' weights lie."""
    folder: Path = settings.controlnet_annotator_models_path or settings.models_path / "Annotators"
    return folder


def annotator_files(settings: Any) -> frozenset[str]:
    """The names of the weights that are there."""
    folder = annotators_folder(settings)
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def detect(
    one: Preprocessor, picture: Pixels, resolution: int, a: float, b: float, seed: int, job: Job, settings: Any
) -> Pixels:
    """The map of a (H, W, 3) picture."""
    from .maps import RUN

    if one.name in RUN:
        return RUN[one.name](picture, resolution, a, b, seed)
    from .detectors import run

    return run(one, picture, resolution, a, b, job, annotators_folder(settings))
