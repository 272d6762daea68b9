"""What OpenAPI, and with it `docs/api.md`, says beyond the types: meanings of fields, examples, error answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from easel.limits import INFINITE, RANGES

MEANINGS = {
    "prompt": "what the picture shows, in A1111's prompt language",
    "negative_prompt": "what it should not show",
    "styles": "names of prompt styles (`/sdapi/v1/prompt-styles`) to merge in",
    "seed": "of the first picture, later ones count up; -1 draws one",
    "subseed": "of the variation; -1 draws one",
    "subseed_strength": "0 to 1: from the seed's picture to the subseed's",
    "seed_resize_from_w": "with the other side: noise as of a picture of this size",
    "seed_resize_from_h": "with the other side: noise as of a picture of this size",
    "sampler_name": "a name or alias of `/sdapi/v1/samplers`, any case; a schedule at its end counts",
    "sampler_index": "the old name of `sampler_name`, which wins",
    "scheduler": "a name or label of `/sdapi/v1/schedulers`; unknown ones mean Automatic",
    "batch_size": "pictures made at once",
    "n_iter": "batches made one after the other",
    "steps": "sampling steps",
    "cfg_scale": "how strongly the prompt guides",
    "width": "in pixels",
    "height": "in pixels",
    "restore_faces": "by whom `face_restoration_model` names; reported as ignored while weights are missing",
    "tiling": "edges that fit each other",
    "do_not_save_samples": "without effect: `save_images` decides",
    "do_not_save_grid": "without effect: `save_images` decides",
    "eta": "noise of ancestral samplers and DDIM",
    "denoising_strength": "0 keeps the start picture, 1 ignores it",
    "s_min_uncond": "below this noise level every second step goes without the negative prompt",
    "s_churn": "extra noise of Euler, Heun and DPM2",
    "s_tmin": "lowest noise level with churn",
    "s_tmax": "highest noise level with churn",
    "s_noise": "scale of the churn's noise",
    "override_settings": "options (`/sdapi/v1/options`) for this request alone",
    "override_settings_restore_afterwards": "always true here: options of one request never outlive it",
    "refiner_checkpoint": "a checkpoint that takes over in mid-run",
    "refiner_switch_at": "0 to 1: when it takes over",
    "disable_extra_networks": "leave <lora:…> tags unread",
    "firstpass_image": "cannot be used through the API",
    "comments": "reported as ignored",
    "enable_hr": "a second pass over an enlarged picture",
    "firstphase_width": "old: size of the first pass",
    "firstphase_height": "old: size of the first pass",
    "hr_scale": "how much larger the second pass is",
    "hr_upscaler": "a latent mode or an upscaler (`/sdapi/v1/latent-upscale-modes`, `/sdapi/v1/upscalers`)",
    "hr_second_pass_steps": "steps of the second pass; 0: as the first",
    "hr_resize_x": "its width instead of `hr_scale`",
    "hr_resize_y": "its height instead of `hr_scale`",
    "hr_checkpoint_name": "another checkpoint for the second pass",
    "hr_sampler_name": "another sampler for the second pass",
    "hr_scheduler": "another schedule for the second pass",
    "hr_prompt": "another prompt for the second pass",
    "hr_negative_prompt": "another negative prompt for the second pass",
    "init_images": "start pictures: base64, a data URI or a URL; one, or one for each picture of the batch",
    "resize_mode": "0 stretch, 1 crop, 2 fill, 3 stretch the latent",
    "image_cfg_scale": "how strongly the start picture guides a checkpoint that edits pictures",
    "mask": "white is painted anew; base64, a data URI or a URL",
    "mask_blur": "blur of the mask in pixels, both directions",
    "mask_blur_x": "blur across",
    "mask_blur_y": "blur up and down",
    "mask_round": "make the mask black and white first",
    "inpainting_fill": "what is under the mask at first: 0 its surroundings, 1 the picture, 2 noise, 3 nothing",
    "inpaint_full_res": "work on the mask's surroundings at full size",
    "inpaint_full_res_padding": "pixels around the mask, 0 to 256",
    "inpainting_mask_invert": "1: black is painted anew",
    "initial_noise_multiplier": "scale of the first noise",
    "latent_mask": "cannot be used through the API",
    "include_init_images": "repeat the start pictures in the answer's `parameters`",
    "force_task_id": "an id of the caller's own, for `/internal/progress` and `/easel/v1/jobs`",
    "script_name": "title of a selectable script (`/sdapi/v1/scripts`)",
    "script_args": "its arguments in the order of `/sdapi/v1/script-info`",
    "alwayson_scripts": '`{title: {"args": […]}}`, and beside them PAI-EAS\' keys (see `docs/api.md`)',
    "send_images": "pictures in the answer",
    "save_images": "pictures in the outputs folder",
    "infotext": "a picture's generation data; fills fields that are not sent",
    "image": "base64, a data URI or a URL",
    "id_task": "the task as `force_task_id` named it",
    "id_live_preview": "the preview the caller has already",
    "live_preview": "send the preview",
    "model": "`clip` or `deepdanbooru`",
}

TXT2IMG = {"prompt": "a cat on a blue background", "steps": 20, "seed": 1}
IMG2IMG = {"prompt": "a dog", "init_images": ["https://example.com/cat.png"], "denoising_strength": 0.6, "seed": 1}


def with_meanings(schema: dict[str, Any]) -> None:
    """Put the meanings and ranges of fields into a body's JSON Schema."""
    for name, facts in schema.get("properties", {}).items():
        if name in MEANINGS:
            facts.setdefault("description", MEANINGS[name])
        low, high = RANGES.get(name, (None, None))
        bounds = {"minimum": low, "maximum": None if high == INFINITE else high}
        facts |= {key: bound for key, bound in bounds.items() if bound is not None}


class Problem(BaseModel):
    """An error: `error` is its kind, `detail` the words for the caller. PAI's envelope may stand beside."""

    model_config = ConfigDict(extra="allow")

    error: str
    detail: str
    body: str
    errors: str


class Unreadable(BaseModel):
    """A body that cannot be read: each problem with the place, the words and the kind; or a path that is none."""

    model_config = ConfigDict(extra="allow")

    detail: list[dict[str, Any]] | str


ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": Unreadable, "description": "No HTTP that can be understood"},
    401: {"model": Problem, "description": "No or wrong credentials"},
    403: {"model": Problem, "description": "Not allowed"},
    404: {"model": Problem | Unreadable, "description": "There is no such thing"},
    409: {"model": Problem, "description": "The job was cancelled"},
    413: {"model": Problem, "description": "The request is larger than this server allows"},
    422: {"model": Problem | Unreadable, "description": "What is wrong: field, value, what is allowed"},
    429: {"model": Problem, "description": "The line is full, or the caller calls too often"},
    500: {"model": Problem, "description": "Something went wrong here; the log tells more"},
    501: {"model": Problem, "description": "This service does not do that"},
    503: {"model": Problem, "description": "The worker was lost"},
    504: {"model": Problem, "description": "The job ran past its deadline"},
}
