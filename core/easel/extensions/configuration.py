"""An extension's settings: from the environment, else as an operator stored them, else by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from easel.errors import BadRequest, UnknownName
from easel.extensions.extension import Extension

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class ExtensionSettings:
    """What an extension can be set to (`schema`, JSON Schema), what it is, and which names the environment fixes."""

    schema: Mapping[str, Any]
    values: Mapping[str, Any]
    fixed: tuple[str, ...]
    model: type[BaseModel] | None

    @classmethod
    def of(cls, extension: Extension, environment: Mapping[str, str]) -> ExtensionSettings:
        """Of an instance."""
        model = extension.settings_model
        fixed = tuple(from_environment(extension.name, environment))
        schema = model.model_json_schema() if model else {"type": "object", "properties": {}}
        values = extension.settings.model_dump(mode="json") if model else {}
        return cls(schema, values, fixed, model)

    def check(self, values: Mapping[str, Any]) -> None:
        """Refuse what cannot be stored. Errors: UnknownName, BadRequest naming the setting."""
        from pydantic import ValidationError

        names = list(self.schema.get("properties", ()))
        for key in values:
            if key not in names:
                raise UnknownName.among("settings", key, names)
            if key in self.fixed:
                raise BadRequest("is set by the environment of the service", field=f"settings.{key}", value=values[key])
        try:
            if self.model is not None:
                self.model.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in ("settings", *first["loc"]))
            raise BadRequest(first["msg"], field=field, value=first["input"]) from None


def read_settings(entry: type[Extension], name: str, environment: Mapping[str, str], stored: Mapping[str, Any]) -> Any:
    """The validated settings of an extension's class; None without a model. Errors: ValueError."""
    model = entry.settings_model
    if model is None:
        return None
    given = from_environment(name, environment)
    unknown = [key for key in given if key not in model.model_fields]
    if unknown:
        variable = f"{_prefix(name)}{unknown[0].upper()}"
        raise ValueError(f"{variable} is no setting; allowed: {', '.join(model.model_fields)}")
    return model.model_validate({**{key: stored[key] for key in stored if key in model.model_fields}, **given})


def from_environment(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment sets of an extension's settings."""
    prefix = _prefix(name)
    return {key.removeprefix(prefix).lower(): value for key, value in environment.items() if key.startswith(prefix)}


def _prefix(name: str) -> str:
    return f"EASEL_EXT_{name.replace('-', '_').upper()}__"
