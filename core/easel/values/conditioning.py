"""What steers the denoising of one pass besides the texts: controls, masks, references. Maps are numpy, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One ControlNet unit, its picture already turned into a map.

    `hint`: (H, W, 3) float32 in 0…1 (-1 where an inpainting ControlNet is to invent), at the pass's size.
    `soft_weights` scale the 13 (SD1) residuals one by one (control modes); `on_cond_only` leaves the negative rows
    uncontrolled ("ControlNet is more important"); `pooled` takes each residual's mean over the picture (shuffle);
    `region` (h, w) in 0…1 says where the control acts.
    """

    model: str  # path of the ControlNet's weights
    hint: NDArray[np.float32]
    weight: float = 1.0
    start: float = 0.0  # fraction of the steps
    end: float = 1.0
    soft_weights: tuple[float, ...] | None = None
    on_cond_only: bool = False
    pooled: bool = False
    region: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A picture that the denoiser looks at while it paints ("reference only"), at the pass's size.

    With its self-attention (`attention`), or by bringing the means and variances of its blocks to the reference's
    (`statistics`, AdaIN). `weight`: the share of the layers that look. `fidelity` 0…1: how far the negative rows look
    away.
    """

    picture: NDArray[np.uint8]  # (H, W, 3)
    weight: float = 1.0
    fidelity: float = 0.5
    attention: bool = True
    statistics: bool = False
    start: float = 0.0  # fraction of the steps
    end: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A picture that every step is held to, at the pass's size: what the denoiser takes for clean is mended.

    With `mask` ((H, W) in 0…1, 1 = paint) what is not to be painted is the picture's; with `radius` everything coarser
    than so many latent cells is (its colours), and negative rows lose `softened` 0…1 of their detail, which sharpens.
    """

    picture: NDArray[np.uint8]  # (H, W, 3)
    mask: NDArray[np.float32] | None = None
    radius: int = 0
    softened: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftBlend:
    """A mask of degrees (A1111's soft inpainting): what is half masked is half kept, less and less as the noise goes.

    At noise level σ the start counts with 1 - mask^(σ^bias · preservation). `contrast`: the power that the lengths of
    latent vectors are mixed with. The rest decides what of the original is laid over the result: pixels whose latents
    moved by less than `threshold` (where `mask_influence` is 0; at 1 the mask decides how far that is) are mostly
    kept, with a transition as hard as `hardness`.
    """

    bias: float = 1.0
    preservation: float = 0.5
    contrast: float = 4.0
    mask_influence: float = 0.0
    threshold: float = 0.5
    hardness: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentMask:
    """Where the pass may paint: (h, w) float32 in 0…1 on the latent grid, 1 = repaint; with `soft`, how much."""

    mask: NDArray[np.float32]
    soft: SoftBlend | None = None


@dataclass(frozen=True, slots=True)
class Crop:
    """An inpainting pass over a part only: `box` (left, top, right, bottom) of start pictures of `size`."""

    box: tuple[int, int, int, int]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """The steering of one pass over one batch; `add_conditioning` hooks return a changed copy.

    `maps` are pictures that show the steering: they follow the results in the response. `infotext` are pairs that the
    generation data gain. Both count in the first batch of a job only, `infotext` in its first pass.
    """

    stage: Literal["first", "hires"] = "first"
    width: int  # pixels of the picture; the model's grid may be a little larger
    height: int
    images: int
    crop: Crop | None = None
    controls: tuple[Control, ...] = ()
    references: tuple[Reference, ...] = ()
    holds: tuple[Hold, ...] = ()
    mask: LatentMask | None = None
    maps: tuple[Pixels, ...] = ()
    infotext: tuple[tuple[str, Any], ...] = ()
