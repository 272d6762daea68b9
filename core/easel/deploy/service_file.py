"""The shape of `service.json`: what may stand in it, and everything that is wrong with the shape of one, at once.

The keys are those of PAI-EAS. What is accepted and changes nothing here says so with `NoEffect`; a key that is not
listed is refused with its path. A file whose shape is wrong is read without its wrong parts, so that contradictions
(`easel.deploy.plan`) can be told in the same breath.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from easel.errors import BadRequest

NAME = r"^[a-z0-9][a-z0-9_-]{2,62}$"
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w -]*>")
_LARGEST = 1 << 20  # bytes of a file


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell about a place in the file: `path` as in `storage[0].mount_path`."""

    path: str
    text: str
    got: object = None
    allowed: str = ""

    def __str__(self) -> str:
        more = [f"got {json.dumps(self.got, ensure_ascii=False)[:120]}"] if self.got is not None else []
        more += [f"allowed: {self.allowed}"] if self.allowed else []
        return f"{self.path}: {self.text}" + (f" ({'; '.join(more)})" if more else "")


@dataclass(frozen=True, slots=True)
class NoEffect:
    """Marks a key that is accepted and changes nothing here; `why` is told to whoever sets it."""

    why: str


_MACHINE = NoEffect("has no effect: the service runs on this machine as it is")
_CLOUD = NoEffect("has no effect: there is no cloud network here")
_EAS = NoEffect("has no effect outside of PAI-EAS")
Machine = Annotated[Any, _MACHINE]
Cloud = Annotated[Any, _CLOUD]
OfEas = Annotated[Any, _EAS]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rpc(_Part):
    """`metadata.rpc`, also written flat: `"rpc.worker_threads": 1`."""

    worker_threads: int | None = Field(default=None, ge=1)
    keepalive: OfEas = None
    batching: OfEas = None
    io_threads: OfEas = None
    max_batch_size: OfEas = None
    max_batch_timeout: OfEas = None
    max_queue_size: OfEas = None


class Metadata(_Part):
    """What the service is."""

    name: str | None = Field(default=None, pattern=NAME)
    instance: int | None = Field(default=None, ge=1)
    enable_webservice: bool | None = None
    type: Literal["Async"] | None = None
    edition: Literal["standard", "api", "cluster", "serverless"] | None = None
    rpc: Rpc | None = None
    cpu: Machine = None
    gpu: Machine = None
    memory: Machine = None
    disk: Machine = None
    shm_size: Machine = None
    rdma: Machine = None
    resource: Machine = None
    workspace_id: OfEas = None
    enable_grpc: OfEas = None
    rolling_strategy: OfEas = None
    eas: OfEas = None
    region: OfEas = None


class Container(_Part):
    """What is started: the image's tag says which edition, the script has the flags."""

    image: str | None = None
    script: str | None = None
    command: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)


class Computing(_Part):
    """The machine that a cloud would start."""

    instance_type: Machine = None
    instances: Machine = None


class CloudNetwork(_Part):
    """The network that a cloud would connect."""

    vpc_id: Cloud = None
    vswitch_id: Cloud = None
    security_group_id: Cloud = None


class CloudPart(_Part):
    """What only a cloud has."""

    computing: Computing | None = None
    networking: CloudNetwork | None = None


class Queue(_Part):
    """The queue of an asynchronous service."""

    max_delivery: int | None = Field(default=None, ge=1)
    memory: int | None = Field(default=None, ge=1)  # megabytes
    cpu: Machine = None
    resource: Machine = None


class LocalStorage(_Part):
    """A folder of this machine."""

    path: str = Field(pattern="^/")
    readOnly: bool | None = None


class NfsStorage(_Part):
    """An NFS export, mounted by the operator."""

    path: str = Field(pattern="^/")
    server: str | None = None
    readOnly: bool | None = None


class OssStorage(_Part):
    """A bucket: with an `endpoint` it is read and written, without one the operator has mounted it."""

    path: str = Field(pattern="^oss://[^/]+")
    readOnly: bool | None = None
    endpoint: str | None = Field(default=None, min_length=1)


class Storage(_Part):
    """One storage and where the script finds it."""

    mount_path: str = Field(pattern="^/")
    local: LocalStorage | None = None
    nfs: NfsStorage | None = None
    oss: OssStorage | None = None
    properties: dict[str, Any] | None = None

    @property
    def kind(self) -> str:
        """`local`, `nfs`, `oss`; all of them joined by `+` where there are several; empty where there is none."""
        return "+".join(kind for kind in ("local", "nfs", "oss") if getattr(self, kind) is not None)


class ScaleStrategy(_Part):
    """When to grow."""

    metricName: str
    threshold: float = Field(gt=0)
    service: str | None = None


class Window(_Part):
    """How long a figure is looked at before it counts."""

    stabilizationWindowSeconds: int | None = Field(default=None, ge=0)


class Behavior(_Part):
    """How quickly the number of workers follows."""

    scaleUp: Annotated[Any, NoEffect("has no effect: a worker is started as soon as it is wanted")] = None
    scaleDown: Window | None = None
    onZero: OfEas = None


