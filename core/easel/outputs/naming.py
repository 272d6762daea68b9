"""Where a picture is saved: A1111's folder and file name patterns, on names that a second run of a job repeats.

`[seed]`, `[prompt_words]`, `[datetime<%Y-%m>]` … stand for values of the picture; an unknown one stays as it is.
Times are the job's, not the clock's, so that running a job again replaces its pictures.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

from easel.values.image import Image
from easel.values.job import Job
from easel.values.request import GenerationRequest

_PATTERN = re.compile(r"(.*?)(?:\[([^\[\]]+)\]|$)", re.DOTALL)
_ARGUMENT = re.compile(r"(.*)<([^>]*)>$", re.DOTALL)
_FORBIDDEN = str.maketrans(dict.fromkeys('#<>:"/\\|?*\n\r\t\0', "_"))
_NO_WORD = re.compile(f"[\\s{re.escape(string.punctuation)}]+")
_SKIP = object()  # the value of a pattern that also removes the text before it
_MAX_PART = 128  # characters that a value may give to a name
_MAX_STEM = 200  # bytes of a name without suffix and extension; file systems hold 255


def picture_path(image: Image, job: Job) -> str:
    """`<kind>-images/<date>/<job id>-<number>-<seed>`, or as the options' patterns say; no extension, no comma.

    The kind of a task is its name.
    """
    options, task = job.request.options, job.request.task
    kind = _plain(task.task) if task else job.request.kind
    if image.kind == "grid":
        top, dated, name = f"{kind}-grids", options.grid_save_to_dirs, f"grid-{_plain(job.id)}"
    elif image.kind == "control":
        top, dated, name = "controlnet_mask", options.save_to_dirs, _numbered(image, job)
    else:
        top, dated, name = f"{kind}-images", options.save_to_dirs, _numbered(image, job)
    folders = apply_pattern(options.directories_filename_pattern, image, job).split("/") if dated else []
    parts = [top, *(_component(folder) for folder in folders), _component(name) + _plain(image.suffix)]
    return "/".join(part for part in parts if part)


def _numbered(image: Image, job: Job) -> str:
    """Job and number make a name unique; A1111's running number would differ between two runs."""
    options = job.request.options
    name = apply_pattern(options.samples_filename_pattern or "[seed]", image, job)
    number = f"{_plain(job.id)}-{image.index}"
    return f"{number}-{name}" if options.save_images_add_number or not _component(name) else name


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def _component(name: str) -> str:
    """One folder or file name: short enough, and free of what separates paths (or, the comma, lists of them)."""
    name = name.translate(_FORBIDDEN).replace(",", "_").encode()[:_MAX_STEM].decode(errors="ignore")
    return name.strip(" .")


def apply_pattern(pattern: str, image: Image, job: Job) -> str:
    """Put the picture's values into a pattern."""
    result = ""
    for text, name in _PATTERN.findall(pattern):
        value = _value(name, image, job) if name else ""
        if value is not _SKIP:
            result += text + (f"[{name}]" if value is None else str(value))
    return result


def _value(name: str, image: Image, job: Job) -> object:
    arguments: list[str] = []
    while match := _ARGUMENT.match(name):
        name, argument = match.groups()
        arguments.insert(0, argument)
    function = _VALUES.get(name.lower())
    return function(_Picture(image, job, tuple(arguments))) if function else None


@dataclass(frozen=True, slots=True)
class _Picture:
    """What a pattern's value is made from; `arguments` are those in `<…>`."""

    image: Image
    job: Job
    arguments: tuple[str, ...]

    @property
    def request(self) -> GenerationRequest:
        return self.job.request

    def argument(self, default: str, position: int = 0) -> str:
        """The argument at a position, the default where it is missing or empty."""
        return (self.arguments[position : position + 1] or ("",))[0] or default


def _part(text: str, *, spaces: bool = True) -> str:
    """A value as part of a name; without `spaces` they become underscores."""
    text = text if spaces else text.replace(" ", "_")
    return text.translate(_FORBIDDEN).lstrip(" ")[:_MAX_PART].rstrip(" .")


