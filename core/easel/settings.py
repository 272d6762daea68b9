"""Every launch option: flag, environment variable, default, meaning. Read once at start, frozen, passed on.

A field `data_dir` is the flag `--data-dir VALUE` (or `--data-dir=VALUE`) and the environment variable `EASEL_DATA_DIR`;
a true or false one is `--listen` and, where it is on by default, `--no-api`. The command line wins over
`COMMANDLINE_ARGS`, which wins over the environment, which wins over the defaults. This module imports in milliseconds.
"""

# ruff: noqa: RUF009 -- works, later and no_effect return dataclasses.field

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from easel.errors import SettingsError
from easel.settings_flags import LaunchFlags, no_effect, works

_CHECKOUT = Path(__file__).resolve().parents[2]
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
EDITIONS = ("standard", "api", "cluster", "serverless")


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(LaunchFlags):
    """All options of one server. Paths are absolute; `given` names the options that were set by somebody."""

    # where things are
    state_dir: Path = works(None, "database, options and secrets (default: <data-dir>/.easel)")
    mount_path: Path | None = works(None, "the data folder as clients name it (default: as it is)")
    read_only: tuple[str, ...] = works((), "storages, by their mount paths, in which clients change nothing")
    root_extensions: str | bool = works(False, "[DIR] everybody has the same extensions; DIR holds more of them")
    extensions_path: str = works("", "more folders of extensions, separated by colons")
    # who may ask
    edition: str = works("standard", "the kind of service", choices=EDITIONS)
    token: str | None = works(None, "clients send it as `Authorization: <token>`")
    no_auth: bool = works(False, "with --listen: answer anybody, without a token")
    # the queue of the api edition
    service_name: str = works("easel", "the service's name in /api/predict/NAME")
    queue_url: str = works("", "where streams are kept: redis://… (default: the state folder)")
    queue_silence: float = works(10.0, "with redis: seconds after which a gateway that is not heard of is gone")
    queue_max_payload: int = works(8192, "bytes that a task and its result may have")
    queue_max_length: int = works(10_000, "tasks, and results, that may wait")
    max_delivery: int = works(1, "how often a task, or a job whose worker died, is tried")
    worker_threads: int = works(1, "tasks that are worked on at once")
    # what is served
    filebrowser: bool = works(False, "the file manager, at /filebrowser/")
    enable_nsfw_censor: bool = works(False, "no unsafe picture leaves; without the censor nothing is made")
    always_hide_tabs: tuple[str, ...] = works((), "tabs that the page does not have, by title")
    time_log: bool = works(False, "one log line per picture request: where its time went")
    # ControlNet
    controlnet_dir: Path | None = works(None, "more ControlNets in this folder")
    controlnet_annotator_models_path: Path | None = works(None, "preprocessors' weights (default: models/Annotators)")
    controlnet_preprocessor_cache_size: int = works(16, "maps that are kept, to be used again")
    no_half_controlnet: bool = no_effect(False, "ControlNets compute as their checkpoint does (--no-half)")
    controlnet_loglevel: str = no_effect("", "use --loglevel")
    controlnet_tracemalloc: bool = no_effect(False, "use a memory profiler")
    # how it computes
    in_process: bool = works(False, "compute in this process instead of a worker process")
    max_jobs_in_flight: int = works(8, "jobs that the engine takes turns with")
    reproducible: bool = works(False, "a picture's bytes never depend on who else is being served")
    keep_abandoned: bool = works(False, "a job whose client hung up is finished and kept, not cancelled")
    job_deadline: float = works(3600.0, "seconds after which a job's worker is replaced")
    phase_deadline: float = works(1800.0, "seconds after which a worker is replaced when none of its jobs got further")
    worker_silence: float = works(60.0, "seconds after which a worker that is not heard of is replaced (0: never)")
    workers: int = works(1, "worker processes at most; each has an engine, and models in memory, of its own")
    billing: str = works(
        "edition",
        "what is charged: seconds of workers, or of generating (edition: of generating if serverless, or with --ray)",
        choices=("edition", "worker", "generation"),
    )
    min_workers: int | None = works(None, "those kept with nothing to do (default: all; serverless edition: 0)")
    worker_backlog: float = works(4.0, "unfinished jobs for each worker beyond which another one is started")
    idle_timeout: float = works(300.0, "seconds without a job after which a worker beyond --min-workers ends")
    ray: str = works("", "workers are replicas on this Ray cluster: local, auto (the one it is part of) or HOST:PORT")
    worker_cpus: float = works(1.0, "with --ray: processors that a worker is given")
    worker_gpus: float = works(0.0, "with --ray: the GPU, or the part of one (0.25), that a worker is given")
    worker_memory: float = works(0.0, "gigabytes of main memory at which a worker is replaced (0: no limit)")
    quarantine_failures: int = works(5, "failures of a hook in a row that set an extension aside (0: never)")
    quarantine_losses: int = works(3, "workers lost in an extension within an hour that set it aside (0: never)")
    extension_patience: float = works(60.0, "seconds that loading or starting an extension may take (0: any)")
    blade: bool = works(False, "compile the models (torch.compile); the first pictures take longer")
    sd_dynamic_cache: bool = works(False, "keep several checkpoints loaded, as many as memory holds")
    min_ram_reserved: float = works(4.0, "gigabytes of memory that loaded models must leave free")
    # what a request may ask for
    max_pixels: int = works(2048 * 2048, "pixels of a picture that is asked for")
    max_input_pixels: int = works(8192 * 8192, "pixels of a picture that is sent")
    max_steps: int = works(1000, "steps of a pass")
    max_batch: int = works(64, "pictures of a request (batch_size x n_iter)")
    max_script_pictures: int = works(1000, "pictures that a script makes of one request")
    max_body_mb: int = works(64, "size of a request body, and of what a URL in it names, in megabytes")
    rate_limit: int = works(0, "calls a minute that one caller may make, reading aside (0: any number)")
    fetch_allow: tuple[str, ...] = works(
        (), "hosts and networks off the public internet that URLs in requests may name"
    )
    offline: bool = works(False, "nothing is asked of the network: what tries fails at once")
    fetch_timeout: float = works(20.0, "seconds that fetching what a URL names may take")
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        data = self.data_dir or (_CHECKOUT / "data" if (_CHECKOUT / "webui.sh").is_file() else Path.home() / "easel")
        object.__setattr__(self, "data_dir", data)
        object.__setattr__(self, "state_dir", self.state_dir or data / ".easel")

    @property
    def models_path(self) -> Path:
        """The root of `Stable-diffusion/`, `VAE/`, `Lora/` …"""
        return self.models_dir or self.data_dir / "models"

    @property
    def data_name(self) -> Path:
        """The data folder as clients name it, in requests and in answers."""
        return self.mount_path or self.data_dir

    @property
    def host(self) -> str:
        """The address to answer on: this machine only, unless somebody said otherwise."""
        return self.server_name or ("0.0.0.0" if self.listen else "127.0.0.1")

    @property
    def page(self) -> bool:
        """Whether there is a web page: not in the api edition."""
        return not self.nowebui and self.edition != "api"

    @property
    def billed_by(self) -> Literal["worker", "generation"]:
        """What is charged: seconds of allocated workers, or of generating."""
        default = "generation" if self.edition == "serverless" or self.ray else "worker"
        by_generation = (default if self.billing == "edition" else self.billing) == "generation"
        return "generation" if by_generation else "worker"

    @property
    def fewest_workers(self) -> int:
        """Worker processes that are kept with nothing to do."""
        if self.min_workers is not None:
            return self.min_workers
        return 0 if self.edition == "serverless" else self.workers

    @property
    def warm_checkpoints(self) -> int:
        """Checkpoints that a worker is taken to have in memory at once."""
        return 8 if self.sd_dynamic_cache else 1

    @property
    def bind_port(self) -> int:
        """The port to answer on."""
        return self.port if self.port is not None else (7861 if self.nowebui else 7860)

    def shown(self, path: Path, name: str = "") -> str:
        """A path as clients may see it: from the data folder on, or outside of it `name` (else the last part) alone."""
        return str(path.relative_to(self.data_dir)) if path.is_relative_to(self.data_dir) else name or path.name

    def remarks(self) -> list[str]:
        """One line for each option that was asked for and changes nothing."""
        asked = (option for option in _options() if option.name in self.given)
        return [
            f"{_spelling(option.name)} has no effect: {option.metadata['help']}"
            for option in asked
            if option.metadata["status"] == "no effect"
        ]

    def cmd_flags(self) -> dict[str, object]:
        """The answer of `/sdapi/v1/cmd-flags`: A1111's 126 names; passwords are left out, paths as `shown`."""
        values: dict[str, object] = {}
        for option in fields(LaunchFlags):
            value = getattr(self, option.name)
            if value is None and option.metadata["below"]:
                value = self.data_dir / option.metadata["below"]
            if option.name in ("api_auth", "gradio_auth") and value is not None:
                value = "(set)"
            values[option.name] = self.shown(value) if isinstance(value, Path) else value
        values["ngrok_options"] = {}
        values["port"] = None if self.port is None else str(self.port)  # a text in A1111
        return values


