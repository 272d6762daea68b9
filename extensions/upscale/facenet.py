"""A network that restores faces, and how a picture's faces get to it: found, straightened, restored, put back.

Nothing here is imported before a face is restored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from easel import RefusedFile

from .nets import described

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

Array = NDArray[np.uint8]
SIDE = 512  # of the square that the networks restore
# Right and left eye, nose, right and left corner of the mouth in that square: how the faces of FFHQ lie, from which the
# networks learned.
PLACES = np.array(
    [(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)], np.float32
)
_AROUND = (132, 133, 135)  # beyond the picture's edge, as in their training
_EDGE, _SOFT = 26, 51  # pixels of the square that are left as they were, and over which the new fades in
_WINDOW = 640  # pixels: both kinds of YuNet's files take a picture of that size
_LOOKS = (640, 320)  # sides at which faces are looked for: YuNet sees none of more than half its window
_SURE = 0.8  # score of a face
_NEAR = 5.0  # pixels between the eyes of the smallest face that is restored
_MOST = 32  # faces of a picture


@dataclass(frozen=True, slots=True)
class FaceNet:
    """A loaded network with a face detector."""

    model: Any  # spandrel's ImageModelDescriptor
    detector: Any  # cv2.FaceDetectorYN
    device: str

    def restore(self, picture: Pixels, weight: float) -> Pixels:
        """The RGB picture with all its faces restored; `weight` is CodeFormer's. Errors: RefusedFile."""
        pixels = np.asarray(picture.convert("RGB"))
        size = picture.size
        result = pixels.astype(np.float32)
        inside = _inside()
        for places in self._faces(pixels):
            there, _ = cv2.estimateAffinePartial2D(places, PLACES, method=cv2.LMEDS)
            if there is None:
                continue
            face = cv2.warpAffine(pixels, there, (SIDE, SIDE), borderMode=cv2.BORDER_CONSTANT, borderValue=_AROUND)
            back = cv2.invertAffineTransform(there)
            new = cv2.warpAffine(self._restored(np.asarray(face, np.uint8), weight), back, size)
            share = cv2.warpAffine(inside, back, size)[..., None]
            result = result * (1 - share) + new * share
        return Pillow.fromarray(result.round().clip(0, 255).astype(np.uint8))

    def _faces(self, pixels: Array) -> Iterator[NDArray[np.float32]]:
        """(5, 2) for each face, in pixels: where eyes, nose and mouth are."""
        height, width = pixels.shape[:2]
        for side in _LOOKS:
            scale = side / max(height, width)
            small = max(1, round(width * scale)), max(1, round(height * scale))
            window = np.zeros((_WINDOW, _WINDOW, 3), np.uint8)
            window[: small[1], : small[0]] = cv2.resize(pixels[..., ::-1], small, interpolation=cv2.INTER_AREA)
            try:
                _, found = self.detector.detect(window)
            except cv2.error as error:
                raise RefusedFile("the face detector in models/GFPGAN is no YuNet that works here") from error
            if found is not None:
                shown = np.array([width / small[0], height / small[1]], np.float32)
                faces = [row[4:14].reshape(5, 2) * shown for row in found[:_MOST]]
                yield from (places for places in faces if np.hypot(*(places[0] - places[1])) >= _NEAR)
                return

    def _restored(self, face: Array, weight: float) -> NDArray[np.float32]:
        """(512, 512, 3) restored, in 0 … 255."""
        import torch

        pixels = torch.from_numpy(face.astype(np.float32) / 255).permute(2, 0, 1)[None].to(self.device)
        with torch.inference_mode():
            match self.model.architecture.id:
                case "GFPGAN":  # spandrel calls it with values that it was not trained with
                    made = self.model.model(2 * pixels - 1, return_rgb=False, randomize_noise=False)[0] / 2 + 0.5
                case "CodeFormer":
                    made = self.model.model(2 * pixels - 1, weight=weight)[0] / 2 + 0.5
                case _:
                    made = self.model(pixels)
        values = made[0].float().clamp(0, 1).mul(255).permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(values, np.float32)


def load_face_net(weights: Path, detector: Path, device: str) -> FaceNet:
    """The network and the detector. Errors: RefusedFile, NotAvailable."""
    model = described(weights)
    if model.purpose != "FaceSR" or model.scale != 1:
        raise RefusedFile(f"{weights.name} holds a network that does not restore faces ({model.architecture.name})")
    try:
        found = cv2.FaceDetectorYN.create(str(detector), "", (_WINDOW, _WINDOW), _SURE)
    except cv2.error as error:
        raise RefusedFile(f"{detector.name} is no face detector that can be read") from error
    return FaceNet(model.to(device).eval().float(), found, device)


def _inside() -> NDArray[np.float32]:
    """(512, 512): 1 in the middle, softly falling to 0 before the edge."""
    inside = np.zeros((SIDE, SIDE), np.float32)
    inside[_EDGE:-_EDGE, _EDGE:-_EDGE] = 1
    return np.asarray(cv2.GaussianBlur(inside, (_SOFT, _SOFT), 0), np.float32)
