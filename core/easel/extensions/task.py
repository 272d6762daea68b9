"""Tasks: what a route or a tab of an extension asks a worker to do, because a gateway has no models.

A task is a job like any other: it waits in the fair queue, has a deadline, can be cancelled, and its pictures pass
`review_images` and `save_image`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from easel.errors import BadRequest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from easel.values.job import Job
    from easel.values.result import Draft

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "easel_task"


def task(arguments: type[BaseModel]) -> Callable[[F], F]:
    """Mark a method `(self, arguments, job) -> Draft` of an extension as a task with these typed arguments.

    `Draft.images` are its pictures, `Draft.info` what else it has to say, as JSON. A gateway runs it with
    `await app.run_task(extension, method, {...})`.
    """
    if not hasattr(arguments, "model_validate"):
        raise TypeError(f"a task's arguments are a pydantic model, not {arguments!r}")

    def mark(function: F) -> F:
        setattr(function, _MARK, arguments)
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an extension that is switched on; `call` is the guarded method."""

    extension: str
    name: str
    arguments: type[BaseModel]
    call: Callable[[BaseModel, Job], Draft]

    def parse(self, arguments: Mapping[str, Any]) -> BaseModel:
        """The typed arguments. Errors: BadRequest naming the argument."""
        from pydantic import ValidationError

        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or self.name
            raise BadRequest(first["msg"], field=field, value=first["input"]) from None


def tasks_of(plugin: object) -> Mapping[str, type[BaseModel]]:
    """The marked methods of an extension, by name, with their argument models."""
    marked = ((name, getattr(getattr(type(plugin), name), _MARK, None)) for name in dir(type(plugin)))
    return {name: arguments for name, arguments in marked if arguments is not None}
