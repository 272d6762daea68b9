"""From the body of a request to a resolved `GenerationRequest`: names looked up, seeds drawn, pictures checked.

Nothing is ignored silently: what has no effect here becomes a line of the report that the response carries.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from easel.api.infotext_fields import merge_infotext
from easel.api.pai import Additions, check_envelope, split_scripts
from easel.api.pictures import read_picture
from easel.api.reading import (
    Reading,
    asks_nothing,
    check_scripts,
    find_checkpoint,
    known_scheduler,
    named_checkpoint,
    read_always_on,
    read_overrides,
    read_refiner,
    read_sampler,
    read_script,
    report_unused,
)
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, NotFound, UnknownName
from easel.imaging.hires import hires_size
from easel.imaging.upscale import all_upscalers, hires_upscalers
from easel.limits import check_numbers, check_size
from easel.models.store import CheckpointInfo
from easel.prompt.styles import Style, finished, styles_of
from easel.settings import Settings
from easel.values.options import Options
from easel.values.request import (
    GenerationRequest,
    Hires,
    InitImages,
    Inpaint,
    Output,
    StyleTexts,
    Typed,
)
from easel.values.result import ReportLine
from easel.values.sampling import find_sampler

if TYPE_CHECKING:
    from easel.app import Easel
    from easel.streams.dispatcher import Task

_LARGEST_DRAWN = 4294967294  # seeds are drawn below this
# Fields that need no resolving.
_AS_SENT = (
    "steps", "cfg_scale", "n_iter", "eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond",
    "disable_extra_networks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the service understood it, and what the response says about that."""

    request: GenerationRequest
    parameters: Mapping[str, Any]  # the echo: every field after defaults
    report: tuple[ReportLine, ...]
    defaults: Mapping[str, Any]  # values the model's card chose for fields that were not named
    name: str  # the client's own id of the task
    additions: Additions


def read_request(app: Easel, body: Txt2ImgBody | Img2ImgBody, task: Task | None = None) -> Asked:
    """Resolve a body; it may decode pictures, so call it outside the event loop.

    A task of the queue draws the same seeds at every delivery, saves its pictures and sends none.
    Errors: BadRequest and its kinds, NotFound (no start picture), NotAvailable.
    """
    styles = styles_of(app.settings)
    scripts, additions = split_scripts(body.alwayson_scripts)
    body, report = merge_infotext(app, body.model_copy(update={"alwayson_scripts": scripts}), styles)
    reading = Reading(app, body, report)
    save_dir = _save_dir(app, additions)
    check_numbers(body, app.settings)
    overrides = read_overrides(reading, additions)
    options = app.options.resolve(overrides)
    if isinstance(body, Img2ImgBody) and body.initial_noise_multiplier is not None:
        options = replace(options, initial_noise_multiplier=body.initial_noise_multiplier)
    home = "alwayson_scripts" if additions.get("sd_model_checkpoint") else "override_settings"
    checkpoint = find_checkpoint(reading, overrides.get("sd_model_checkpoint"), f"{home}.sd_model_checkpoint")
    vae = overrides.get("sd_vae") or app.options.get("sd_vae")
    app.store.vae(vae, checkpoint)  # refuses unknown names
    defaults = _card_defaults(body, checkpoint)
    body = body.model_copy(update=defaults)
    reading.body = body
    sampler, scheduler = read_sampler(reading)
    typed = _typed(reading, styles)
    prompt, negative = finished(
        typed.prompt, typed.negative_prompt, typed.styles, comments=options.enable_prompt_comments
    )
    hires = _hires_texts(reading, options, typed, scheduler)
    width, height = _size(body, hires, app.settings)
    init = _init_images(reading, additions)
    extras = body.model_extra or {}
    draw = random.Random(task.id) if task else random.SystemRandom()
    plain_seed = extras.get("seed_enable_extras") is False
    request = GenerationRequest(
        kind="img2img" if isinstance(body, Img2ImgBody) else "txt2img",
        prompt=prompt,
        negative_prompt=negative,
        styles=tuple(style.name for style in typed.styles),
        typed=typed,
        seed=_drawn(body.seed, draw),
        seed_drawn=body.seed == -1,
        subseed=_drawn(body.subseed, draw),
        subseed_strength=0.0 if plain_seed else body.subseed_strength,
        seed_resize_from_w=-1 if plain_seed else body.seed_resize_from_w,
        seed_resize_from_h=-1 if plain_seed else body.seed_resize_from_h,
        checkpoint=checkpoint.title,
        vae=vae,
        sampler=sampler,
        scheduler=scheduler,
        width=width,
        height=height,
        batch_size=_batch_size(body, init),
        denoising_strength=body.denoising_strength if init or hires is None else hires.denoising_strength,
        tiling=options.tiling if body.tiling is None else body.tiling,
        restore_faces=options.face_restoration if body.restore_faces is None else body.restore_faces,
        hires=hires,
        init=init,
        refiner=read_refiner(reading),
        script=read_script(reading),
        always_on=read_always_on(reading),
        options=options,
        overridden=tuple(overrides),
        output=Output(
            save=body.save_images or save_dir is not None or task is not None,
            send=body.send_images and save_dir is None and task is None,
            save_dir=save_dir,
            journal=task is not None,
        ),
        uid=additions.get("uid"),
        strict=extras.get("strict") is True,
        **{name: getattr(body, name) for name in _AS_SENT},
    )
    check_scripts(app, request)
    report_unused(reading)
    if request.strict and (unused := [line for line in reading.report if line.outcome == "ignored"]):
        raise BadRequest(f"{unused[0].item} would be ignored: {unused[0].reason} (the request is strict)")
    if task is not None:
        check_envelope(app.settings, request, task.limit)
    name = body.force_task_id or additions.get("id_task")
    return Asked(request, _echo(body), tuple(reading.report), defaults, name, additions)


