"""A worker process with the fake engine: what `easel.worker` is, without torch.

START_SECONDS: how long its start takes longer; STEP_SECONDS: how long a step takes.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from easel.engine.fake_engine import FACTS, FakeEngine
from easel.settings import Settings
from easel.worker.__main__ import main
from easel.worker.workplace import Workplace, assemble, model_store


def build(settings: Settings) -> Workplace:
    """A workplace whose engine draws without weights."""
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    models = tuple(replace(FACTS, title=name, name=name) for name in ("starter", "one.safetensors", "two.safetensors"))
    engine = FakeEngine(models=models, step_seconds=float(os.environ.get("STEP_SECONDS", "0")))
    return assemble(settings, model_store(settings), engine)


if __name__ == "__main__":
    main(build)
