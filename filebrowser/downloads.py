"""Files as HTTP answers: whole or a range, streamed, and never as something that a browser would run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from easel import ScopedFiles

_BLOCK = 1 << 18  # bytes read at once
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")  # of several ranges the whole file is the allowed answer
# What may be shown in place, by ending; everything else, HTML and SVG above all, is only ever saved.
INLINE = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def send_file(request: Request, files: ScopedFiles, path: str, *, inline: bool) -> Response:
    """A file, or the range of it that was asked for; 304 and 416 where they are due."""
    file = files.open(path)
    try:
        return _answer(request, file, path.rpartition("/")[2], inline=inline)
    except BaseException:
        file.close()
        raise


def attachment(name: str, *, inline: bool = False) -> str:
    """The header that names a download."""
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _answer(request: Request, file: BinaryIO, name: str, *, inline: bool) -> Response:
    status = os.fstat(file.fileno())
    size, etag = status.st_size, f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    kind = INLINE.get(PurePosixPath(name).suffix.lower()) if inline else None
    headers = {
        **SAFE,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Type": kind or "application/octet-stream",
        "Content-Disposition": attachment(name, inline=kind is not None),
    }
    if request.headers.get("if-none-match") == etag:
        file.close()
        return Response(status_code=304, headers=headers)
    begin, end = 0, size
    code = 200
    if request.headers.get("if-range", etag) == etag and (wanted := _range(request.headers.get("range", ""), size)):
        begin, end = wanted
        if begin >= end:
            file.close()
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        code, headers["Content-Range"] = 206, f"bytes {begin}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - begin)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=code, headers=headers)
    return StreamingResponse(_blocks(file, begin, end), status_code=code, headers=headers)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None: no range that we serve, an empty one: none that the file has."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many bytes
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _blocks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(begin)
        while begin < end and (block := file.read(min(_BLOCK, end - begin))):
            begin += len(block)
            yield block
