"""Which options an infotext asks for: the parameters that are options of the server under another name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Face restoration": "face_restoration",
        "Eta DDIM": "eta_ddim",
        "Eta": "eta_ancestral",
        "Sigma churn": "s_churn",
        "Sigma tmin": "s_tmin",
        "Sigma tmax": "s_tmax",
        "Sigma noise": "s_noise",
        "Schedule min sigma": "sigma_min",
        "Schedule max sigma": "sigma_max",
        "Schedule rho": "rho",
        "ENSD": "eta_noise_seed_delta",
        "Discard penultimate sigma": "always_discard_next_to_last_sigma",
        "SGM noise multiplier": "sgm_noise_multiplier",
        "UniPC variant": "uni_pc_variant",
        "UniPC skip type": "uni_pc_skip_type",
        "UniPC order": "uni_pc_order",
        "UniPC lower order final": "uni_pc_lower_order_final",
        "Noise Schedule": "sd_noise_schedule",
        "Skip Early CFG": "skip_early_cond",
        "Beta scheduler alpha": "beta_dist_alpha",
        "Beta scheduler beta": "beta_dist_beta",
        "Model hash": "sd_model_checkpoint",
        "Emphasis": "emphasis",
        "Clip skip": "CLIP_stop_at_last_layers",
        "RNG": "randn_source",
        "Tiling": "tiling",
        "Hires refiner": "hires_fix_refiner_pass",
        "VAE": "sd_vae",
        "VAE Encoder": "sd_vae_encode_method",
        "VAE Decoder": "sd_vae_decode_method",
        "Conditional mask weight": "inpainting_mask_weight",
        "Noise multiplier": "initial_noise_multiplier",
        "Extra noise": "img2img_extra_noise",
        "NGMS": "s_min_uncond",
        "NGMS all steps": "s_min_uncond_all",
        "Token merging ratio": "token_merging_ratio",
        "Token merging ratio hr": "token_merging_ratio_hr",
        "Pad conds": "pad_cond_uncond",
        "Pad conds v0": "pad_cond_uncond_v0",
        "FP8 weight": "fp8_storage",
        "Cache FP16 weight for LoRA": "cache_fp16_weight",
        "Old prompt editing timelines": "use_old_scheduling",
        "Downcast alphas_cumprod": "use_downcasted_alpha_bar",
        "Refiner switch by sampling steps": "refiner_switch_by_sample_steps",
    }
)
"""Parameter -> option, in the order in which overrides are listed."""


class Override(NamedTuple):
    """An option that should be another one for this picture."""

    parameter: str
    option: str
    value: object


def option_overrides(parameters: Mapping[str, object], options: Mapping[str, object]) -> tuple[Override, ...]:
    """The options that `parameters` (of `infotext.parse_infotext`) want otherwise than `options` has them now.

    Values get the types of the present ones; one that cannot is left out. Left out too are options that `options`
    lacks, and the checkpoint unless `disable_weights_auto_swap` is off there.
    """
    found: list[Override] = []
    for parameter, option in OPTIONS.items():
        if option == "sd_model_checkpoint" and options.get("disable_weights_auto_swap", True):
            continue
        if parameter in parameters and option in options:
            value = _cast(parameters[parameter], options[option])
            if value is not None and value != options[option]:
                found.append(Override(parameter, option, value))
    return tuple(found)


def _cast(value: object, like: object) -> object | None:
    try:
        if isinstance(like, bool):
            return value != "False" and bool(value)  # "Face restoration: CodeFormer" is true
        if isinstance(like, int):
            return int(float(str(value)))
        if isinstance(like, float):
            return float(str(value))
    except (ValueError, OverflowError):
        return None
    return str(value) if isinstance(like, str) else value
