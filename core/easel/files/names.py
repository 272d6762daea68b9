"""Which texts may be paths: what is refused before the disk is asked, and how two names are compared."""

from __future__ import annotations

import re
import unicodedata

from easel.errors import BadRequest, Forbidden

TEMPORARY = ".easel-"  # names that begin so are writes under way; lists leave them out
_NO_TEXT = re.compile("[\ud800-\udfff]")  # bytes that are not UTF-8, as Python reads them
_DEEPEST = 100  # folders in folders; nobody needs more, and who walks a tree need not fear for its stack
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # controls; turned writing
# What Windows takes for a device, whatever ending it has: such a file could be neither copied there nor shared.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?", re.IGNORECASE)


def parts_of(path: str) -> tuple[str, ...]:
    """Split a path; refuse what could mean a place outside. Backslashes too: elsewhere they separate folders."""
    if path.startswith("/"):
        raise Forbidden(f"{path!r} is not below this folder")
    if "\0" in path or "\\" in path:
        raise Forbidden(f"{path!r} holds characters that no path may hold")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Forbidden(f"{path!r} leaves its folder")
    if len(parts) > _DEEPEST:
        raise BadRequest("too many folders in folders", field="path", value=path, allowed=f"up to {_DEEPEST}")
    return parts


def is_nameable(name: str) -> bool:
    """Can a client name this file? What is not even text on the disk, or holds a backslash, stays out of lists."""
    return "\\" not in name and not _NO_TEXT.search(name)


def key_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names as a file system that ignores case or composition compares them."""
    return tuple(unicodedata.normalize("NFKC", part).casefold() for part in parts)


def check_portable(path: str) -> None:
    """Refuse a name that not every system can hold or show. Errors: BadRequest."""
    for name in parts_of(path):
        reason = _unportable(name)
        if reason:
            raise BadRequest(f"not a name for a new file or folder: it {reason}", field="path", value=name)


def _unportable(name: str) -> str:
    if name.startswith(TEMPORARY):
        return f"begins with {TEMPORARY!r}, as the server's own temporary files do"
    if _INVISIBLE.search(name):
        return "holds control characters"
    if name != name.rstrip(" .") or name != name.lstrip(" "):
        return "begins with a space, or ends with a space or a dot"
    if _DEVICE.fullmatch(name):
        return "is the name of a device on Windows"
    if len(name.encode(errors="replace")) > 255:
        return "is longer than 255 bytes"
    return ""
