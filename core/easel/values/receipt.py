"""The receipt of a picture: everything it depends on, so that it can be made again, or told why not.

It names weights, code and pictures by their hashes; no path of this machine, no token and no picture is in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from easel.values.options import Options
from easel.values.request import EncodedPicture, GenerationRequest, Output
from easel.values.wire import decode

CHUNK: Final = "easel-receipt"  # the name of a PNG's text
# Options that change names, files and what is told, and no pixel.
_UNSEEN = (
    "samples_", "save_", "directories_", "grid_save", "grid_format", "live_previews", "show_progress", "add_",
    "enable_pnginfo", "jpeg_", "webp_", "control_net_detectmap",
)  # fmt: skip
_PICTURES = ("data:image/", "iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")  # how PNG, JPEG, WebP and GIF begin in base64
_LONGEST_WORD = 4096  # characters; what is longer is no name
_NOISE = (
    "randn_source",
    "eta_noise_seed_delta",
    "sd_noise_schedule",
    "use_downcasted_alpha_bar",
    "sgm_noise_multiplier",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedWeights:
    """A file (or folder) of weights that computed; `sha256` is "" with hashing off, or not known in time."""

    kind: str  # checkpoint, vae, lora, embedding, controlnet, hypernetwork, or "model of <extension>"
    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedCode:
    """An extension that was on: `sha256` is of its folder's files, `settings` (`veiled`) those unlike the defaults."""

    name: str
    version: str
    sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the pictures of one job depend on. `request` leaves out what has its default."""

    format: int = 1
    easel: str
    weights: tuple[UsedWeights, ...] = ()
    extensions: tuple[UsedCode, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)  # device, number types, threads, how it computes
    noise: Mapping[str, Any] = field(default_factory=dict)  # where noise comes from
    request: Mapping[str, Any] = field(default_factory=dict)
    cut_short: bool = False  # interrupted or skipped: how far it got is not told

    def text(self, kind: str, number: int) -> str:
        """For the file of the `number`th picture of a kind ("result", "grid" …): compact JSON."""
        return json.dumps(plain(self) | {"picture": [kind, number]}, ensure_ascii=True, separators=(",", ":"))


def read_receipt(text: str) -> tuple[Receipt, str, int]:
    """The receipt in a file's text, and which of the job's pictures it is. Errors: ValueError, with no detail."""
    told = json.loads(text)
    if not isinstance(told, dict) or told.get("format") != 1:
        raise ValueError("it is none, or of a later version")
    kind, number = told.pop("picture")
    return decode(Receipt, json.dumps(told).encode()), str(kind), int(number)


def noise_rules(options: Options) -> dict[str, Any]:
    """The options that decide which noise a seed means."""
    return {name: getattr(options, name) for name in _NOISE}


def plain_request(request: GenerationRequest) -> dict[str, Any]:
    """A request without pictures and without what concerns this service alone; as JSON, defaults left out."""
    seen = {one.name: getattr(request.options, one.name) for one in fields(Options) if not one.name.startswith(_UNSEEN)}
    request = replace(
        request,
        options=Options(**seen),
        typed=request.typed if request.script else None,  # only scripts look at it
        overridden=(),
        output=Output(),
        uid="",
        extensions=None,
    )
    made = plain(request)
    assert isinstance(made, dict)
    return made


def plain(value: Any) -> Any:
    """As JSON: values without their defaults, pictures, paths and addresses as their hashes."""
    if isinstance(value, EncodedPicture):
        return {"sha256": digest(value)}
    if is_dataclass(value):
        pairs = ((one.name, getattr(value, one.name), one) for one in fields(value))
        return {name: plain(found) for name, found, one in pairs if not _is_default(one, found)}
    if isinstance(value, Mapping):
        return {str(key): plain(found) for key, found in value.items()}
    if isinstance(value, tuple | list):
        return [plain(found) for found in value]
    if isinstance(value, str) and _hidden(value):
        return {"sha256": digest(value)}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def veiled(value: Any) -> Any:
    """A setting without its texts, which may be keys or paths: their hashes tell whether they are the same."""
    if isinstance(value, Mapping):
        return {str(key): veiled(found) for key, found in value.items()}
    if isinstance(value, list):
        return [veiled(found) for found in value]
    return f"sha256 {hashlib.sha256(value.encode()).hexdigest()}" if isinstance(value, str) else value


def filled(value: Any, pictures: Mapping[str, bytes]) -> Any:
    """`plain` undone: hashes of these pictures become them again; `missing` names those that are not among them."""
    if isinstance(value, dict):
        if set(value) == {"sha256"} and (data := pictures.get(value["sha256"])) is not None:
            return base64.b64encode(data).decode("ascii")
        return {key: filled(found, pictures) for key, found in value.items()}
    return [filled(found, pictures) for found in value] if isinstance(value, list) else value


def as_request(told: Mapping[str, Any], pictures: Mapping[str, bytes]) -> GenerationRequest:
    """The request of a receipt, with the pictures it names. Errors: ValueError (pydantic's)."""
    made = filled(dict(told), pictures)
    if init := made.get("init"):
        init["pictures"] = [{"data": data} for data in init["pictures"]]
        for home, name in ((init, "colors"), (init.get("inpaint"), "mask"), (init.get("inpaint"), "latent_mask")):
            if home and home.get(name):
                home[name] = {"data": home[name]}
    return decode(GenerationRequest, json.dumps(made).encode())


def inputs(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """What a plain request names by hash only: where it stands, and the hash."""
    if isinstance(value, Mapping):
        if set(value) == {"sha256"}:
            yield where, str(value["sha256"])
            return
        for key, found in value.items():
            yield from inputs(found, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, found in enumerate(value):
            yield from inputs(found, f"{where}[{number}]")


def digest(picture: EncodedPicture | str) -> str:
    """The sha256 of a picture's file; of a text, of the file that it holds in base64, else of itself."""
    if isinstance(picture, EncodedPicture):
        return hashlib.sha256(picture.data).hexdigest()
    text = picture.partition(",")[2] if picture.startswith("data:") else picture
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = picture.encode()
    return hashlib.sha256(data).hexdigest()


def _hidden(text: str) -> bool:
    """Pictures, addresses (with tokens in them) and paths."""
    word = not any(map(str.isspace, text[:_LONGEST_WORD]))
    if not word:
        return False
    path = text.startswith(("/", "~/")) and "/" in text[1:]
    return path or text.startswith(_PICTURES) or "://" in text or len(text) > _LONGEST_WORD


def _is_default(one: Any, value: Any) -> bool:
    if one.name in ("seed", "format"):
        return False
    if callable(one.default_factory):
        return bool(value == one.default_factory())
    return bool(value == one.default)