def _save_dir(app: Easel, additions: Additions) -> str | None:
    """Where pictures go, checked before anything is computed. Errors: Forbidden, BadRequest."""
    asked = additions.get("save_dir")
    return app.homes.files().relative(asked) if asked else None


def _card_defaults(body: Txt2ImgBody | Img2ImgBody, checkpoint: CheckpointInfo) -> dict[str, Any]:
    """What the checkpoint's card suggests for fields that the request does not name."""
    wanted = suggestions(checkpoint)
    if body.model_fields_set & {"sampler_name", "sampler_index", "scheduler"}:
        wanted = {name: value for name, value in wanted.items() if name not in ("sampler_name", "scheduler")}
    return {name: value for name, value in wanted.items() if name not in body.model_fields_set}


def suggestions(checkpoint: CheckpointInfo) -> dict[str, Any]:
    """Fields of a request as the checkpoint's card wants them; only the starter has a card."""
    if checkpoint.family != "starter":
        return {}
    card = json.loads(resources.files("easel").joinpath("starter", "card.json").read_text("utf-8"))
    suggested, (width, height) = card["suggested"], card["native_size"]
    return {
        "steps": suggested["steps"],
        "cfg_scale": suggested["cfg_scale"],
        "width": width,
        "height": height,
        "sampler_name": suggested["sampler"],
        "scheduler": suggested["scheduler"],
    }


def _typed(reading: Reading, styles: Iterable[Style]) -> Typed:
    """The texts of the body, and its styles."""
    body = reading.body
    known = {style.name: style for style in styles}
    names = tuple(name for name in body.styles or () if name)
    for name in names:
        if name not in known:
            reading.ignored(f"styles: {name}", "there is no style of that name")
    hires = (body.hr_prompt, body.hr_negative_prompt) if isinstance(body, Txt2ImgBody) else ("", "")
    return Typed(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        hires_prompt=hires[0],
        hires_negative_prompt=hires[1],
        styles=tuple(known[name].texts if name in known else StyleTexts(name) for name in names),
    )


def _hires_texts(reading: Reading, options: Options, typed: Typed, scheduler: str) -> Hires | None:
    """The hires pass with its own texts.

    `scheduler`: the first pass's, which the hires pass takes over unless it names one, also with another sampler.
    """
    body = reading.body
    if not isinstance(body, Txt2ImgBody) or not body.enable_hr:
        return None
    if options.use_old_hires_fix_width_height:
        reading.ignored("use_old_hires_fix_width_height", "not available: name hr_resize_x and hr_resize_y")
    prompt, negative = finished(
        typed.hires_prompt, typed.hires_negative_prompt, typed.styles, comments=options.enable_prompt_comments
    )
    texts = (prompt if typed.hires_prompt else "", negative if typed.hires_negative_prompt else "")
    return _hires(reading, body, *texts, scheduler)


