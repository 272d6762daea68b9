"""A whole service around one extension, with an engine that needs no models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from easel.app import Easel
from easel.engine.fake_engine import FACTS, FakeEngine
from easel.errors import EaselError, ExtensionError
from easel.extensions.registry import Registry
from easel.extensions.status import State
from easel.hookspecs import STYLES
from easel.settings import Settings, read_settings
from easel.values.job import Job
from easel.values.request import GenerationRequest, ScriptCall
from easel.values.result import Result
from easel.worker.workplace import Workplace, assemble, model_store


class EaselUnderTest(Easel):
    """A service with the extension in `folder` and no other; gateway and worker are this process.

    `environment` holds the extension's settings as `EASEL_EXT_<NAME>__<FIELD>`. What the engine was asked stands in
    `engine.calls`.
    """

    def __init__(self, data_dir: Path, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.engine = FakeEngine(models=(replace(FACTS, title="starter", name="starter"),))  # what the store has
        self._folder, self._environment = folder, environment or {}
        super().__init__(
            read_settings(["--data-dir", str(data_dir), "--in-process", "--nowebui"], {}), build=self._workplace
        )
        self.extensions = self._registry()

    def start(self) -> None:
        """Start; errors: EaselError when the extension was set aside."""
        super().start()
        for status in self.extensions.list():
            if status.state is State.DISABLED:  # by its manifest
                status = self.switch_extension(status.name, True)
            if status.state in (State.FAILED, State.UNAVAILABLE):
                self.stop()
                raise EaselError(f"{status.name} is {status.state}: {status.reason}")

    def generate(self, prompt: str = "", *, scripts: Mapping[str, Any] | None = None, **fields: Any) -> Result:
        """Run one request and wait. `fields` are those of `GenerationRequest`; small and quick where not named.

        `scripts` maps titles to arguments, by position or by name. Errors: whatever the job failed with, and
        ExtensionError for a hook whose part a service would have left out.
        """
        return self.wait(self.submit(prompt, scripts=scripts, **fields))

    def submit(self, prompt: str = "", *, scripts: Mapping[str, Any] | None = None, **fields: Any) -> Job:
        """Begin a request as `generate` does, for several at once."""
        small: dict[str, Any] = {"seed": 1, "steps": 4, "width": 64, "height": 64}
        request = GenerationRequest(**{**small, **fields, "prompt": prompt})
        return self.jobs.submit(self._with_scripts(request, scripts or {}))

    def wait(self, job: Job) -> Result:
        """The result of a job that was submitted. Errors: as of `generate`."""
        result = self.jobs.wait_blocking(job)
        for line in result.report:
            if line.outcome == "ignored" and line.item in STYLES:
                raise ExtensionError(line.extension, line.item, line.reason)
        return result

    def task(self, name: str, **arguments: Any) -> Result:
        """Run a task of the extension and wait: `run_task` for tests. Errors: NotFound, BadRequest, its failure."""
        return asyncio.run(self.run_task(self.extensions.list()[0].name, name, arguments))

    def _with_scripts(self, request: GenerationRequest, scripts: Mapping[str, Any]) -> GenerationRequest:
        always = {o.script.title.casefold() for o in self.extensions.hooks.scripts.owned if o.script.always_on}
        calls = [ScriptCall(title, given) for title, given in scripts.items()]
        selected = [call for call in calls if call.name.casefold() not in always]
        return replace(
            request,
            script=selected[0] if selected else None,
            always_on=tuple(call for call in calls if call not in selected[:1]),
        )

    def _registry(self) -> Registry:
        return Registry([self._folder], self.settings.state_dir, environment=self._environment)

    def _workplace(self, settings: Settings) -> Workplace:
        return assemble(settings, model_store(settings), self.engine, self._registry())
