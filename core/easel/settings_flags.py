"""The launch flags that people already know: A1111's 126, one line each, in the order `/sdapi/v1/cmd-flags` lists them.

Every line says what the flag does *here*: it works; its feature comes later (asking for it stops the start); or it has
no effect (asking for it is logged with the reason). `easel.settings` adds Easel's own flags and reads them all.
"""

# ruff: noqa: RUF009 -- works, later and no_effect return dataclasses.field

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["works", "later", "no effect"]


def works(default: object, text: str, *, choices: tuple[str, ...] = (), below: str = "") -> Any:
    """An option that works. `below`: the folder of the data folder that an unset path stands for."""
    return _option("works", default, text, choices=choices, below=below)


def later(default: object, text: str, *, below: str = "") -> Any:
    """An option whose feature is not there yet: any value but the default stops the start."""
    return _option("later", default, text, below=below)


def no_effect(default: object, text: str, *, below: str = "") -> Any:
    """An option that is accepted and changes nothing; `text` is the reason that is logged."""
    return _option("no effect", default, text, below=below)


def _option(status: Status, default: object, text: str, *, choices: tuple[str, ...] = (), below: str = "") -> Any:
    return field(default=default, metadata={"status": status, "help": text, "choices": choices, "below": below})


_SDPA = "attention always runs through PyTorch's scaled_dot_product_attention"
_BUDGET = "models are kept within a memory budget (--min-ram-reserved)"
_EDITOR = "the page has one editor"
_QUEUE = "the page always uses its queue"
_LAUNCHER = "webui.sh installs once and then leaves its environment alone"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LaunchFlags:
    """A1111 1.10.1's launch flags by the names of `/sdapi/v1/cmd-flags`; `no_half` is `--no-half` and so on."""

    f: bool = no_effect(False, "there is nothing to force: running as root is allowed")
    update_all_extensions: bool = no_effect(False, "nothing is downloaded at start")
    skip_python_version_check: bool = no_effect(
        False, "the version is checked by webui.sh before anything is installed"
    )
    skip_torch_cuda_test: bool = no_effect(False, "the device is looked for when the first worker starts")
    reinstall_xformers: bool = no_effect(False, _LAUNCHER)
    reinstall_torch: bool = no_effect(False, _LAUNCHER)
    update_check: bool = no_effect(False, "no server is asked for updates")
    test_server: bool = no_effect(False, "run ./run_tests.sh instead")
    log_startup: bool = no_effect(False, "the start takes about a second")
    skip_prepare_environment: bool = works(False, "webui.sh installs nothing")
    skip_install: bool = works(False, "webui.sh installs nothing")
    dump_sysinfo: bool = no_effect(False, "run `easel doctor` instead")
    loglevel: str = works("INFO", "log level", choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    do_not_download_clip: bool = no_effect(False, "nothing is ever downloaded")
    data_dir: Path = works(None, "where models, pictures and state live (default: data/ in the checkout, else ~/easel)")
    models_dir: Path | None = works(None, "models here instead of <data-dir>/models", below="models")
    config: str | None = no_effect(None, "the model's family is read from its weights")
    ckpt: Path | None = no_effect(None, "put the file into <data-dir>/models/Stable-diffusion or use --ckpt-dir")
    ckpt_dir: Path | None = works(None, "more checkpoints in this folder")
    vae_dir: Path | None = works(None, "VAE files in this folder")
    gfpgan_dir: Path | None = works(None, "weights that restore faces in this folder", below="models/GFPGAN")
    gfpgan_model: str | None = works(None, "file name of the GFPGAN weights (default: the last by name)")
    no_half: bool = works(False, "compute in float32")
    no_half_vae: bool = works(False, "compute the VAE in float32")
    no_progressbar_hiding: bool = no_effect(False, "the page's progress bar is never hidden")
    max_batch_count: int = no_effect(16, "a slider of the page; --max-batch bounds requests")
    embeddings_dir: Path | None = works(None, "textual-inversion embeddings in this folder", below="embeddings")
    textual_inversion_templates_dir: Path | None = no_effect(None, "models are not trained here")
    hypernetwork_dir: Path | None = works(None, "hypernetworks in this folder", below="models/hypernetworks")
    localizations_dir: Path | None = works(None, "more languages of the page: JSON files in this folder")
    allow_code: bool = later(False, "scripts written in the request")
    medvram: bool = no_effect(False, _BUDGET)
    medvram_sdxl: bool = no_effect(False, _BUDGET)
    lowvram: bool = no_effect(False, _BUDGET)
    lowram: bool = no_effect(False, _BUDGET)
    always_batch_cond_uncond: bool = no_effect(False, "rows are always batched unless --reproducible")
    unload_gfpgan: bool = no_effect(False, _BUDGET)
    precision: str = works("autocast", "number format of the models", choices=("full", "half", "autocast"))
    upcast_sampling: bool = no_effect(False, "samplers always compute in float32")
    share: bool = later(False, "a public address through a third party")
    ngrok: str | None = later(None, "a public address through ngrok")
    ngrok_region: str = no_effect("", "there is no ngrok tunnel")
    ngrok_options: str | None = no_effect(None, "there is no ngrok tunnel")
    enable_insecure_extension_access: bool = works(False, "install extensions from the page, from elsewhere too")
    codeformer_models_path: Path | None = works(None, "CodeFormer's weights in this folder", below="models/Codeformer")
    gfpgan_models_path: Path | None = works(None, "weights that restore faces in this folder", below="models/GFPGAN")
    esrgan_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/ESRGAN")
    bsrgan_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/BSRGAN")
    realesrgan_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/RealESRGAN")
    dat_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/DAT")
    clip_models_path: Path | None = no_effect(None, "pictures are not described here")
    xformers: bool = works(False, "xFormers' attention where it is installed")
    force_enable_xformers: bool = no_effect(False, "use --xformers")
    xformers_flash_attention: bool = no_effect(False, _SDPA)
    deepdanbooru: bool = later(False, "interrogation with DeepDanbooru")
    opt_split_attention: bool = no_effect(False, _SDPA)
    opt_sub_quad_attention: bool = no_effect(False, _SDPA)
    sub_quad_q_chunk_size: int = no_effect(1024, _SDPA)
    sub_quad_kv_chunk_size: int | None = no_effect(None, _SDPA)
    sub_quad_chunk_threshold: int | None = no_effect(None, _SDPA)
    opt_split_attention_invokeai: bool = no_effect(False, _SDPA)
    opt_split_attention_v1: bool = no_effect(False, _SDPA)
    opt_sdp_attention: bool = no_effect(False, _SDPA)
    opt_sdp_no_mem_attention: bool = no_effect(False, _SDPA)
    disable_opt_split_attention: bool = no_effect(False, _SDPA)
    disable_nan_check: bool = no_effect(False, "numbers that are not numbers are always reported")
    use_cpu: tuple[str, ...] = works((), "compute on the processor (`all`)")
    use_ipex: bool = later(False, "Intel XPUs")
    disable_model_loading_ram_optimization: bool = no_effect(False, "weights are mapped, not copied")
    listen: bool = works(False, "answer on every interface (0.0.0.0), not only on this machine")
    port: int | None = works(None, "port (default: 7860, or 7861 with --nowebui; 0: any free one)")
    show_negative_prompt: bool = no_effect(False, "the page always shows it")
    ui_config_file: Path | None = no_effect(None, "the page begins as the checkpoint wants it", below="ui-config.json")
    hide_ui_dir_config: bool = no_effect(False, "folders and file-name patterns are never within clients' reach")
    freeze_settings: bool = works(False, "POST /sdapi/v1/options is refused")
    freeze_settings_in_sections: str | None = later(None, "freezing whole sections of the options")
    freeze_specific_settings: str | None = works(None, "options, separated by commas, that POST may not change")
    ui_settings_file: Path | None = no_effect(None, "options are kept in <state-dir>/options.json", below="config.json")
    gradio_debug: bool = no_effect(False, "use --loglevel DEBUG")
    gradio_auth: str | None = works(None, "user:password[,user:password], the same as --api-auth")
    gradio_auth_path: Path | None = works(None, "the same from a file, separated by commas or lines")
    gradio_img2img_tool: str | None = no_effect(None, _EDITOR)
    gradio_inpaint_tool: str | None = no_effect(None, _EDITOR)
    gradio_allowed_path: tuple[str, ...] = no_effect((), "the page shows pictures of the data folder and no other")
    opt_channelslast: bool = no_effect(False, "memory layout is always channels-last")
    styles_file: tuple[str, ...] = works((), "CSV files of prompt styles (default: <data-dir>/styles.csv)")
    autolaunch: bool = works(False, "open the page in this machine's browser")
    theme: str | None = works(None, "of the page; unset: as the browser prefers", choices=("light", "dark"))
    use_textbox_seed: bool = no_effect(False, "the seed is typed in any case")
    disable_console_progressbars: bool = no_effect(False, "the server draws none")
    enable_console_prompts: bool = no_effect(False, "prompts are not logged")
    vae_path: Path | None = no_effect(None, "name the VAE in the option sd_vae")
    disable_safe_unpickle: bool = no_effect(False, "pickles are never read")
    api: bool = works(True, "the /sdapi/v1 routes (--no-api: off)")
    api_auth: str | None = works(None, "user:password[,user:password] for HTTP Basic on every route")
    api_log: bool = works(False, "one log line per API call: method, path, status, duration")
    nowebui: bool = works(False, "no page")
    ui_debug_mode: bool = no_effect(False, "models are loaded when first asked for")
    device_id: str | None = works(None, "number of the GPU to compute on")
    administrator: bool = no_effect(False, "there is nothing to unlock")
    cors_allow_origins: str | None = works(None, "origins, separated by commas, whose pages may call the API")
    cors_allow_origins_regex: str | None = works(None, "the same as a regular expression")
    tls_keyfile: Path | None = works(None, "private key: answer https (with --tls-certfile)")
    tls_certfile: Path | None = works(None, "certificate: answer https (with --tls-keyfile)")
    disable_tls_verify: bool | None = no_effect(None, "the page does not call its own API over the network")
    server_name: str | None = works(None, "address to answer on")
    gradio_queue: bool = no_effect(True, _QUEUE)
    no_gradio_queue: bool = no_effect(False, _QUEUE)
    skip_version_check: bool = no_effect(False, "versions are pinned at install")
    no_hashing: bool = works(False, "never read whole checkpoints for their sha256")
    no_download_sd_model: bool = no_effect(False, "nothing is ever downloaded; the starter model is built in")
    subpath: str | None = works(None, "everything below /SUBPATH (behind a reverse proxy)")
    add_stop_route: bool = later(False, "a route that stops the server")
    api_server_stop: bool = works(False, "routes that stop the server")
    timeout_keep_alive: int = works(30, "seconds an idle connection is kept open")
    disable_all_extensions: bool = works(False, "no extension runs (but a required one)")
    disable_extra_extensions: bool = works(False, "only Easel's own extensions run")
    skip_load_model_at_start: bool = no_effect(False, "models are loaded when first asked for")
    unix_filenames_sanitization: bool = no_effect(False, "file names are always cleaned for every system")
    filenames_max_length: int = no_effect(128, "file names are always kept short")
    no_prompt_history: bool = no_effect(False, "prompts are not kept")
    ldsr_models_path: Path | None = no_effect(None, "LDSR models are not read here", below="models/LDSR")
    lora_dir: Path | None = works(None, "LoRA files in this folder", below="models/Lora")
    lyco_dir_backcompat: Path | None = works(None, "more LoRA files in this folder", below="models/LyCORIS")
    scunet_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/ScuNET")
    swinir_models_path: Path | None = works(None, "upscaling networks in this folder", below="models/SwinIR")