def _words(picture: _Picture) -> str:
    words = [word for word in _NO_WORD.split(picture.image.prompt) if word] or ["empty"]
    return _part(" ".join(words[: picture.request.options.directories_max_prompt_words]))


def _datetime(picture: _Picture) -> str | None:
    try:
        zone = ZoneInfo(picture.argument("", 1)) if len(picture.arguments) > 1 else None
        return _part(datetime.fromtimestamp(picture.job.created, zone).strftime(picture.argument("%Y%m%d%H%M%S")))
    except (KeyError, ValueError):  # no such zone, no such format: the text stays
        return None


def _digest(data: bytes, picture: _Picture, default: int | None) -> str | None:
    length = picture.argument("" if default is None else str(default))
    if length and not length.isdecimal():
        return None
    return hashlib.sha256(data).hexdigest()[: int(length) if length else None]


def _has_prompt(picture: _Picture) -> object:
    """`[hasprompt<a|b><c>]`: a if the prompt has it, else b; c if the prompt has it."""
    prompt = picture.image.prompt.lower()
    choices = [argument.partition("|") for argument in picture.arguments if argument]
    return _part("".join(name.lower() if name.lower() in prompt else other for name, _, other in choices))


def _model(picture: _Picture) -> tuple[str, str | None]:
    """(name, short hash) from a title like `folder/name.safetensors [0123456789]`."""
    match = re.fullmatch(r"(.*?)(?: \[([0-9a-f]+)\])?", picture.request.checkpoint, re.DOTALL)
    title, digest = match.groups() if match else (picture.request.checkpoint, None)
    return _part(PurePosixPath(title).stem), digest


def _sampler_scheduler(picture: _Picture) -> str:
    request = picture.request
    return _part(request.sampler if request.scheduler == "Automatic" else f"{request.sampler} {request.scheduler}")


_VALUES: Mapping[str, Callable[[_Picture], object]] = {
    "basename": lambda p: "img",
    "batch_number": lambda p: _SKIP if p.request.batch_size == 1 else p.image.index % p.request.batch_size + 1,
    "batch_size": lambda p: p.request.batch_size,
    "cfg": lambda p: p.request.cfg_scale,
    "clip_skip": lambda p: p.request.options.CLIP_stop_at_last_layers,
    "date": lambda p: datetime.fromtimestamp(p.job.created).strftime("%Y-%m-%d"),
    "datetime": _datetime,
    "denoising": lambda p: _SKIP if p.request.denoising_strength is None else p.request.denoising_strength,
    "full_prompt_hash": lambda p: _digest(f"{p.image.prompt} {p.image.negative_prompt}".encode(), p, 8),
    "generation_number": lambda p: _SKIP if p.request.image_count == 1 else p.image.index + 1,
    "hasprompt": _has_prompt,
    "height": lambda p: p.image.pixels.height,
    "image_hash": lambda p: _digest(p.image.pixels.tobytes(), p, None),
    "job_timestamp": lambda p: datetime.fromtimestamp(p.job.created).strftime("%Y%m%d%H%M%S"),
    "model_hash": lambda p: _model(p)[1],
    "model_name": lambda p: _model(p)[0],
    "negative_prompt_hash": lambda p: _digest(p.image.negative_prompt.encode(), p, 8),
    "none": lambda p: "",
    "prompt": lambda p: _part(p.image.prompt, spaces=False),
    "prompt_hash": lambda p: _digest(p.image.prompt.encode(), p, 8),
    "prompt_no_styles": lambda p: _part(p.request.prompt),
    "prompt_spaces": lambda p: _part(p.image.prompt),
    "prompt_words": _words,
    "sampler": lambda p: _part(p.request.sampler),
    "sampler_scheduler": _sampler_scheduler,
    "scheduler": lambda p: _part(p.request.scheduler),
    "seed": lambda p: p.image.seed,
    "seed_first": lambda p: _SKIP if p.request.image_count == 1 else p.request.seed,
    "steps": lambda p: p.request.steps,
    "styles": lambda p: _part(", ".join(p.request.styles) or "None"),
    "user": lambda p: _part(p.job.user),
    "vae_filename": lambda p: _part(PurePosixPath(p.request.vae).stem),
    "width": lambda p: p.image.pixels.width,
}
