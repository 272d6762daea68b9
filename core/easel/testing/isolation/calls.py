"""The calls that a stranger would make of a route: as it is, and with every name of somebody else's in every place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from easel.testing.isolation.routes import Route

_PARAMETER = re.compile(r"\{(\w+)\}")
_DEEPEST = 4  # levels of a body that are filled


@dataclass(frozen=True, slots=True)
class Asked:
    """One call. `sent` is all that the caller says, as one text."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def sent(self) -> str:
        """What the caller knows already."""
        return f"{self.path} {dict(self.query)} {json.dumps(self.body)}"


def calls_of(route: Route, names: Sequence[str], schemas: Mapping[str, Any]) -> Iterator[Asked]:
    """The calls of a route. A route without any place for a name is called once."""
    parameters = _PARAMETER.findall(route.path)
    asked = [one["name"] for one in route.operation.get("parameters", ()) if one["in"] == "query"]
    content = route.operation.get("requestBody", {}).get("content", {})
    schema = next((one.get("schema", {}) for one in content.values()), None)
    open_ended = route.method != "GET" and schema is None and not route.operation
    yield Asked(route.method, _PARAMETER.sub("1", route.path), {}, _filled(schema, "", schemas) if schema else None)
    for name in names if parameters or asked or schema or open_ended else ():
        body = _filled(schema, name, schemas) if schema is not None else None
        for other in ("1", "cancel", "interrupt") if len(parameters) > 1 else ("1",):
            values = iter((quote(name, safe="/"), *[other] * len(parameters)))
            path = _PARAMETER.sub(lambda found, left=values: next(left), route.path)  # type: ignore[misc]
            yield Asked(route.method, path, dict.fromkeys(asked, name), body)


def _filled(schema: Any, name: str, schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """A value of a schema with `name` wherever a text can be; "" leaves out what may be left out."""
    if not isinstance(schema, Mapping):
        return None
    if "$ref" in schema:
        return _filled(schemas.get(schema["$ref"].rpartition("/")[2], {}), name, schemas, depth)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            texts = [one for one in schema[several] if one.get("type") == "string" or "$ref" in one]
            return _filled((texts or schema[several])[0], name, schemas, depth)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    match schema.get("type"):
        case "string":
            return name or "x"
        case "integer" | "number":
            return schema.get("default", schema.get("minimum", 1))
        case "boolean":
            return schema.get("default", False)
        case "array":
            return [_filled(schema.get("items", {}), name, schemas, depth + 1)] if depth < _DEEPEST else []
    if depth >= _DEEPEST:
        return {}
    wanted, known = schema.get("required", ()), schema.get("properties", {})
    kept = {key: of for key, of in known.items() if key in wanted or (name and _takes_text(of))}
    return {key: _filled(of, name, schemas, depth + 1) for key, of in kept.items()}


def _takes_text(schema: Mapping[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", ())]
    return any(one.get("type") in ("string", "array") and "enum" not in one for one in kinds)


def deeper(names: Mapping[str, str]) -> Iterator[Asked]:
    """What a schema does not tell: the places inside a request of a picture that name somebody's things."""
    small = {"steps": 1, "width": 64, "height": 64}
    path, prompts = "/sdapi/v1/txt2img", {"lora": "<lora:{}:1>", "wildcard": "__{}__", "file": "{}"}
    for kind, text in prompts.items():
        yield Asked("POST", path, body={**small, "prompt": text.format(names.get(kind, ""))})
    for option, kind in {"sd_model_checkpoint": "checkpoint", "sd_vae": "vae"}.items():
        yield Asked("POST", path, body={**small, "override_settings": {option: names.get(kind, "")}})
        yield Asked("POST", "/sdapi/v1/options", body={option: names.get(kind, "")})
    yield Asked("POST", path, body={**small, "styles": [names.get("style", "")]})
    for kind in ("picture", "picture below", "file's path"):
        folder = names.get(kind, "").rpartition("/")[0]
        yield Asked("POST", path, body={**small, "alwayson_scripts": {"save_dir": folder}})
        yield Asked("POST", "/sdapi/v1/img2img", body={**small, "init_images": [names.get(kind, "")]})
