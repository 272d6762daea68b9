"""Prompts from file or textbox: one request after another, each from a line with a prompt or options."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, Field

from easel import (
    BadRequest,
    Draft,
    Extension,
    GenerationRequest,
    Job,
    ReportLine,
    Script,
    StyleTexts,
    check_count,
    check_request,
    find_sampler,
    hookimpl,
    retyped,
    sampler_names,
    styles_of,
)

from .lines import IDLE, lines_of, read_line

TITLE = "Prompts from file or textbox"
# Fields of a request that an option of the same name replaces as it is.
_PLAIN = (
    "seed", "subseed", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w", "batch_size", "n_iter", "steps",
    "cfg_scale", "width", "height", "restore_faces", "tiling",
)  # fmt: skip


class Arguments(BaseModel):
    """In A1111's order."""

    iterate_seed: bool = Field(False, title="Iterate seed every line")
    same_seed: bool = Field(False, title="Use same random seed for all lines")
    position: Literal["start", "end"] = Field("start", title="Insert prompts at the")
    text: str = Field("", title="List of prompt inputs", max_length=1 << 20, json_schema_extra={"control": "lines"})


class PromptsFromFile(Extension):
    """The lines are parts of the job: those that fit share the engine's forward passes."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep what knows models, styles and limits."""
        self._app = app

    @hookimpl
    def register_scripts(self) -> Script:
        """The script."""
        return Script(TITLE, Arguments)

    @hookimpl
    def admit_job(self, job: Job) -> None:
        """Refuse bad lines before the job waits. Errors: BadRequest and its kinds, naming the line."""
        arguments = job.script_args(Arguments)
        if arguments is not None:
            self._requests(job, arguments)

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """The pictures of all lines."""
        arguments = job.script_args(Arguments)
        if arguments is None:
            return None
        drafts = job.run_all(self._requests(job, arguments))
        images = [image for draft in drafts for image in draft.images if image.kind == "result"]
        numbered = tuple(replace(image, index=number) for number, image in enumerate(images))
        return Draft(images=numbered, info=_info(job.request, arguments, drafts))

    def _requests(self, job: Job, arguments: Arguments) -> list[GenerationRequest]:
        lines = lines_of(arguments.text)
        if not lines:
            raise BadRequest("there is no prompt", field="script_args[3]", value=arguments.text, allowed="lines")
        check_count(len(lines), self._app.settings, "script_args[3]")
        requests = []
        for number, line in enumerate(lines):
            options, reason = read_line(line)
            where = f"script_args[3], line {number + 1}"
            if reason:
                _ignored(job, where, f"{reason}; the line was taken as a prompt")
            for name in IDLE:
                if name in options:
                    _ignored(job, f"{where}: --{name}", "has no effect here")
            try:
                requests.append(self._request(job.request, arguments, options, number))
            except BadRequest as error:
                raise type(error)(f"{where}: {error.message}") from None
        check_count(sum(request.image_count for request in requests), self._app.settings, "script_args[3]")
        return requests

    def _request(
        self, request: GenerationRequest, arguments: Arguments, options: dict[str, Any], number: int
    ) -> GenerationRequest:
        made = replace(request, seed=_seed(request, arguments, number))
        made = replace(made, **{name: options[name] for name in _PLAIN if name in options})
        if "sd_model" in options:
            made = replace(made, checkpoint=self._app.store.checkpoint(options["sd_model"]).title)
        if "sampler_name" in options or "sampler_index" in options:
            sampler, scheduler = find_sampler(_sampler(options), request.scheduler)
            made = replace(made, sampler=sampler.name, scheduler=scheduler)
        typed = request.typed or request
        texts = {
            name: _joined(options[name], getattr(typed, name), arguments.position)
            for name in ("prompt", "negative_prompt")
            if name in options
        }
        made = retyped(made, **texts, styles=self._styles(options["styles"]) if "styles" in options else None)
        check_request(made, self._app.settings)
        return made

    def _styles(self, names: str) -> list[StyleTexts]:
        known = {style.name: style.texts for style in styles_of(self._app.settings)}
        return [known.get(name.strip(), StyleTexts(name.strip())) for name in names.split(",")]


def _joined(text: str, base: str, position: str) -> str:
    if not text or not base:
        return text
    return f"{text} {base}" if position == "start" else f"{base} {text}"


def _seed(request: GenerationRequest, arguments: Arguments, number: int) -> int:
    """A seed that nobody chose is another one in every line, unless the lines are to share it or count it up."""
    if arguments.iterate_seed:
        return request.seed + number * request.image_count
    if not request.seed_drawn or arguments.same_seed or number == 0:
        return request.seed
    return int.from_bytes(hashlib.sha256(f"{request.seed} {number}".encode()).digest()[:4], "big")


def _sampler(options: dict[str, Any]) -> str:
    if "sampler_name" in options:
        return str(options["sampler_name"])
    names, index = sampler_names(), options["sampler_index"]
    if not 0 <= index < len(names):
        raise BadRequest("no such sampler", field="--sampler_index", value=index, allowed=f"0 to {len(names) - 1}")
    return names[index]


def _ignored(job: Job, item: str, reason: str) -> None:
    if job.request.strict:
        raise BadRequest(f"{item} would be ignored: {reason} (the request is strict)")
    job.warn(f"{item}: {reason}")
    job.note(ReportLine(item=item, outcome="ignored", reason=reason, extension="prompts-from-file"))


def _info(request: GenerationRequest, arguments: Arguments, drafts: list[Draft]) -> dict[str, Any]:
    """What A1111 tells: prompts and infotexts of the pictures, all else of the request that never ran itself."""
    prompts = [prompt for draft in drafts for prompt in draft.info["all_prompts"]]
    seed = _seed(request, arguments, len(lines_of(arguments.text))) if arguments.iterate_seed else request.seed
    unknown = (
        "restore_faces", "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash",
    )  # fmt: skip
    return {
        **drafts[0].info,
        "prompt": prompts[0],
        "all_prompts": prompts,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt],
        "seed": seed,
        "all_seeds": [seed],
        "subseed": request.subseed,
        "all_subseeds": [request.subseed],
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        **dict.fromkeys(unknown),
        "infotexts": [text for draft in drafts for text in draft.info["infotexts"]],
    }
