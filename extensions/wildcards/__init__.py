"""Dynamic prompts: wildcards and choices in prompts become text, drawn anew for every picture by its seed."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from easel import BadRequest, Extension, Job, Prompt, ReportLine, Script, hookimpl

from .library import Library
from .template import is_dynamic

if TYPE_CHECKING:
    from .drawing import Drawing


class Arguments(BaseModel):
    """What a request may ask for."""

    enabled: bool = Field(True, description="draw `__wildcards__` and `{choices|of this kind}`")


class Wildcards(Extension):
    """Draws before anything else reads prompts."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Know the folder."""
        self._app = app
        self._libraries: dict[Path, Library] = {}  # of users, each has a data folder

    @hookimpl
    def register_scripts(self) -> Script:
        """On for every request, unless it says otherwise."""
        return Script("Dynamic Prompts", Arguments, always_on=True)

    @hookimpl(tryfirst=True)  # expanders and tag readers get the text that was drawn
    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt | None:
        """A text for every picture; the templates stand in the generation data. Errors: BadRequest."""
        asked = job.script_args(Arguments)
        texts = (*prompt.positive, *prompt.negative, *prompt.hires_positive, *prompt.hires_negative)
        if asked is None or not asked.enabled or not any(map(is_dynamic, texts)):
            return None
        from .drawing import Drawing

        drawing = Drawing(self._library().values())
        drawn = replace(
            prompt,
            positive=drawing.texts(prompt.positive, prompt.seeds, "prompt"),
            negative=drawing.texts(prompt.negative, prompt.seeds, "negative_prompt"),
            hires_positive=drawing.texts(prompt.hires_positive, prompt.seeds, "hr_prompt"),
            hires_negative=drawing.texts(prompt.hires_negative, prompt.seeds, "hr_negative_prompt"),
        )
        self._tell_missing(drawing, job)
        if drawn == prompt:
            return None
        templates = [("Template", prompt.positive, drawn.positive)]
        templates += [("Negative Template", prompt.negative, drawn.negative)]
        told = tuple((key, before[0]) for key, before, after in templates if before != after)
        return replace(drawn, extra_infotext=(*prompt.extra_infotext, *told)).as_written()

    def _library(self) -> Library:
        folder: Path = self._app.settings.data_dir / "wildcards"
        return self._libraries.setdefault(folder, Library(folder))

    def _tell_missing(self, drawing: Drawing, job: Job) -> None:
        names = list(self._library().values())
        for name in drawing.missing:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            reason = f"there is no wildcard {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            if job.request.strict:
                raise BadRequest(f"__{name}__ would be ignored: {reason} (the request is strict)")
            job.warn(f"__{name}__: {reason}")
            job.note(ReportLine(item=f"__{name}__", outcome="ignored", reason=reason, extension=self.name))
