"""Infotext: what A1111 writes into a picture about how it was made, and reading it back.

PROMPT
Negative prompt: NEGATIVE PROMPT
Steps: 20, Sampler: Euler, Size: 512x512, Hires prompt: "quoted, because of the comma", …
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from easel.errors import PromptSyntaxError
from easel.prompt.styles import Style, extract_styles
from easel.prompt.syntax import BREAK, parse_attention

Parameters = dict[str, object]
"""What an infotext says: texts as they were written, and defaults as numbers, texts and booleans."""

NEGATIVE: Final = "Negative prompt:"

# writing -------------------------------------------------------------------------------------------------------------


def write_infotext(prompt: str, negative_prompt: str, parameters: Mapping[str, object]) -> str:
    """The infotext of a picture, with `parameters` in their order; those that are None are left out."""
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    line = ", ".join(
        key if key == value else f"{key}: {quote(value)}" for key, value in parameters.items() if value is not None
    )
    return f"{prompt}{negative}\n{line}".strip()


def quote(value: object) -> object:
    """`value`, or a JSON string of it when its text would be mistaken for more than one value."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else value


def hash_list(hashes: Mapping[str, str]) -> str:
    """The value of "Lora hashes" and "TI hashes": `name: hash, name: hash`."""
    return ", ".join(f"{name.replace(':', '').replace(',', '')}: {hash_}" for name, hash_ in hashes.items())