class Autoscaler(_Part):
    """How many workers there may be. `strategies` is how `eascmd autoscale` spells the other list."""

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=1)
    scaleStrategies: list[ScaleStrategy | None] | None = None
    strategies: dict[str, float] | None = None
    behavior: Behavior | None = None


class ServiceFile(_Part):
    """A whole `service.json`."""

    metadata: Metadata = Metadata()
    containers: list[Container | None] | None = None
    cloud: CloudPart | None = None
    queue: Queue | None = None
    storage: list[Storage | None] | None = None
    autoscaler: Autoscaler | None = None
    networking: OfEas = None
    dockerAuth: OfEas = None
    runtime: OfEas = None
    features: OfEas = None
    labels: OfEas = None


def read_file(file: Path) -> object:
    """What stands in a JSON file. Errors: BadRequest naming line and column."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise BadRequest(f"{file} is larger than {_LARGEST >> 20} MB")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadRequest(f"{file}, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{file} is not JSON") from error


def read_service(raw: object) -> tuple[ServiceFile, list[Note]]:
    """The file as far as its shape is right, and everything that is wrong with its shape."""
    if not isinstance(raw, dict):
        return ServiceFile(), [Note("service.json", "must be a JSON object", raw)]
    data: dict[str, Any] = copy.deepcopy(raw)
    problems = [*_placeholders(data), *_nest(data)]
    while True:
        try:
            return ServiceFile.model_validate(data), problems
        except ValidationError as error:
            told = error.errors(include_url=False)
        problems += [_note(one) for one in told]
        # Where something is missing, the part that misses it goes; inner parts go before those that hold them.
        for loc in sorted({one["loc"][: -(one["type"] == "missing") or None] for one in told}, key=len, reverse=True):
            _prune(data, loc)


def without_effect(part: BaseModel, path: str = "") -> Iterator[Note]:
    """What the file sets although it changes nothing here; `null` sets nothing."""
    for name, field in type(part).model_fields.items():
        value, here = getattr(part, name), f"{path}.{name}".removeprefix(".")
        why = next((mark.why for mark in field.metadata if isinstance(mark, NoEffect)), None)
        if why and value not in (None, ""):
            yield Note(here, why, value)
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(one, BaseModel):
                yield from without_effect(one, f"{here}[{number}]" if isinstance(value, list) else here)


def _nest(data: dict[str, Any]) -> Iterator[Note]:
    """Write `"rpc.worker_threads": 1` as `"rpc": {"worker_threads": 1}`."""
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("rpc") or {}, dict):
        return
    for key in [key for key in metadata if key.startswith("rpc.")]:
        nested = metadata["rpc"] = dict(metadata.get("rpc") or {})
        name, value = key.removeprefix("rpc."), metadata.pop(key)
        if nested.setdefault(name, value) != value:
            yield Note(f"metadata.{key}", f"contradicts metadata.rpc: {{{name}: {json.dumps(nested[name])}}}", value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequest("stands there twice in one object", field=key, value=value)
        found[key] = value
    return found


def _placeholders(value: object, path: str = "") -> Iterator[Note]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _placeholders(one, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _placeholders(one, f"{path}[{number}]")
    elif isinstance(value, str) and (found := _PLACEHOLDER.search(value)):
        yield Note(path, f"the placeholder {found[0]} is still there; put the real value in its place", value)


def _note(error: Any) -> Note:
    """What pydantic found, in our words."""
    loc, path = error["loc"], _spelled(error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys_at(loc[:-1])
        near = get_close_matches(str(loc[-1]), known, n=1, cutoff=0.6)
        return Note(
            path, "unknown key" + (f"; did you mean {near[0]}?" if near else ""), error["input"], ", ".join(known)
        )
    if error["type"] == "model_type":
        return Note(path, "must be an object", error["input"])
    if error["type"] == "missing":
        return Note(path, "is missing")
    if error["type"] == "string_pattern_mismatch":
        allowed = {
            NAME: "3 to 63 of a-z, 0-9, '_' and '-', a letter or digit first",
            "^/": "an absolute path",
            "^oss://[^/]+": "oss://BUCKET/FOLDER",
        }
        return Note(path, "is not valid", error["input"], allowed[error["ctx"]["pattern"]])
    if error["type"] == "literal_error":
        return Note(path, "unknown value", error["input"], error["ctx"]["expected"])
    return Note(path, error["msg"][0].lower() + error["msg"][1:], error["input"])


def _spelled(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    part: type[BaseModel] = ServiceFile
    for key in loc:
        if isinstance(key, str):
            part = _model(part.model_fields[key].annotation) or part
    return list(part.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model(one))), None)


def _prune(data: Any, loc: tuple[int | str, ...]) -> None:
    """Take out what is wrong; a list keeps its places, so that paths told later are right."""
    *way, last = loc
    for key in way:
        data = data[key]
    if isinstance(data, list):
        data[int(last)] = None
    else:
        del data[last]
