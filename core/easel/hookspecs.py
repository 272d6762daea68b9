"""The hooks: what the core calls in extensions, in which style and when. This file is the extension contract.

Styles: *collect* (all results), *first* (the first that is not None; wrappers allowed), *check* (an exception is the
answer), *chain* (each implementation gets what the previous one returned; None leaves it unchanged), *notify* (results
ignored). Order: `tryfirst`, then by extension name, then `trylast`. What happens when an implementation fails stands
in each docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter, Request

    from easel.values.conditioning import Conditioning
    from easel.values.image import Image, SavedImage
    from easel.values.job import Job
    from easel.values.prompt import Prompt
    from easel.values.result import Draft
    from easel.values.step import Step
    from easel.values.user import User

PROJECT = "easel"
HOOK_API = "1.0"
Style = Literal["collect", "first", "check", "chain", "notify"]
F = TypeVar("F", bound=Callable[..., Any])

hookimpl = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)
STYLES: dict[str, Style] = {}


def hookspec(style: Style) -> Callable[[F], F]:
    """Declare a hook and its call style."""

    def declare(function: F) -> F:
        STYLES[function.__name__] = style
        return _spec(firstresult=style == "first")(function)

    return declare


@hookspec("notify")
def startup(app: Any) -> None:
    """Once per process after loading, and when switched on. Failing: the extension is set to failed."""


@hookspec("notify")
def shutdown(app: Any) -> None:
    """After the drain, or when switched off. Failing: logged."""


@hookspec("collect")
def register_scripts() -> Any:
    """At load: one `Script` or a list. Failing, or a title another extension has: the extension is set to failed."""


@hookspec("collect")
def register_upscalers() -> Any:
    """At load: one `Upscaler` or a list. Failing, or a duplicate name: the extension is set to failed."""


@hookspec("collect")
def register_face_restorers() -> Any:
    """At load: one `FaceRestorer` or a list. Failing, or a duplicate name: the extension is set to failed."""


@hookspec("collect")
def register_routes(app: Any) -> APIRouter | Sequence[APIRouter] | None:
    """When switched on, in the gateway: HTTP routes, answered while the extension is on, mounts and WebSockets too.
    Failing, or a route that another has: set to failed."""


@hookspec("collect")
def register_tabs(app: Any) -> Any:
    """When switched on, in the gateway: one `Tab` of the page or a list. Failing, or a title that another has: set to
    failed."""


@hookspec("first")
def authenticate(request: Request) -> User | None:
    """For each HTTP request: who is this? None from all: anonymous, or 401 by settings. Failing: closed."""


@hookspec("check")
def admit_job(job: Job) -> None:
    """Before queuing; raise `JobRefused` to refuse. Failing: the job is refused."""


@hookspec("first")
def generate(job: Job) -> Draft | None:
    """A worker starts the job: the first that answers makes the pictures, not yet reviewed or saved. Failing: the
    job fails."""


@hookspec("chain")
def rewrite_prompt(prompt: Prompt, job: Job) -> Prompt | None:
    """Per batch, before encoding. Who writes prompts returns `new.as_written()`, so that the pictures tell them; who
    takes tags out of them does not. Failing: skipped, with a warning; fails a strict job."""


@hookspec("chain")
def add_conditioning(conditioning: Conditioning, job: Job) -> Conditioning | None:
    """Per pass, before the noise. Failing: as `rewrite_prompt`."""


@hookspec("notify")
def denoise_step(step: Step, job: Job) -> None:
    """After every step of a pass; `step.preview(kind)` makes a picture only when called. Failing: logged."""


@hookspec("chain")
def process_images(images: tuple[Image, ...], job: Job) -> tuple[Image, ...] | None:
    """Per batch, after decoding. Failing: as `rewrite_prompt`."""


@hookspec("chain")
def review_images(images: tuple[Image, ...], job: Job) -> tuple[Image, ...] | None:
    """The last word on every picture that leaves or is saved. Failing: closed, the job fails."""


@hookspec("first")
def save_image(image: Image, job: Job) -> SavedImage | None:
    """Per reviewed picture: encode it and, where the request says so, save it. Failing: the job fails."""


@hookspec("notify")
def job_changed(job: Job) -> None:
    """Every change of a job's state. Failing: logged."""
