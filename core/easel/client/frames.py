"""Items as a watched queue pushes them: the protobuf message `DataFrameProto`, read by hand.

Its fields: 1 index (uint64), 2 tags (map of texts), 3 data (bytes).
"""

from __future__ import annotations

from collections.abc import Iterator

_INDEX, _TAGS, _DATA = 1, 2, 3
_VARINT, _BYTES = 0, 2  # wire types


def read_frame(message: bytes) -> tuple[int, dict[str, str], bytes]:
    """(index, tags, data) of one message. Errors: ValueError."""
    index, tags, data = 0, {}, b""
    for number, value in _fields(message):
        if number == _INDEX and isinstance(value, int):
            index = value
        elif number == _TAGS and isinstance(value, bytes):
            entry = dict(_fields(value))
            name, text = (bytes(entry.get(part, b"")) for part in (1, 2))
            tags[name.decode()] = text.decode()
        elif number == _DATA and isinstance(value, bytes):
            data = value
    return index, tags, data


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _BYTES and at + value <= len(message):
            yield key >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError("this is no item of a queue")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("this is no item of a queue")
