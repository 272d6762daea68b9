"""Scripts: an extension's named, typed piece of a request, declared by one pydantic model.

Positional `script_args` follow the order of the model's fields; missing ones get the model's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from easel.errors import BadRequest, ExtensionError, UnknownName

if TYPE_CHECKING:
    from pydantic import BaseModel

    from easel.values.request import GenerationRequest, ScriptCall

TabName = Literal["txt2img", "img2img"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script of an extension.

    `title` is what requests name (any case). A selectable script is chosen by `script_name`; an `always_on` one takes
    its arguments from `alwayson_scripts` and runs with its defaults when not mentioned. A `variadic` one takes any
    number of equal arguments: its model's only field is the list of them.

    For the page's form: `choices(tab)` gives what there is to choose from at the time, by argument. `preview` names a
    task of the same extension that takes the same arguments (of a variadic script, one entry) and answers pictures.
    """

    title: str
    arguments: type[BaseModel]
    always_on: bool = False
    tabs: tuple[TabName, ...] = ("txt2img", "img2img")
    variadic: bool = False
    choices: Callable[[TabName], Mapping[str, Sequence[str]]] | None = None
    preview: str = ""

    @property
    def entry(self) -> type[BaseModel]:
        """The model of what people fill in: the arguments, or of a variadic script one entry of its list."""
        if not self.variadic:
            return self.arguments
        (listed,) = self.arguments.model_fields.values()
        found: type[BaseModel] = _model_in(listed.annotation)
        return found

    def __post_init__(self) -> None:
        """Refuse what is no title or no pydantic model, while the author's own code is running."""
        if not isinstance(self.title, str) or not self.title.strip():
            raise TypeError(f"a script's title is a text, not {self.title!r}")
        if not hasattr(self.arguments, "model_validate"):
            raise TypeError(f"a script's arguments are a pydantic model, not {self.arguments!r}")

    def parse(self, arguments: Sequence[Any] | Mapping[str, Any], where: str) -> BaseModel:
        """The typed arguments; `where` is the request's field for messages. Errors: BadRequest."""
        from pydantic import ValidationError

        names = list(self.arguments.model_fields)
        if self.variadic and (not isinstance(arguments, Mapping) or names[0] not in arguments):
            # one argument need not be in a list
            named = {names[0]: [arguments] if isinstance(arguments, Mapping) else list(arguments)}
        elif isinstance(arguments, Mapping):
            unknown = [name for name in arguments if name not in names]
            if unknown:
                raise UnknownName.among(f"{where} of {self.title!r}", str(unknown[0]), names)
            named = dict(arguments)
        else:
            if len(arguments) > len(names):
                raise BadRequest(
                    f"script {self.title!r} takes {len(names)} arguments",
                    field=f"{where}[{len(names)}]",
                    value=arguments[len(names)],
                    allowed=f"at most {len(names)}: {', '.join(names)}",
                )
            named = dict(zip(names, arguments, strict=False))
        try:
            return self.arguments.model_validate(named)
        except ValidationError as error:
            raise self._bad_argument(error, names, where) from None

    def _bad_argument(self, error: Any, names: list[str], where: str) -> BadRequest:
        first = error.errors(include_url=False)[0]
        name, *inner = map(str, first["loc"] or [""])
        position = f"{where}[{names.index(name)}]" if name in names else where
        if self.variadic and inner:
            position, name = f"{where}[{inner[0]}]", " of ".join(inner[:0:-1]) or f"{self.title} {inner[0]}"
        position += "".join(f".{part}" for part in inner[1 if self.variadic else 0 :])
        schema = self.arguments.model_json_schema().get("properties", {}).get(name, {})
        allowed = "; ".join(f"{key} {schema[key]}" for key in ("type", "enum", "minimum", "maximum") if key in schema)
        return BadRequest(
            f"argument {name!r} of script {self.title!r}: {first['msg']}",
            field=position,
            value=first["input"],
            allowed=allowed,
        )


def _model_in(annotation: Any) -> Any:
    """The pydantic model in `list[Model | None]`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


@dataclass(frozen=True, slots=True)
class OwnedScript:
    """A script and the extension it belongs to ("" for the core)."""

    extension: str
    script: Script


@dataclass(frozen=True, slots=True)
class Scripts:
    """All scripts of one set of hooks. Errors: ExtensionError for a title that two have."""

    owned: tuple[OwnedScript, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two scripts of one title."""
        owners: dict[str, str] = {}
        for one in self.owned:
            title = one.script.title.casefold()
            if title in owners:
                reason = f"the script {one.script.title!r} belongs to {owners[title] or 'the core'!r} already"
                raise ExtensionError(one.extension, "register_scripts", reason)
            owners[title] = one.extension

    def bind(self, request: GenerationRequest) -> dict[type[Any], BaseModel]:
        """The typed arguments of every script that takes part in a request, by argument model: `job.scripts`.

        Errors: UnknownName for a script that does not exist here, BadRequest for its arguments.
        """
        bound = {
            owned.script.arguments: owned.script.arguments()
            for owned in self.owned
            if owned.script.always_on and request.kind in owned.script.tabs
        }
        if request.script is not None:
            script = self._find(request, request.script, "script_name", always_on=False)
            bound[script.arguments] = script.parse(request.script.arguments, "script_args")
        for call in request.always_on:
            script = self._find(request, call, "alwayson_scripts", always_on=True)
            bound[script.arguments] = script.parse(call.arguments, f"alwayson_scripts.{call.name}.args")
        return bound

    def asked_for(self, request: GenerationRequest, extension: str) -> bool:
        """Did the request name a script of this extension?"""
        calls = (*request.always_on, *((request.script,) if request.script else ()))
        titles = {call.name.casefold() for call in calls}
        return any(o.extension == extension and o.script.title.casefold() in titles for o in self.owned)

    def owner(self, request: GenerationRequest) -> str:
        """The extension of the selectable script that a request names; "" for none."""
        title = request.script.name.casefold() if request.script else None
        return next((one.extension for one in self.owned if one.script.title.casefold() == title), "")

    def _find(self, request: GenerationRequest, call: ScriptCall, where: str, *, always_on: bool) -> Script:
        here = [one.script for one in self.owned if request.kind in one.script.tabs]
        script = next((script for script in here if script.title.casefold() == call.name.casefold()), None)
        known = [script.title for script in here if script.always_on == always_on]
        if script is not None and always_on and not script.always_on:
            reason = "Cannot have a selectable script in the always on scripts params"
            raise BadRequest(reason, field=where, value=call.name, allowed=", ".join(known))
        if script is None or script.always_on != always_on:
            raise UnknownName.among(where, call.name, known)
        return script
