"""The prompt of one batch on its way through `rewrite_prompt`, and what steers weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA-like weight change or a hypernetwork, chosen by an extension and applied by the engine.

    `file` is the path of a safetensors file; `text_weight` scales the text encoder's part, `unet_weight` the
    denoiser's; `dyn_dim` keeps only the first ranks (None: all). Hypernetworks have the denoiser's part only, and one
    after the other changes what attention reads.
    """

    kind: Literal["lora", "hypernetwork"] = "lora"
    name: str
    file: str
    text_weight: float = 1.0
    unet_weight: float = 1.0
    dyn_dim: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The texts of one batch, one per picture (`n` entries in each tuple), and the adapters they ask for.

    `written` holds the texts that the pictures' generation data tell; None: those of the request.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    hires_positive: tuple[str, ...] = ()
    hires_negative: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    hires_adapters: tuple[Adapter, ...] = ()  # of the hires pass: its texts ask for their own
    extra_infotext: tuple[tuple[str, str], ...] = ()  # e.g. ("Lora hashes", "name: 0123abcd")
    seeds: tuple[int, ...] = ()  # of the pictures
    written: Prompt | None = None

    def as_written(self) -> Prompt:
        """The same, with its present texts as those that are told: for hooks that write prompts, not for those that
        take tags out of them."""
        return replace(self, written=replace(self, written=None))
