"""The options of A1111's `/sdapi/v1/options` that change a picture or how it is saved, under A1111's names.

A request carries one resolved `Options`: the server's options with the request's `override_settings` on top, so
nothing a request overrides can leak into another job. Meanings: `docs/options.md`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Defaults are A1111 1.10.1's."""

    # model
    CLIP_stop_at_last_layers: int = 1
    sdxl_clip_l_skip: bool = False
    sdxl_crop_top: float = 0.0
    sdxl_crop_left: float = 0.0
    sdxl_refiner_low_aesthetic_score: float = 2.5
    sdxl_refiner_high_aesthetic_score: float = 6.0
    sd_noise_schedule: str = "Default"
    enable_quantization: bool = False
    use_downcasted_alpha_bar: bool = False
    tiling: bool = False
    # prompt
    emphasis: str = "Original"
    comma_padding_backtrack: int = 20
    enable_prompt_comments: bool = True
    use_old_scheduling: bool = False
    pad_cond_uncond: bool = False
    pad_cond_uncond_v0: bool = False
    # noise and sampling
    randn_source: str = "GPU"
    eta_noise_seed_delta: int = 0
    eta_ddim: float = 0.0
    eta_ancestral: float = 1.0
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    beta_dist_alpha: float = 0.6
    beta_dist_beta: float = 0.6
    always_discard_next_to_last_sigma: bool = False
    sgm_noise_multiplier: bool = False
    use_old_karras_scheduler_sigmas: bool = False
    uni_pc_variant: str = "bh1"
    uni_pc_skip_type: str = "time_uniform"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early_cond: float = 0.0
    refiner_switch_by_sample_steps: bool = False
    # img2img and inpainting
    img2img_fix_steps: bool = False
    img2img_extra_noise: float = 0.0
    img2img_color_correction: bool = False
    img2img_background_color: str = "#ffffff"
    initial_noise_multiplier: float = 1.0
    inpainting_mask_weight: float = 1.0
    overlay_inpaint: bool = True
    return_mask: bool = False
    return_mask_composite: bool = False
    upscaler_for_img2img: str | None = None
    ESRGAN_tile: int = 192
    ESRGAN_tile_overlap: int = 8
    # hires fix
    use_old_hires_fix_width_height: bool = False
    hires_fix_use_firstpass_conds: bool = False
    hires_fix_refiner_pass: str = "second pass"  # where a refiner works: "first pass", "second pass", "both passes"
    # ControlNet
    control_net_unit_count: int = 3
    control_net_inpaint_blur_sigma: int = 7
    control_net_no_detectmap: bool = False
    control_net_detectmap_autosaving: bool = False
    controlnet_ignore_noninpaint_mask: bool = False
    # faces
    face_restoration: bool = False
    face_restoration_model: str = "CodeFormer"
    code_former_weight: float = 0.5
    # infotext
    add_model_hash_to_info: bool = True
    add_model_name_to_info: bool = True
    add_vae_name_to_info: bool = True
    add_vae_hash_to_info: bool = True
    add_version_to_infotext: bool = True
    enable_pnginfo: bool = True
    # saving
    samples_save: bool = True
    samples_format: str = "png"
    samples_filename_pattern: str = ""
    save_images_add_number: bool = True
    save_to_dirs: bool = True
    directories_filename_pattern: str = "[date]"
    directories_max_prompt_words: int = 8
    grid_save: bool = True
    grid_format: str = "png"
    grid_save_to_dirs: bool = True
    grid_only_if_multiple: bool = True
    return_grid: bool = True
    n_rows: int = -1
    jpeg_quality: int = 80
    webp_lossless: bool = False
    save_txt: bool = False
    # live preview
    live_previews_enable: bool = True
    show_progress_every_n_steps: int = 10
    show_progress_type: str = "Approx NN"
