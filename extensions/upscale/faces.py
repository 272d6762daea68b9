"""Who restores faces: GFPGAN and CodeFormer, with weights and a face detector that operators supply.

Nothing of it ships with Easel and nothing is downloaded; what is missing is said in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from easel import Job, NotAvailable

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

GFPGAN, CODEFORMER = "GFPGAN", "CodeFormer"
_PICKLES = (".pth", ".pt", ".ckpt")
_DETECTOR = "the face detector YuNet (face_detection_yunet_….onnx of the OpenCV Zoo) in models/GFPGAN"
_CODEFORMER_PACKAGE = (
    "the package spandrel-extra-arches (pip install --no-deps spandrel-extra-arches), whose CodeFormer is not licensed "
    "for commercial use"
)


@dataclass(frozen=True, slots=True)
class Restorer:
    """One kind of network; `settings` say where its weights and the face detector are. `job`: whose; None in lists."""

    name: str
    settings: Callable[[], Any]  # of users, each has folders of their own
    job: Job | None = None

    @property
    def lacks(self) -> str:
        """In words, what must be put where; "" when nothing is missing."""
        missing = []
        if find_spec("spandrel") is None:
            missing.append("the package spandrel (pip install --no-deps spandrel einops)")
        if self.name == CODEFORMER and find_spec("spandrel_extra_arches") is None:
            missing.append(_CODEFORMER_PACKAGE)
        if self._weights() is None:
            missing.append(self._weights_in_words())
        if self._detector() is None:
            missing.append(_DETECTOR)
        return f"{self.name} needs {'; '.join(missing)}" if missing else ""

    def for_job(self, job: Job) -> Restorer:
        """The same for one job's pictures."""
        return replace(self, job=job)

    def restore(self, picture: Pixels, weight: float | None = None) -> Pixels:
        """The picture with its faces restored, on the engine's thread. Errors: NotAvailable, RefusedFile."""
        if self.job is None:
            raise RuntimeError("a face restorer in a list restores nothing: ask for_job")
        weights, detector = self._weights(), self._detector()
        if weights is None or detector is None:
            raise NotAvailable(self.lacks)
        weight = self.job.request.options.code_former_weight if weight is None else weight
        return self.job.compute(partial(_restored, self.job, weights, detector, picture, weight))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where its weights are."""
        return _folders(self.settings(), self.name)

    @property
    def wanted(self) -> str:
        """The file to take, by name; "": the last by name."""
        return (self.settings().gfpgan_model or "") if self.name == GFPGAN else ""

    def _weights(self) -> Path | None:
        found = _files(self.folders, ".safetensors")
        if self.wanted:
            found = [file for file in found if file.stem == Path(self.wanted).stem]
        return found[-1] if found else None

    def _weights_in_words(self) -> str:
        name = Path(self.wanted).stem or f"{self.name}'s weights"
        for pickle in _files(self.folders, *_PICKLES):
            return f"{name} as .safetensors; {pickle.name} is a pickle: `easel convert` rewrites it"
        return f"{name} as .safetensors in models/{self.folders[-1].name}"

    def _detector(self) -> Path | None:
        settings = self.settings()
        folders = dict.fromkeys((*_folders(settings, GFPGAN), *_folders(settings, self.name)))
        return next((file for file in _files(folders, ".onnx") if "yunet" in file.name.lower()), None)


def restorers(settings: Callable[[], Any]) -> list[Restorer]:
    """A1111's two, whether they can work or not."""
    return [Restorer(CODEFORMER, settings), Restorer(GFPGAN, settings)]


def _folders(settings: Any, name: str) -> tuple[Path, ...]:
    """Of users, each has weights of their own, unless a flag names a folder for everybody."""
    named: tuple[Path | None, ...] = (settings.codeformer_models_path,)
    own: Path = settings.models_path / "Codeformer"
    if name == GFPGAN:
        named, own = (settings.gfpgan_models_path, settings.gfpgan_dir), settings.models_path / "GFPGAN"
    folders = tuple(path for path in named if path)
    return folders if folders and settings.edition == "cluster" else (*folders, own)


def _files(folders: Iterable[Path], *endings: str) -> list[Path]:
    """By name, whatever folder they are in."""
    found = (file for folder in folders if folder.is_dir() for file in folder.iterdir() if file.is_file())
    return sorted((file for file in found if file.suffix.lower() in endings), key=lambda file: file.name.lower())


def _restored(job: Job, weights: Path, detector: Path, picture: Pixels, weight: float) -> Pixels:
    from .facenet import load_face_net

    files = [(file, file.stat().st_mtime_ns) for file in (weights, detector)]
    net = job.model(("faces", *files), partial(load_face_net, weights, detector), 2 * weights.stat().st_size)
    return net.restore(picture, weight)
