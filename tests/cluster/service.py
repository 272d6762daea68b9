"""A real gateway on a real Ray cluster of its own, workers with the fake engine: `python service.py FLAG …`."""

from __future__ import annotations

import sys
from pathlib import Path

from easel.deploy.ray_workforce import RayWorkforce
from easel.serve import serve
from easel.settings import read_settings

WORKER = Path(__file__).parents[1] / "scaling" / "worker.py"

if __name__ == "__main__":
    flags = ["--service-name", "sd", "--nowebui", "--disable-all-extensions", "--ray", "local", *sys.argv[1:]]
    sys.exit(serve(read_settings(flags, {}), worker=(sys.executable, str(WORKER)), workforce=RayWorkforce))
