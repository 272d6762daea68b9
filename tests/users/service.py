"""A real service of the cluster edition in a process of its own, with the fake engine: `python service.py FLAG …`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from easel.engine.engine import Engine, ModelFacts, ModelSpec
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.models.store import ModelStore
from easel.serve import serve
from easel.settings import Settings, read_settings
from easel.values.job import Job
from easel.worker.workplace import Workplace, assemble, extension_registry, model_store


class StoreEngine(FakeEngine):
    """Draws quickly and without weights; a checkpoint is whatever the store finds for the job's user."""

    store: ModelStore

    def facts(self, job: Job, model: ModelSpec) -> ModelFacts:
        self._note("facts", job, model=model)
        info = self.store.checkpoint(model.checkpoint)
        return replace(FACTS, title=info.title, name=info.model_name, short_hash=info.short_hash)


def build(settings: Settings) -> Workplace:
    store, engine = model_store(settings), StoreEngine(step_seconds=float(os.environ.get("STEP_SECONDS", "0")))
    engine.store = store
    made: Engine = engine
    return assemble(settings, store, made, extension_registry(settings))


if __name__ == "__main__":
    flags = ["--edition", "cluster", "--in-process", "--port", "0"]
    sys.exit(serve(read_settings([*flags, *sys.argv[1:]], {}), build=build))
