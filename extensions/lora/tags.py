"""`<lora:name:te:unet:dyn>`: what a tag asks for. Weights are numbers; without them a LoRA applies with weight 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from easel import BadRequest, ExtraNetworkTag

WORDS = ("lora", "lyco")
STRONGEST = 20.0
"""Weights count up to this, either sign: what is beyond makes noise of a picture and soon not-a-number of it."""
POSITIONS = ("te", "unet", "dyn")
"""What may stand after the name, in this order, or anywhere as `te=0.5`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one tag asks for, and what of the tag could not be followed (`notes`)."""

    tag: str
    name: str
    text_weight: float = 1.0
    unet_weight: float = 1.0
    dyn_dim: int | None = None
    notes: tuple[str, ...] = ()


def read_tag(tag: ExtraNetworkTag) -> Wish:
    """Understand a tag. Errors: BadRequest for a weight that is no number."""
    name, *values = tag.positional or ("",)
    given = dict(zip(POSITIONS, values, strict=False)) | {key: tag.named[key] for key in POSITIONS if key in tag.named}
    notes = [f"{key}={value} means nothing here" for key, value in tag.named.items() if key not in POSITIONS]
    notes += [f"{value!r} is one value too many" for value in values[len(POSITIONS) :]]
    text = _weight(tag, "te", given.get("te", "1"), notes)
    unet = _weight(tag, "unet", given["unet"], notes) if "unet" in given else text
    dyn = _rank(tag, given["dyn"]) if "dyn" in given else None
    return Wish(str(tag), name, text, unet, dyn, tuple(dict.fromkeys(notes)))


def _weight(tag: ExtraNetworkTag, part: str, written: str, notes: list[str]) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise BadRequest(f"the weight in {tag} is not a number", field=part, value=written, allowed="e.g. 0.8")
    if abs(weight) > STRONGEST:
        notes.append(f"weight {written} is beyond {STRONGEST:g}, which is used instead")
        weight = math.copysign(STRONGEST, weight)
    return weight


def _rank(tag: ExtraNetworkTag, written: str) -> int:
    if not written.strip().isdecimal() or int(written) < 1:
        raise BadRequest(f"the rank in {tag} is not usable", field="dyn", value=written, allowed="1, 2, 3, …")
    return int(written)
