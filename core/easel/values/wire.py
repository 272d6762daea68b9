"""Values as bytes: JSON by pydantic, pictures inside as base64. No pickle crosses a process."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, Final, Literal, TypedDict, TypeVar, cast

T = TypeVar("T")


class _BytesConfig(TypedDict):
    ser_json_bytes: Literal["base64"]
    val_json_bytes: Literal["base64"]


# What a value that holds bytes sets as `__pydantic_config__`, so that they survive JSON.
BASE64_BYTES: Final[_BytesConfig] = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}


@cache
def _adapter(kind: Hashable) -> Any:
    from pydantic import TypeAdapter  # late: most users of values never cross a process

    return TypeAdapter(cast("Any", kind))


def encode(value: object, kind: Any = None) -> bytes:
    """`value` as JSON; `kind` is the union it belongs to, its own type if not given."""
    return cast("bytes", _adapter(cast("Hashable", kind or type(value))).dump_json(value))


def decode(kind: type[T], data: bytes) -> T:
    """The value that `encode` made; errors: pydantic.ValidationError for bytes that are no such value."""
    return cast("T", _adapter(cast("Hashable", kind)).validate_json(data))
