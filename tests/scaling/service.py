"""A real gateway whose workers are real processes with the fake engine: `python service.py FLAG …`."""

from __future__ import annotations

import sys
from pathlib import Path

from easel.serve import serve
from easel.settings import read_settings

if __name__ == "__main__":
    flags = ["--service-name", "sd", "--nowebui", "--disable-all-extensions", *sys.argv[1:]]
    sys.exit(serve(read_settings(flags, {}), worker=(sys.executable, str(Path(__file__).with_name("worker.py")))))
