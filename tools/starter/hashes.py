"""Write ``weights.sha256.json`` of a starter folder: the SHA-256 of every file in it but code and the list itself."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

LIST = "weights.sha256.json"


def write_hashes(folder: Path) -> int:
    """Write the list; returns the bytes of all files in it."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != LIST
    )
    hashes = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / LIST).write_text(json.dumps(hashes, indent=1) + "\n")
    return sum(path.stat().st_size for path in files)


def main() -> None:
    """Hash a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(f"{write_hashes(parser.parse_args().folder) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
