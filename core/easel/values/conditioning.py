"""What steers the denoising of one pass besides the texts: controls, masks, references. Maps are numpy, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One ControlNet unit, its picture already turned into a map.

    `hint`: (H, W, 3) float32 in 0…1 at the pass's pixel size. `soft_weights` scale the 13 (SD1) residuals one by one
    (control modes); `on_cond_only` leaves the negative rows uncontrolled ("ControlNet is more important").
    """

    model: str  # path of the ControlNet's weights
    hint: NDArray[np.float32]
    weight: float = 1.0
    start: float = 0.0  # fraction of the steps
    end: float = 1.0
    soft_weights: tuple[float, ...] | None = None
    on_cond_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentMask:
    """Where the pass may paint: (h, w) float32 in 0…1 on the latent grid, 1 = repaint."""

    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """The steering of one pass over one batch; `add_conditioning` hooks return a changed copy."""

    stage: Literal["first", "hires"] = "first"
    width: int
    height: int
    images: int
    controls: tuple[Control, ...] = ()
    mask: LatentMask | None = None
