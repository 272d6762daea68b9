"""HTTP: the models, and expanding."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .arguments import ToExpand
from .shelf import Sampling

if TYPE_CHECKING:
    from . import BeautifulPrompt


class Model(BaseModel):
    """A model; `missing` says what to do before it can be used."""

    name: str
    about: str
    place: str
    default: bool
    available: bool
    missing: str
    sampling: Sampling


class Candidate(BaseModel):
    """An expanded prompt; the negative one is "" unless the model wrote one."""

    prompt: str
    negative_prompt: str
    seed: int


class Answer(BaseModel):
    """What a model made of the words."""

    model: str
    candidates: list[Candidate]


def routes(extension: BeautifulPrompt, app: Any) -> APIRouter:
    """`GET /beautiful_prompt/models` and `POST /beautiful_prompt/generate`."""
    router = APIRouter(prefix="/beautiful_prompt", tags=["BeautifulPrompt"])

    @router.get("/models")
    def models() -> list[Model]:
        """The models that are there, and those that could be."""
        found = extension.models()
        usable = [model.name for model in found.values() if not model.missing]
        default = extension.find("").name if usable else ""
        return [
            Model(
                name=model.name,
                about=model.about,
                place=model.place,
                default=model.name == default,
                available=not model.missing,
                missing=model.missing,
                sampling=model.sampling,
            )
            for model in found.values()
        ]

    @router.post("/generate")
    async def generate(body: ToExpand, request: Request) -> Answer:
        """Detailed prompts from a few words. The same words, options and seed give the same candidates."""
        model = extension.find(body.model)
        seed = random.randrange(2**32) if body.seed < 0 else body.seed
        arguments = {**body.model_dump(), "model": model.name, "seed": seed}
        result = await app.run_task(extension.name, "expand", arguments, user=request.state.user.name)
        return Answer.model_validate(dict(result.info))

    return router