def unquote(text: str) -> str:
    """The text that `quote` was given."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


# reading -------------------------------------------------------------------------------------------------------------

# The possessive quantifiers and the look-behind keep the search linear in texts that are no infotext.
_PARAMETER = re.compile(
    r"""(?<![\w \-/])[ \-/]*+(?P<key>\w[\w \-/]++):\s*
        (?P<value>"(?:\\.|[^\\"])++"|[^,]*)
        (?:,|$)""",
    re.VERBOSE,
)
_SIZE = re.compile(r"(\d+)x(\d+)")
_FEWEST = 3  # parameters in a last line; with fewer it belongs to the prompt

_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "Clip skip": "1",
        "Hires resize-1": 0,
        "Hires resize-2": 0,
        "Hires sampler": "Use same sampler",
        "Hires schedule type": "Use same scheduler",
        "Hires checkpoint": "Use same checkpoint",
        "Hires prompt": "",
        "Hires negative prompt": "",
        "Mask mode": "Inpaint masked",
        "Masked content": "original",
        "Inpaint area": "Whole picture",
        "Masked area padding": 32,
        "RNG": "GPU",
        "Schedule type": "Automatic",
        "Schedule max sigma": 0,
        "Schedule min sigma": 0,
        "Schedule rho": 0,
        "VAE Encoder": "Full",
        "VAE Decoder": "Full",
        "FP8 weight": "Disable",
    }
)
"""What a parameter meant at the time when it was not yet, or is not, written."""


def parse_infotext(text: str, styles: Sequence[Style] = (), *, backcompat: bool = True) -> Parameters:
    """Read an infotext; any text is one, if need be just a prompt.

    Texts of `styles` that are found in the prompts move to the key "Styles array". With `backcompat` the parameter
    "Version" switches on what old versions did otherwise.
    """
    lines = text.strip().split("\n")
    found = list(_PARAMETER.finditer(lines[-1]))
    prompt, negative_prompt = _prompts(lines if len(found) < _FEWEST else lines[:-1])
    parameters: Parameters = dict(_values(found)) if len(found) >= _FEWEST else {}
    names, prompt, negative_prompt = (
        extract_styles(prompt, negative_prompt, styles) if styles else ((), prompt, negative_prompt)
    )
    if names:
        parameters["Styles array"] = list(names)
    parameters["Prompt"] = prompt + _hypernetwork(parameters)
    parameters["Negative prompt"] = negative_prompt
    _complete(parameters, uses_emphasis=_uses_emphasis(prompt) or _uses_emphasis(negative_prompt))
    if backcompat:
        parameters |= _old_behaviour(parameters)
    return parameters


def _prompts(lines: list[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative_prompt: list[str] = []
    current = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            current = negative_prompt
            line = line.removeprefix(NEGATIVE).strip()
        if line or current:  # empty lines before the first word are dropped
            current.append(line)
    return "\n".join(prompt), "\n".join(negative_prompt)


def _values(found: list[re.Match[str]]) -> Iterator[tuple[str, str]]:
    for match in found:
        key, value = match["key"], unquote(match["value"])
        if size := _SIZE.fullmatch(value):
            yield f"{key}-1", size[1]
            yield f"{key}-2", size[2]
        elif match["value"]:
            yield key, value


def _hypernetwork(parameters: Parameters) -> str:
    """The tag for what old versions kept as two parameters."""
    if (name := parameters.get("Hypernet")) is None:
        return ""
    return f"<hypernet:{name}:{parameters.get('Hypernet strength', '1.0')}>"


def _complete(parameters: Parameters, *, uses_emphasis: bool) -> None:
    if "Hires resize-1" not in parameters:
        parameters.pop("Hires resize-2", None)
    for key, value in _DEFAULTS.items():
        parameters.setdefault(key, value)
    _restore_first_pass(parameters)
    if parameters["FP8 weight"] != "Disable":
        parameters.setdefault("Cache FP16 weight for LoRA", False)
    if uses_emphasis:
        parameters.setdefault("Emphasis", "Original")
    parameters.setdefault("Refiner switch by sampling steps", False)


def _restore_first_pass(parameters: Parameters) -> None:
    """Translate "First pass size", of the first hires fix, in which Size was the size of the result."""
    if "First pass size-1" not in parameters or "First pass size-2" not in parameters:
        return
    try:
        width, height = (int(str(parameters.get(key, 512))) for key in ("Size-1", "Size-2"))
        first_width, first_height = (int(str(parameters[f"First pass size-{axis}"])) for axis in (1, 2))
        if not (first_width and first_height) and width and height:
            shrink = math.sqrt(512 * 512 / (width * height))
            first_width, first_height = (math.ceil(shrink * side / 64) * 64 for side in (width, height))
    except (ValueError, OverflowError):  # no sizes that a picture has ever had
        return
    parameters |= {"Size-1": first_width, "Size-2": first_height, "Hires resize-1": width, "Hires resize-2": height}


def _uses_emphasis(prompt: str) -> bool:
    try:
        return any(piece.weight != 1.0 and piece.text != BREAK.text for piece in parse_attention(prompt))
    except PromptSyntaxError:
        return True


# old versions --------------------------------------------------------------------------------------------------------

_VERSION = re.compile(
    r"v?(?P<release>\d+(?:\.\d+)*)(?:-(?:(?P<commits>\d{1,9})|(?P<candidate>rc)\d*)(?:-.*)?)?", re.IGNORECASE
)


def _old_behaviour(parameters: Parameters) -> Parameters:
    """The switches for what the version that wrote `parameters` did otherwise than A1111 1.10."""
    version = _version(parameters.get("Version"))
    if version is None:
        return {}
    old: Parameters = {}
    if version < ((1, 6), 0) and "[" in str(parameters["Prompt"]):
        old["Old prompt editing timelines"] = True
    if version < ((1, 6), 0) and parameters.get("Sampler") in ("DDIM", "PLMS"):
        old["Pad conds v0"] = True
    if version < ((1, 7), 225):
        old["Downcast alphas_cumprod"] = True
    if version < ((1, 8), 0) and parameters.get("Refiner"):
        old["Refiner switch by sampling steps"] = True
    return old


def _version(written: object) -> tuple[tuple[int, ...], int] | None:
    """`v1.7.0-225-g1234` as ((1, 7), 225): the release without zeros at its end, and the commits since.

    A release candidate counts as -1 commits; what is no version of A1111 is None.
    """
    match = _VERSION.fullmatch(str(written))
    if not match or len(match["release"]) > 40:
        return None
    release = [int(number) for number in match["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    return tuple(release), -1 if match["candidate"] else int(match["commits"] or 0)
