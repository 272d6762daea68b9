"""Textual inversions: a few token vectors that a name in the prompt stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from easel.errors import EaselError, RefusedFile
from easel.models.store import ModelFile
from easel.models.text import TokenVectors
from easel.models.weights import read_file

MAX_BYTES = 64 * 2**20


def load_embeddings(
    files: Iterable[ModelFile], widths: Mapping[str, int]
) -> tuple[dict[str, TokenVectors], tuple[str, ...]]:
    """The textual inversions that fit text encoders of these `widths`, by name, and the names of the others.

    Refused files and those for other families are among the others, as `/sdapi/v1/embeddings` lists them.
    """
    loaded: dict[str, TokenVectors] = {}
    skipped: list[str] = []
    for file in files:
        name = file.name.rpartition("/")[2]
        try:
            vectors = read_embedding(file, widths)
        except EaselError:
            vectors = None  # a file that cannot be used is listed as skipped; the store has the reason
        if vectors is None:
            skipped.append(name)
        else:
            loaded.setdefault(name, vectors)
    return loaded, tuple(skipped)


def read_embedding(file: ModelFile, widths: Mapping[str, int]) -> TokenVectors | None:
    """Vectors (n, width) for each encoder of `widths`; None when they do not fit. RefusedFile for unreadable ones.

    Files hold A1111's `emb_params`, one diffusers tensor of any name, or SDXL's `clip_l` and `clip_g`.
    """
    if file.refused_reason is not None:
        raise RefusedFile(file.refused_reason)
    if file.path.stat().st_size > MAX_BYTES:
        raise RefusedFile(f"{file.path.name}: too large for a textual inversion")
    tensors = {name: _rows(tensor) for name, tensor in read_file(file.path).items()}
    if set(widths) <= set(tensors):
        found = {key: tensors[key] for key in widths}
    elif len(widths) == 1 and len(tensors) == 1:
        found = dict(zip(widths, tensors.values(), strict=True))
    elif len(widths) == 1 and "emb_params" in tensors:
        found = dict.fromkeys(widths, tensors["emb_params"])
    else:
        return None
    fits = all(tensor.dim() == 2 and tensor.shape[1] == widths[key] for key, tensor in found.items())
    return found if fits else None


def _rows(tensor: Tensor) -> Tensor:
    return tensor.float()[None] if tensor.dim() == 1 else tensor.float()
