"""What there is to choose from: models, samplers, upscalers, styles, scripts; and reading a picture's infotext."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from easel.api.sdapi_models import PngInfoBody, PngInfoResponse
from easel.extensions.form import form
from easel.imaging.decode import open_picture
from easel.imaging.metadata import generation_data_of
from easel.imaging.received import picture_bytes
from easel.imaging.upscale import LATENT_MODES, all_upscalers
from easel.models.layout import read_layout
from easel.prompt.infotext import parse_infotext
from easel.prompt.styles import styles_of
from easel.values.sampling import SAMPLERS, SCHEDULERS

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.extensions.script import OwnedScript

Rows = list[dict[str, Any]]


def routes(app: Easel) -> APIRouter:
    """The lists of `/sdapi/v1`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["lists"])
    _models(app, router)
    _sampling(app, router)
    _texts(app, router)
    return router


def _models(app: Easel, router: APIRouter) -> None:
    @router.get("/sd-models")
    async def sd_models() -> Rows:
        """Usable checkpoints; `title` is what `sd_model_checkpoint` takes."""
        return [
            {
                "title": info.title,
                "model_name": info.model_name,
                "hash": info.short_hash or None,
                "sha256": info.sha256,
                "filename": app.settings.shown(info.path, info.filename),
                "config": app.settings.shown(info.config) if info.config else None,
            }
            for info in app.store.checkpoints()
            if info.refused_reason is None
        ]

    @router.get("/sd-vae")
    async def sd_vae() -> Rows:
        """Separate VAE files."""
        return [
            {"model_name": file.filename, "filename": app.settings.shown(file.path, file.filename)}
            for file in _usable(app, "vae")
        ]

    @router.get("/loras")
    async def loras() -> Rows:
        """LoRA files; a prompt names them `<lora:NAME:1>`."""
        return [
            {
                "name": file.name.rpartition("/")[2],
                "alias": file.alias,
                "path": app.settings.shown(file.path, file.filename),
                "metadata": dict(file.metadata),
            }
            for file in _usable(app, "lora")
        ]

    @router.get("/hypernetworks")
    async def hypernetworks() -> Rows:
        """Hypernetwork files; a prompt names them `<hypernet:NAME:1>`."""
        return [
            {"name": file.name.rpartition("/")[2], "path": app.settings.shown(file.path, file.filename)}
            for file in _usable(app, "hypernetwork")
        ]

    @router.get("/embeddings")
    async def embeddings() -> dict[str, Any]:
        """Textual-inversion embeddings by name; `shape` is the width of the text encoder they fit."""
        return {"loaded": await asyncio.to_thread(_embeddings, app), "skipped": {}}

    @router.post("/refresh-checkpoints")
    @router.post("/refresh-vae")
    @router.post("/refresh-loras")
    @router.post("/refresh-embeddings")
    async def refresh() -> None:
        """Look at the model folders again."""
        await asyncio.to_thread(app.refresh_models)


def _sampling(app: Easel, router: APIRouter) -> None:
    @router.get("/samplers")
    async def samplers() -> Rows:
        """Samplers by name."""
        return [{"name": one.name, "aliases": list(one.aliases), "options": one.options} for one in SAMPLERS.values()]

    @router.get("/schedulers")
    async def schedulers() -> Rows:
        """Noise schedules by name and label."""
        return [
            {
                "name": one.name,
                "label": one.label,
                "aliases": list(one.aliases) if one.aliases else None,
                "default_rho": one.default_rho,
                "need_inner_model": one.need_inner_model,
            }
            for one in SCHEDULERS
        ]

    @router.get("/upscalers")
    async def upscalers() -> Rows:
        """Upscalers; the first three are always None, Lanczos and Nearest."""
        registered = (owned.value for owned in app.extensions.hooks.upscalers)
        return [
            {"name": one.name, "model_name": None, "model_path": None, "model_url": None, "scale": float(one.scale)}
            for one in all_upscalers(registered)
        ]

    @router.get("/latent-upscale-modes")
    async def latent_upscale_modes() -> Rows:
        """Ways of enlarging latents in the hires pass."""
        return [{"name": name} for name in LATENT_MODES]


def _texts(app: Easel, router: APIRouter) -> None:
    @router.get("/prompt-styles")
    async def prompt_styles() -> Rows:
        """Named texts that `styles` of a request merges into its prompts."""
        styles = await asyncio.to_thread(styles_of, app.settings)
        return [{"name": one.name, "prompt": one.prompt, "negative_prompt": one.negative_prompt} for one in styles]

    @router.get("/scripts")
    async def scripts() -> dict[str, list[str]]:
        """Titles of scripts by tab."""
        owned = app.extensions.hooks.scripts.owned
        return {
            tab: [one.script.title.lower() for one in owned if tab in one.script.tabs] for tab in ("txt2img", "img2img")
        }

    @router.get("/script-info")
    async def script_info() -> Rows:
        """Scripts with their arguments, in the order `script_args` takes them."""
        owned = app.extensions.hooks.scripts.owned
        return [_script_info(one, tab) for tab in ("txt2img", "img2img") for one in owned if tab in one.script.tabs]

    @router.post("/png-info")
    async def png_info(body: PngInfoBody) -> PngInfoResponse:
        """The infotext inside a picture, and the same read into parameters."""
        return await asyncio.to_thread(_png_info, app, body.image)


def _usable(app: Easel, kind: Any) -> Any:
    return (file for file in app.store.files(kind) if file.refused_reason is None)


def _embeddings(app: Easel) -> dict[str, dict[str, Any]]:
    rows = {}
    for file in _usable(app, "embedding"):
        vectors, width = next(iter(read_layout(file.path).tensors.values())).shape
        untrained = dict.fromkeys(("step", "sd_checkpoint", "sd_checkpoint_name"))  # safetensors do not say
        rows[file.name.rpartition("/")[2]] = {**untrained, "shape": width, "vectors": vectors}
    return rows


def _script_info(owned: OwnedScript, tab: str) -> dict[str, Any]:
    """A1111's keys, then ours: `extension` and the JSON Schema of the arguments."""
    script = owned.script
    return {
        "name": script.title.lower(),
        "is_alwayson": script.always_on,
        "is_img2img": tab == "img2img",
        "args": [
            {
                "label": one.label,
                "value": one.value,
                "minimum": one.minimum,
                "maximum": one.maximum,
                "step": one.step,
                "choices": None if one.choices is None else list(one.choices),
            }
            for one in form(script.arguments)
        ],
        "extension": owned.extension,
        "schema": script.arguments.model_json_schema(),
    }


def _png_info(app: Easel, image: str) -> PngInfoResponse:
    data = picture_bytes(app.fetcher, image, field="image")
    found = generation_data_of(open_picture(data, field="image", max_pixels=app.settings.max_input_pixels))
    parameters = parse_infotext(found.infotext, styles_of(app.settings))
    return PngInfoResponse(info=found.infotext, items=dict(found.items), parameters=parameters)
