"""BeautifulPrompt: a language model makes a prompt of a few words, for a route or for each picture of a job."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from easel import Draft, Extension, Job, Prompt, Script, Tab, extract_networks, hookimpl, task

from .arguments import LARGEST_SEED, Arguments, Options, ToExpand
from .shelf import STARTER, Shelved, find, shelf
from .template import Expanded

if TYPE_CHECKING:
    from fastapi import APIRouter


class Settings(BaseModel):
    """What an operator decides."""

    model: str = STARTER  # for who names none


class BeautifulPrompt(Extension):
    """Knows the models; loads one when it is first asked for something."""

    settings_model = Settings

    @hookimpl
    def startup(self, app: Any) -> None:
        """Know the folder."""
        self._folder = app.settings.models_path / "BeautifulPrompt"

    @hookimpl
    def register_scripts(self) -> Script:
        """Off, until a request asks for it."""
        return Script("BeautifulPrompt", Arguments, always_on=True)

    @hookimpl
    def register_routes(self, app: Any) -> APIRouter:
        """`/beautiful_prompt/…`."""
        from .routes import routes

        return routes(self, app)

    @hookimpl
    def register_tabs(self, app: Any) -> Tab:
        """A place to try words and models."""

        def build(page: Any) -> None:
            from .tab import build  # gradio is only where there is a page

            build(self, app, page)

        return Tab("BeautifulPrompt", build, order=10)

    @hookimpl
    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt | None:
        """Expand the prompt of every picture by its seed, and the same hires prompt with it. Errors: BadRequest."""
        asked = job.script_args(Arguments)
        if asked is None or not asked.enabled:
            return None
        model = self.find(asked.model)
        positive = tuple(
            self._with_tags(model, text, seed, asked, job)
            for text, seed in zip(prompt.positive, prompt.seeds, strict=True)
        )
        hires = tuple(
            after if text == before else text
            for text, before, after in zip(prompt.hires_positive, prompt.positive, positive, strict=False)
        )
        told = (("BeautifulPrompt", model.name),)
        if len(set(prompt.positive)) == 1:  # one text for all; else a `Template` tells where they come from
            told += (("Expanded from", prompt.positive[0]),)
        return replace(
            prompt, positive=positive, hires_positive=hires, extra_infotext=(*prompt.extra_infotext, *told)
        ).as_written()

    @task(ToExpand)
    def expand(self, arguments: ToExpand, job: Job) -> Draft:
        """Several candidates; `info` has them."""
        model = self.find(arguments.model)
        seeds = [(arguments.seed + number) % LARGEST_SEED for number in range(arguments.candidates)]
        expanded = self._expanded(model, arguments.prompt, seeds, arguments, job)
        candidates = [{**asdict(one), "seed": seed} for one, seed in zip(expanded, seeds, strict=True)]
        return Draft(images=(), info={"model": model.name, "candidates": candidates})

    def models(self) -> dict[str, Shelved]:
        """What is on disk now, by name."""
        return shelf(self._folder)

    def find(self, name: str) -> Shelved:
        """A model that can be used. Errors: BadRequest with what to do."""
        return find(self.models(), name, self.settings.model)

    def _with_tags(self, model: Shelved, text: str, seed: int, asked: Arguments, job: Job) -> str:
        words, tags = extract_networks(text)
        if not words.strip():
            return text
        (expanded,) = self._expanded(model, words.strip(), [seed], asked, job)
        return " ".join([expanded.prompt, *map(str, tags)])

    def _expanded(self, model: Shelved, words: str, seeds: list[int], options: Options, job: Job) -> list[Expanded]:
        from .writer import write

        assert model.template is not None
        answers = write(model, model.template.ask(words), seeds, options.sampling(model.sampling), job)
        return [model.template.read(words, answer) for answer in answers]
