"""One finished step of a pass, as `denoise_step` hooks see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step of a pass. `preview(kind)` makes a small picture when called: "cheap" or "full"."""

    index: int  # 0-based
    total: int
    stage: str
    preview: Callable[[str], list[NDArray[np.uint8]]]