def read_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read the options; `SettingsError` names a flag that is unknown, wrong, contradictory or not available yet."""
    values: dict[str, object] = {}
    for option in _options():
        text = environ.get(f"EASEL_{option.name.upper()}")
        if text is not None:
            values[option.name] = _from_environment(option, text)
    values.update(parse_flags(_split(environ.get("COMMANDLINE_ARGS", ""))))
    values.update(parse_flags(arguments))
    settings = Settings(**values, given=frozenset(values))  # type: ignore[arg-type]
    _refuse_later(settings)
    _refuse_contradictions(settings)
    return settings


def flags_help() -> str:
    """The text of `easel serve --help`: every flag, what it does, and whether it works."""
    lines = ["Every flag can also be set as EASEL_NAME in the environment, or in COMMANDLINE_ARGS.", ""]
    for status, title in (("works", "Flags"), ("later", "Not available yet"), ("no effect", "Accepted, no effect")):
        lines.append(f"{title}:")
        for option in _options():
            if option.metadata["status"] == status:
                choices = option.metadata["choices"]
                shown = "" if option.default in (None, False, (), "") else f" [{option.default}]"
                hint = f" ({', '.join(choices)})" if choices else ""
                lines.append(f"  {_usage(option):<34} {option.metadata['help']}{hint}{shown}")
        lines.append("")
    return "\n".join(lines)


def _options() -> Iterator[Field[object]]:
    return (option for option in fields(Settings) if option.name != "given")


def _spelling(name: str) -> str:
    return "-f" if name == "f" else "--" + name.replace("_", "-")


def _usage(option: Field[object]) -> str:
    flag = _spelling(option.name)
    if option.type == "bool":
        return flag if option.default is not True else f"{flag}, {_spelling('no_' + option.name)}"
    return flag if option.name == "root_extensions" else f"{flag} {option.name.split('_')[-1].upper()}"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"COMMANDLINE_ARGS cannot be read: {error}") from error


def parse_flags(words: Sequence[str]) -> dict[str, object]:
    """Read flags: `--name value`, `--name=value`, `--switch`, `--no-switch`. Errors: SettingsError."""
    options = {_spelling(option.name): option for option in _options()}
    negated = {"--no-" + option.name.replace("_", "-"): option for option in _options() if option.type == "bool"}
    values: dict[str, object] = {}
    rest = list(words)
    while rest:
        flag, _, inline = (word := rest.pop(0)).partition("=")
        flag = flag.replace("_", "-")
        following = [inline] if "=" in word else _take_values(rest)
        if (option := options.get(flag)) is not None:
            value, left = _value(option, flag, following)
            if isinstance(value, tuple):
                value = (*values.get(option.name, ()), *value)  # type: ignore[misc]
            values[option.name] = value
        elif (option := negated.get(flag)) is not None:
            values[option.name], left = False, following
        else:
            near = get_close_matches(flag, [*options, *negated], n=1, cutoff=0.5)
            raise SettingsError(f"unknown flag {word!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if left:
            raise SettingsError(f"unexpected {left[0]!r} after {flag}: flags begin with --")
    return values


def _take_values(rest: list[str]) -> list[str]:
    taken = []
    while rest and (not rest[0].startswith("-") or re.fullmatch(r"-\d+(\.\d+)?", rest[0])):
        taken.append(rest.pop(0))
    return taken


def _value(option: Field[object], flag: str, words: list[str]) -> tuple[object, list[str]]:
    """The value of a flag and the words it did not use."""
    if str(option.type).startswith("bool"):
        return (_switch(flag, words[0]), words[1:]) if words else (True, [])
    if option.name == "root_extensions":
        return (words[0], words[1:]) if words and words[0] else (True, [])
    if not words:
        raise SettingsError(f"{flag} needs a value: {option.metadata['help']}")
    if str(option.type).startswith("tuple"):
        return tuple(words), []
    return _convert(option, flag, words[0]), words[1:]


def _from_environment(option: Field[object], text: str) -> object:
    name = f"EASEL_{option.name.upper()}"
    if str(option.type).startswith("tuple"):
        return tuple(_split(text))
    if option.name == "root_extensions":
        return True if text.lower() in _ON else False if text.lower() in _OFF else text
    return _switch(name, text) if str(option.type).startswith("bool") else _convert(option, name, text)


def _switch(flag: str, text: str) -> bool:
    if text.lower() in _ON:
        return True
    if text.lower() in _OFF:
        return False
    raise SettingsError(f"{flag}: {text!r} is neither true nor false")


def _convert(option: Field[object], flag: str, text: str) -> object:
    kind = str(option.type).removesuffix(" | None")
    readers: dict[str, tuple[Callable[[str], object], str]] = {
        "int": (int, "a whole number"),
        "float": (float, "a number"),
        "Path": (lambda path: Path(path).expanduser().absolute(), "a path"),
    }
    read, wanted = readers.get(kind, (str, "a text"))
    try:
        value = read(text)
    except ValueError as error:
        raise SettingsError(f"{flag}: {text!r} is not {wanted}") from error
    choices = option.metadata["choices"]
    if choices and value not in choices:
        raise SettingsError(f"{flag}: {text!r} is not one of {', '.join(choices)}")
    return value


def _refuse_later(settings: Settings) -> None:
    for option in _options():
        if option.metadata["status"] == "later" and getattr(settings, option.name) != option.default:
            raise SettingsError(f"{_spelling(option.name)} is not available yet ({option.metadata['help']})")


def _refuse_contradictions(settings: Settings) -> None:
    contradictions = [
        (settings.nowebui and not settings.api, "--nowebui and --no-api leave nothing to serve"),
        (settings.no_auth and bool(settings.token), "--no-auth contradicts --token"),
        (settings.no_auth and bool(settings.api_auth), "--no-auth contradicts --api-auth"),
        (settings.no_auth and bool(settings.gradio_auth), "--no-auth contradicts --gradio-auth"),
        (settings.no_auth and bool(settings.gradio_auth_path), "--no-auth contradicts --gradio-auth-path"),
        (settings.nowebui and settings.autolaunch, "--nowebui leaves --autolaunch nothing to open"),
        (settings.no_half and settings.precision == "half", "--no-half contradicts --precision half"),
        (bool(settings.tls_keyfile) != bool(settings.tls_certfile), "--tls-keyfile and --tls-certfile go together"),
        (settings.token == "", "--token must not be empty"),
        (settings.edition == "api" and not settings.api, "--edition api contradicts --no-api"),
        *(
            (
                settings.edition == "cluster" and bool(getattr(settings, name)),
                f"{_spelling(name)} contradicts --edition cluster, whose users have their own tokens (easel users)",
            )
            for name in ("token", "no_auth", "api_auth", "gradio_auth", "gradio_auth_path")
        ),
        (settings.in_process and settings.edition == "serverless", "--in-process contradicts --edition serverless"),
        (
            settings.in_process and settings.workers > 1,
            "--in-process contradicts --workers: there is no worker process",
        ),
        (
            any(settings.data_name.is_relative_to(Path(one).absolute()) for one in settings.read_only),
            f"--read-only: pictures are written to {settings.data_name}",
        ),
        (
            settings.billing == "worker" and bool(settings.ray),
            "--billing worker contradicts --ray: a cluster's workers are not metered",
        ),
        (settings.in_process and bool(settings.ray), "--in-process contradicts --ray"),
        (
            settings.fewest_workers > settings.workers,
            f"--min-workers {settings.min_workers} is above --workers {settings.workers}",
        ),
        (
            not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", settings.service_name),
            f"--service-name: {settings.service_name!r} is not a name (letters, digits, '.', '_' and '-')",
        ),
    ]
    for wrong, text in contradictions:
        if wrong:
            raise SettingsError(text)
    for name in ("api_auth", "gradio_auth"):
        given = getattr(settings, name)
        for pair in given.split(",") if given is not None else ():
            if not all(part.strip() for part in pair.split(":")) or ":" not in pair:
                raise SettingsError(f"{_spelling(name)}: expected user:password[,user:password]")
    if not 0 <= settings.bind_port <= 65535:
        raise SettingsError(f"--port: {settings.bind_port} is not a port (0 to 65535)")
    limits = (
        "fetch_timeout",
        "max_jobs_in_flight",
        "job_deadline",
        "max_pixels",
        "max_input_pixels",
        "max_steps",
        "max_batch",
        "max_script_pictures",
        "queue_silence",
        "queue_max_payload",
        "queue_max_length",
        "max_delivery",
        "worker_threads",
        "workers",
        "worker_backlog",
        "phase_deadline",
    )
    for name in (*limits, "max_body_mb"):
        if not getattr(settings, name) > 0:
            raise SettingsError(f"{_spelling(name)}: {getattr(settings, name)} is not above 0")
    at_least = (
        "min_ram_reserved",
        "rate_limit",
        "extension_patience",
        "worker_silence",
        "idle_timeout",
        "worker_cpus",
        "worker_gpus",
    )
    for name in (*at_least, "fewest_workers"):
        if not getattr(settings, name) >= 0:
            raise SettingsError(f"{_spelling(name)}: {getattr(settings, name)} is below 0")
    try:
        re.compile(settings.cors_allow_origins_regex or "")
    except re.error as error:
        raise SettingsError(f"--cors-allow-origins-regex: {error}") from error
