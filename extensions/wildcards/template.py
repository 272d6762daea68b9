"""What in a prompt is dynamic: `__name__`, `{a|b}`, `{2$$a|b}`, `${name=…}`. Everything else stays as it is written.

The dynamicprompts library reads a whole text in its own language, in which `%`, `#`, `//`, a single `$` and a brace
without a bar are errors, comments or lost. Prompts are full of them: they are hidden from it and come back afterwards.
"""

from __future__ import annotations

import re

_HIDDEN = dict(zip("{}%#$_/", map(chr, range(0xE100, 0xE107)), strict=True))  # private characters of Unicode
_BACK = str.maketrans({hidden: shown for shown, hidden in _HIDDEN.items()})
_WILDCARD = re.compile(r"__(?=[^_\s])(?:(?!__)[^\s#])*?(?:\([^)]*\))?__")
_PLAIN = re.compile(r"//|\*/|[%#]|__")


def is_dynamic(text: str) -> bool:
    """Is there anything to draw? Cheap, and sometimes yes where the draw then changes nothing."""
    return "__" in text or ("{" in text and ("|" in text or "$" in text))


def hide(text: str) -> str:
    """`text` with what is not dynamic hidden from the library."""
    characters = list(text)
    for at in _plain_signs(text):
        characters[at] = _HIDDEN[characters[at]]
    wildcards = [found.span() for found in _WILDCARD.finditer(text)]
    for found in _PLAIN.finditer(text):
        if found[0] == "__" and any(found.start() in (start, end - 2) for start, end in wildcards):
            continue
        for at in range(*found.span()):
            characters[at] = _HIDDEN.get(characters[at], characters[at])
    return "".join(characters)


def show(text: str) -> str:
    """The inverse of `hide`."""
    return text.translate(_BACK)


def _plain_signs(text: str) -> set[int]:
    """Where the braces are that choose nothing (no bar, count or wildcard between them, or no pair), and such `$`."""
    plain: set[int] = set()
    open_ones: list[tuple[int, bool]] = []  # where, and whether it is dynamic
    for at, character in enumerate(text):
        if character == "{":
            open_ones.append((at, at > 0 and text[at - 1] == "$"))
        elif character == "}":
            start, dynamic = open_ones.pop() if open_ones else (at, False)
            if not dynamic:
                plain |= {start, at}
        elif (
            character == "$"
            and not text.startswith("{", at + 1)
            and not (open_ones and "$" in text[at - 1] + text[at + 1 : at + 2])
        ):
            plain.add(at)
        elif open_ones and (character == "|" or text.startswith(("$$", "__"), at)):
            open_ones[-1] = (open_ones[-1][0], True)
    return plain | {at for at, _ in open_ones}