def _hires(reading: Reading, body: Txt2ImgBody, prompt: str, negative: str, scheduler: str) -> Hires:
    upscaler = body.hr_upscaler or "Latent"
    registered = (owned.value for owned in reading.app.extensions.hooks.upscalers)
    known = hires_upscalers(all_upscalers(registered))
    if upscaler not in known:
        raise UnknownName.among("hr_upscaler", upscaler, known)
    own_scheduler, sampler = known_scheduler(reading, "hr_scheduler"), None
    if not asks_nothing(body.hr_sampler_name):
        found, own_scheduler = find_sampler(body.hr_sampler_name, own_scheduler or scheduler, field="hr_sampler_name")
        sampler = found.name
    checkpoint = None
    if not asks_nothing(body.hr_checkpoint_name):
        checkpoint = named_checkpoint(reading, str(body.hr_checkpoint_name), "hr_checkpoint_name").title
    return Hires(
        upscaler=upscaler,
        scale=body.hr_scale,
        resize_x=body.hr_resize_x,
        resize_y=body.hr_resize_y,
        steps=body.hr_second_pass_steps,
        denoising_strength=0.75 if body.denoising_strength is None else body.denoising_strength,
        prompt=prompt,
        negative_prompt=negative,
        checkpoint=checkpoint,
        sampler=sampler,
        scheduler=own_scheduler,
    )


def _size(body: Txt2ImgBody | Img2ImgBody, hires: Hires | None, settings: Settings) -> tuple[int, int]:
    """The first pass's size: the old `firstphase_*`, where they are named."""
    width, height = body.width, body.height
    if isinstance(body, Txt2ImgBody):
        width, height = body.firstphase_width or width, body.firstphase_height or height
        if min(width, height) < 8:
            field, value = min(("firstphase_width", width), ("firstphase_height", height), key=lambda side: side[1])
            raise BadRequest("the picture would be too small", field=field, value=value, allowed="0, or at least 8")
    if hires is not None:
        target = hires_size(width, height, hires)
        by_size = bool(hires.resize_x or hires.resize_y)
        check_size(
            target.width, target.height, settings, ("hr_resize_x", "hr_resize_y") if by_size else ("hr_scale",) * 2
        )
        if min(target.width, target.height) < 8:
            raise BadRequest("the picture would be too small", field="hr_resize_x" if by_size else "hr_scale")
    check_size(width, height, settings, ("width", "height"))
    check_size(body.seed_resize_from_w, body.seed_resize_from_h, settings, ("seed_resize_from_w", "seed_resize_from_h"))
    return width, height


def _init_images(reading: Reading, additions: Additions) -> InitImages | None:
    body, link = reading.body, additions.get("image_link")
    if link and (not isinstance(body, Img2ImgBody) or body.init_images):
        only = "init_images was sent too" if isinstance(body, Img2ImgBody) else "only img2img starts from a picture"
        reading.ignored("alwayson_scripts.image_link", only)
    if not isinstance(body, Img2ImgBody):
        return None
    if body.init_images is None and not link:
        raise NotFound("Init image not found")
    texts = {f"init_images[{k}]": text for k, text in enumerate(body.init_images or ())}
    texts = texts or ({"alwayson_scripts.image_link": link} if link else {})
    if not texts:
        raise BadRequest("there is no picture to start from", field="init_images", value=[], allowed="at least one")
    count, expected = len(texts), max(1, body.batch_size)
    if count > expected:
        raise BadRequest(f"bad number of images passed: {count}; expecting {expected} or less", field="init_images")
    return InitImages(
        pictures=tuple(read_picture(reading.app, text, field=field) for field, text in texts.items()),
        resize_mode=body.resize_mode,
        image_cfg_scale=body.image_cfg_scale,
        inpaint=_inpaint(reading.app, body) if body.mask else None,
        include_in_response=body.include_init_images,
    )


def _inpaint(app: Easel, body: Img2ImgBody) -> Inpaint:
    return Inpaint(
        mask=read_picture(app, body.mask, field="mask"),
        blur_x=body.mask_blur_x if body.mask_blur is None else body.mask_blur,
        blur_y=body.mask_blur_y if body.mask_blur is None else body.mask_blur,
        round=body.mask_round,
        fill=body.inpainting_fill,
        full_res=body.inpaint_full_res,
        full_res_padding=body.inpaint_full_res_padding,
        invert=bool(body.inpainting_mask_invert),
    )


def _batch_size(body: Txt2ImgBody | Img2ImgBody, init: InitImages | None) -> int:
    return len(init.pictures) if init is not None and len(init.pictures) > 1 else body.batch_size


def _echo(body: Txt2ImgBody | Img2ImgBody) -> dict[str, Any]:
    parameters = body.echo()
    if isinstance(body, Img2ImgBody) and not body.include_init_images:
        parameters["init_images"] = parameters["mask"] = None
    return parameters


def _drawn(seed: int, draw: random.Random) -> int:
    return draw.randrange(_LARGEST_DRAWN) if seed == -1 else seed
