"""What a line says: a prompt, or options as on a command line (`--prompt "a dog" --steps 3 --seed 7`)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


def _switch(text: str) -> bool:
    return text == "true"


TEXTS = ("prompt", "negative_prompt")
OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "prompt": str,
        "negative_prompt": str,
        "sd_model": str,
        "styles": str,
        "seed": int,
        "subseed": int,
        "subseed_strength": float,
        "seed_resize_from_h": int,
        "seed_resize_from_w": int,
        "sampler_name": str,
        "sampler_index": int,
        "batch_size": int,
        "n_iter": int,
        "steps": int,
        "cfg_scale": float,
        "width": int,
        "height": int,
        "restore_faces": _switch,
        "tiling": _switch,
        # known, and without effect here
        "outpath_samples": str,
        "outpath_grids": str,
        "prompt_for_display": str,
        "do_not_save_samples": _switch,
        "do_not_save_grid": _switch,
    }
)
IDLE = ("outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_samples", "do_not_save_grid")


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line for line in (line.strip() for line in text.splitlines()) if line]


def read_line(line: str) -> tuple[dict[str, Any], str]:
    """The options of a line, and why it was taken as a plain prompt although it looks like options ("" if not)."""
    if "--" not in line:
        return {"prompt": line}, ""
    try:
        return _options(shlex.split(line)), ""
    except ValueError as error:
        return {"prompt": line}, str(error)


def _options(words: list[str]) -> dict[str, Any]:
    """A text goes on until the next option. Errors: ValueError, in words."""
    found: dict[str, Any] = {}
    while words:
        name, *words = words
        if not name.startswith("--"):
            raise ValueError(f"{name!r} does not begin with --")
        name = name.removeprefix("--")
        if name not in OPTIONS:
            raise ValueError(f"there is no option --{name}")
        if not words:
            raise ValueError(f"--{name} needs a value")
        value, *words = words
        while name in TEXTS and words and not words[0].startswith("--"):
            value, words = f"{value} {words[0]}", words[1:]
        try:
            found[name] = OPTIONS[name](value)
        except ValueError:
            raise ValueError(f"--{name} {value} is not a number") from None
    return found
