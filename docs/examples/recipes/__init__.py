"""One small piece for each thing that an extension can do; docs/recipes.md tells about them."""

from dataclasses import replace
from typing import Any

import numpy as np
from easel import Conditioning, Control, Draft, Extension, Image, Job, Prompt, ReportLine, Script, Tab, hookimpl, task
from fastapi import APIRouter, Request
from PIL import Image as Pillow
from pydantic import BaseModel, Field


class Mood(BaseModel):
    """Arguments of the prompt rewriter."""

    mood: str = Field("", title="Mood", max_length=200)


class Horizon(BaseModel):
    """Arguments of the control."""

    model: str = Field("", title="ControlNet", description="empty: no control")
    height: float = Field(0.5, title="Height", ge=0, le=1, json_schema_extra={"step": 0.05})


class Seeds(BaseModel):
    """Arguments of the script; a count that is not sent is refused."""

    count: int = Field(title="Count", ge=1, le=16)


class Palette(BaseModel):
    """Arguments of the task."""

    colors: list[str] = Field(min_length=1, max_length=16)


class Recipes(Extension):
    """Every recipe."""

    @hookimpl
    def startup(self, app: Any) -> None:
        """Keep what the hooks need."""
        self._store = app.store

    @hookimpl
    def register_scripts(self) -> list[Script]:
        """Two that are always on, and one that is chosen by `script_name`."""
        return [
            Script("Mood", Mood, always_on=True),
            Script("Horizon", Horizon, always_on=True),
            Script("Seeds", Seeds),
        ]

    @hookimpl
    def rewrite_prompt(self, prompt: Prompt, job: Job) -> Prompt | None:
        """Every text of the batch with the mood."""
        asked = job.script_args(Mood)
        if asked is None or not asked.mood:
            return None
        moody = tuple(f"{text}, {asked.mood}" for text in prompt.positive)
        return replace(prompt, positive=moody).as_written()

    @hookimpl
    def add_conditioning(self, conditioning: Conditioning, job: Job) -> Conditioning | None:
        """A line across the picture, for a ControlNet that knows lines."""
        asked = job.script_args(Horizon)
        if asked is None or not asked.model:
            return None
        file = self._store.find("controlnet", asked.model)  # UnknownName is a 422 that lists what there is
        hint = np.zeros((conditioning.height, conditioning.width, 3), np.float32)
        hint[int(asked.height * (conditioning.height - 1))] = 1
        job.note(ReportLine(item="Horizon", outcome="applied", reason=file.name, extension=self.name))
        return replace(
            conditioning,
            controls=(*conditioning.controls, Control(model=str(file.path), hint=hint)),
            maps=(*conditioning.maps, Pillow.fromarray((hint * 255).astype(np.uint8))),
        )

    @hookimpl
    def generate(self, job: Job) -> Draft | None:
        """The same request with several seeds, as parts of one job: they share the engine's forward passes."""
        asked = job.script_args(Seeds)
        if asked is None:
            return None
        seed = job.request.seed
        drafts = job.run_all([replace(job.request, seed=seed + number) for number in range(asked.count)])
        return Draft(images=tuple(image for draft in drafts for image in draft.images), info=drafts[0].info)

    @task(Palette)
    def palette(self, asked: Palette, job: Job) -> Draft:
        """In a worker: a picture of stripes. A model would be used here, with `job.compute` and `job.model`."""
        stripes = [Pillow.new("RGB", (16, 64), color) for color in asked.colors]
        picture = Pillow.new("RGB", (16 * len(stripes), 64))
        for number, stripe in enumerate(stripes):
            picture.paste(stripe, (16 * number, 0))
        return Draft(images=(Image(pixels=picture),), info={"colors": asked.colors})

    @hookimpl
    def register_routes(self, app: Any) -> APIRouter:
        """`POST /recipes/palette`: in the gateway, which has no models, so it asks a worker."""
        router = APIRouter(prefix="/recipes", tags=["recipes"])

        @router.post("/palette")
        async def palette(body: Palette, request: Request) -> dict[str, Any]:
            """A picture of stripes."""
            result = await app.run_task(self.name, "palette", body.model_dump(), user=request.state.user.name)
            return {"colors": result.info["colors"], "bytes": len(result.images[0].data)}

        return router

    @hookimpl
    def register_tabs(self) -> Tab:
        """A tab of the page."""
        return Tab("Recipes", self._build_tab)

    def _build_tab(self, page: Any) -> None:
        import gradio  # only where there is a page

        words = gradio.Textbox(label=page.text("Prompt"), value="a cat at night")
        page.send(gradio.Button(page.text("to txt2img")), to="txt2img", fill=["prompt"], inputs=[words])
