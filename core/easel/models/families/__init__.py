"""The families of models Easel can run. A new one is one module and its line here."""

from __future__ import annotations

from easel.errors import ModelError
from easel.models.families.family import Blueprint, Family
from easel.models.families.sd1 import SD1
from easel.models.families.sd2 import SD2
from easel.models.families.sdxl import SDXL, SDXL_REFINER
from easel.models.families.starter import STARTER
from easel.models.layout import Layout

FAMILIES: tuple[Family, ...] = (STARTER, SDXL_REFINER, SDXL, SD2, SD1)  # the first that reads a file has it

__all__ = ["FAMILIES", "Blueprint", "Family", "read_checkpoint"]


def read_checkpoint(layout: Layout) -> tuple[Family, Blueprint]:
    """The family of a file and the plan to build it; ModelError when it is none of ours, or not whole."""
    try:
        for family in FAMILIES:
            if blueprint := family.read(layout):
                return family, _usable(layout, blueprint)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # sizes and configurations come from files that anybody may have made
        raise ModelError(f"{layout.label}: its tensors or its configuration make no sense ({error})") from error
    known = ", ".join(family.name for family in FAMILIES)
    raise ModelError(f"{layout.label}: not a checkpoint of a family Easel knows ({known})")


def _usable(layout: Layout, blueprint: Blueprint) -> Blueprint:
    """`blueprint`, unless it looks at something beside the latent that Easel cannot give (a depth map …)."""
    if blueprint.extra_channels not in (0, 4, 5):
        count = blueprint.extra_channels
        raise ModelError(f"{layout.label}: it wants {count} more channels than the picture's, which Easel cannot give")
    return blueprint
