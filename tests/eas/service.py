"""A real service of the api edition in a process of its own, with the fake engine: `python service.py FLAG …`."""

from __future__ import annotations

import sys
from dataclasses import replace

from easel.engine.fake_engine import FACTS, FakeEngine
from easel.serve import serve
from easel.settings import Settings, read_settings
from easel.worker.workplace import Workplace, assemble, extension_registry, model_store


def build(settings: Settings) -> Workplace:
    """A workplace whose engine draws quickly and without weights."""
    engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))
    return assemble(settings, model_store(settings), engine, extension_registry(settings))


if __name__ == "__main__":
    flags = ["--edition", "api", "--service-name", "sd", "--in-process", "--disable-all-extensions"]
    sys.exit(serve(read_settings([*flags, *sys.argv[1:]], {}), build=build))
