"""The three messages of the queue protocol in protobuf's wire format (proto3), written by hand.

The server must not need the protobuf package: Alibaba's client wants a version of its own (<= 3.20.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from easel.streams.items import Item

MEDIA_TYPE = "application/vnd.google.protobuf"


def frame(item: Item, *, with_data: bool = True) -> bytes:
    """`DataFrameProto`: 1 index (uint64), 2 tags (map), 3 data (bytes)."""
    parts = [b"\x08", _varint(item.index), *_map(2, item.tags)]
    if with_data and item.data:
        parts.append(_delimited(3, item.data))
    return b"".join(parts)


def frames(items: Iterable[Item]) -> bytes:
    """`DataFrameListProto`: 1 index, which is the list."""
    return b"".join(_delimited(1, frame(item)) for item in items)


def attributes(values: Mapping[str, str]) -> bytes:
    """`AttributesProto`: 1 attributes (map)."""
    return b"".join(_map(1, values))


def _map(field: int, values: Mapping[str, str]) -> list[bytes]:
    return [
        _delimited(field, _delimited(1, key.encode()) + _delimited(2, value.encode())) for key, value in values.items()
    ]


def _delimited(field: int, data: bytes) -> bytes:
    return _varint(field * 8 + 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)
