"""What a hook changed, in words: for the report, which is short, and for the trace, which tells before and after."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import Field, fields, is_dataclass
from pathlib import PurePath
from typing import Any

_TEXT = 300  # characters of one value
_FILES = ("file", "model")  # fields that hold a path: its name is told
_LISTED = 8  # changed fields or entries of one value


def changed_fields(before: object, after: object) -> str:
    """The names of what is another; by identity, as arrays have no single equality."""
    if is_dataclass(before) and is_dataclass(after):
        return "changed " + ", ".join(_other(before, after))
    if isinstance(before, tuple) and isinstance(after, tuple):
        kept = sum(a is b for a, b in zip(before, after, strict=False))
        return f"{len(before)} in, {len(after)} out, {kept} unchanged"
    return "changed"


def change_in_words(before: object, after: object) -> str:
    """Before → after of everything that is another; the same for the same change, whenever and wherever it is made."""
    if not (is_dataclass(before) and is_dataclass(after)):
        return changed_fields(before, after)
    told = []
    for name in _other(before, after):
        told += list(_told(name, getattr(before, name), getattr(after, name)))
    more = f"; and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    return "; ".join(told[:_LISTED]) + more


def undeclared(name: str, before: object, after: object, declared: Collection[str]) -> str:
    """The first thing that is another and not among `declared`, as `prompt.positive`; "" when there is none.

    A whole value may be declared (`images`), or fields of it (`images.pixels`); of pictures, how many there are is
    declared as the whole.
    """
    if name in declared:
        return ""
    if is_dataclass(before) and is_dataclass(after):
        changed = (f"{name}.{each}" for each in _other(before, after) if not _equal(before, after, each))
        return next((each for each in changed if each not in declared), "")
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        return next(filter(None, (undeclared(name, a, b, declared) for a, b in zip(before, after, strict=True))), "")
    return "" if before is after else name


def _equal(before: Any, after: Any, name: str) -> bool:
    one, other = getattr(before, name), getattr(after, name)
    return isinstance(one, str | int | float | tuple | None) and type(one) is type(other) and _same(one, other)


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays inside
        return False


def _other(before: Any, after: Any) -> list[str]:
    return [f.name for f in fields(before) if getattr(before, f.name) is not getattr(after, f.name)]


def _told(name: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, tuple) and isinstance(after, tuple):
        if len(set(map(_word, before))) <= 1 and len(set(map(_word, after))) <= 1 and len(before) == len(after) > 0:
            before, after = before[0], after[0]  # the same for every picture of the batch
        elif len(before) == len(after):
            for k, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from _told(f"{name}[{k}]", one, other)
            return
    if _word(before) != _word(after):
        yield f"{name}: {_word(before)} → {_word(after)}"


def _word(value: object) -> str:
    """One value in a few words: no addresses, no paths of the host, no pixels."""
    if isinstance(value, tuple | list):
        return _short(", ".join(map(_word, value)) or "nothing")
    if is_dataclass(value):
        said = (one for one in fields(value) if _says_something(value, one))
        told = ", ".join(f"{one.name} {_field(one.name, getattr(value, one.name))}" for one in said)
        return _short(f"{type(value).__name__}({told})")
    if hasattr(value, "shape"):
        return f"array {'x'.join(map(str, value.shape))}"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"picture {value.size[0]}x{value.size[1]}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if value is None:
        return "nothing"
    return _short(repr(value))


def _says_something(owner: object, one: Field[Any]) -> bool:
    value = getattr(owner, one.name)
    return value is not one.default and not (isinstance(value, int | float | str | tuple) and value == one.default)


def _field(name: str, value: object) -> str:
    return PurePath(value).name if name in _FILES and isinstance(value, str) else _word(value)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
