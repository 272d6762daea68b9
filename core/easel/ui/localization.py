"""The page's languages: JSON files of texts, English to the other language, as A1111's `localizations/*.json` are.

A language is there when a file of its name is: in this package, in the folder of `--localizations-dir`, or in the
`localizations/` of an extension that is on. Several files of one name add up; an operator's wins over an extension's,
an extension's over the package's. One that is off says only what nobody else does: it is in the list of extensions.
English needs no file: its name is `None`, and it stands for what is missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from easel.extensions.status import State

if TYPE_CHECKING:
    from easel.app import Easel

log = logging.getLogger(__name__)
ENGLISH = "None"  # as A1111's option `localization` calls it
_LARGEST = 4 << 20  # bytes of one file


def languages(app: Easel) -> tuple[str, ...]:
    """What `localization` may be, English first."""
    return (ENGLISH, *sorted({file.stem for file in _files(_folders(app))}))


def translator(app: Easel) -> Callable[[str], str]:
    """Texts in the language that the options name."""
    texts = texts_of(app, str(app.options.get("localization")))
    return lambda english: texts.get(english) or english


def texts_of(app: Easel, language: str) -> dict[str, str]:
    """What a language says for English texts; one that cannot be read is English."""
    texts: dict[str, str] = {}
    off = [one.folder for one in app.extensions.list() if one.state is not State.ENABLED]
    for file in _files([*_localizations(off), *_folders(app)]):
        if file.stem == language:
            texts |= _read(file)
    return texts


def spoken(language: str) -> str:
    """JavaScript that tells the browser the page's language; gradio's own words follow it instead of the browser's."""
    tag = json.dumps("en" if language == ENGLISH else language.replace("_", "-"))
    return f"Object.defineProperty(navigator, 'language', {{ value: {tag} }}); document.documentElement.lang = {tag};"


def _folders(app: Easel) -> list[Path]:
    """Where languages are, those that win last."""
    on = [one.folder for one in app.extensions.list() if one.state is State.ENABLED]
    own = app.settings.localizations_dir
    return [*_localizations([Path(__file__).parent, *on]), *([own] if own else [])]


def _localizations(folders: Iterable[Path]) -> list[Path]:
    return [folder / "localizations" for folder in folders]


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.glob("*.json"))


def _read(file: Path) -> dict[str, str]:
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MB")
        said = json.loads(file.read_text("utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        log.warning("the localization %s is left out: %s", file.name, error)
        return {}
    return {english: text for english, text in said.items() if isinstance(text, str)}
