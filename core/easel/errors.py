"""The error tree: a class's docstring is its default message; each carries its HTTP status and EAS status code.

EaselError                        500 / 1
├── BadRequest                    422 / 10   the caller's field, its value and what is allowed
│   ├── PromptSyntaxError         422 / 11
│   ├── UnknownName               422 / 12   a checkpoint, sampler, script … that does not exist
│   ├── BadImage                  422 / 13
│   ├── TooLarge                  413 / 14
│   └── Conflict                  409 / 18   there is something else already
├── NotFound                      404 / 15
├── Unauthorized                  401 / 16
├── Forbidden                     403 / 17
├── JobRefused                    429 / 20
├── JobCancelled                  409 / 21
├── NotAvailable                  501 / 22   a feature this edition or version does not have
├── DiskFull                      507 / 23
├── ModelError                    500 / 30
│   ├── RefusedFile               422 / 31   a pickle, a truncated or foreign file
│   └── NotANumber                500 / 32
├── WorkerLost                    503 / 40
├── DeadlinePassed                504 / 41
├── StoreLost                     503 / 42   the database of the queue does not answer
├── ExtensionError                500 / 50
└── SettingsError                 500 / 60   a wrong flag or setting at start
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_NAME = 200  # characters that are compared: a text of megabytes would take a minute


class EaselError(Exception):
    """Something went wrong in Easel."""

    status: int = 500
    code: int = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """The text for the caller; never a traceback or a path of the host."""
        return str(self.args[0])


class BadRequest(EaselError):
    """The request is not valid."""

    status = 422
    code = 10

    def __init__(self, message: str | None = None, *, field: str = "", value: object = None, allowed: str = "") -> None:
        text = message or (type(self).__doc__ or "").strip()
        if field:
            text = f"{field}: {text} (got {_short(value)}{'; allowed: ' + allowed if allowed else ''})"
        super().__init__(text)
        self.field, self.value, self.allowed = field, value, allowed


class PromptSyntaxError(BadRequest):
    """The prompt cannot be read."""

    code = 11


class UnknownName(BadRequest):
    """There is nothing of that name."""

    code = 12

    @classmethod
    def among(cls, field: str, value: str, known: Iterable[str]) -> UnknownName:
        """The error for a `value` that is none of `known`, with the nearest names first."""
        names = list(known)
        near = get_close_matches(value[:_LONGEST_NAME], names, n=3, cutoff=0.5)
        listing = ", ".join(repr(name) for name in names[:30]) + (", …" if len(names) > 30 else "")
        hint = f"did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
        return cls("unknown name", field=field, value=value, allowed=hint + (listing or "nothing is installed"))


class BadImage(BadRequest):
    """The picture cannot be read."""

    code = 13


class TooLarge(BadRequest):
    """The request is larger than this server allows."""

    status = 413
    code = 14


class Conflict(BadRequest):
    """What is there already is not what the request expects."""

    status = 409
    code = 18


class NotFound(EaselError):
    """Not Found"""

    status = 404
    code = 15


class Unauthorized(EaselError):
    """Not authenticated"""

    status = 401
    code = 16


class Forbidden(EaselError):
    """Not allowed"""

    status = 403
    code = 17


class JobRefused(EaselError):
    """The job was refused."""

    status = 429
    code = 20


class JobCancelled(EaselError):
    """The job was cancelled."""

    status = 409
    code = 21


class NotAvailable(EaselError):
    """This is not available here."""

    status = 501
    code = 22


class DiskFull(EaselError):
    """There is no room left."""

    status = 507
    code = 23


class ModelError(EaselError):
    """A model could not be loaded or run."""

    code = 30


class RefusedFile(ModelError):
    """This file is refused: only safetensors weights are read."""

    status = 422
    code = 31


class NotANumber(ModelError):
    """The model produced numbers that are not numbers (NaN); try --no-half or --no-half-vae."""

    code = 32


class WorkerLost(EaselError):
    """The worker died while it ran the job."""

    status = 503
    code = 40


class DeadlinePassed(EaselError):
    """The job ran past its deadline."""

    status = 504
    code = 41


class StoreLost(EaselError):
    """The queue's store does not answer; try again later."""

    status = 503
    code = 42


class ExtensionError(EaselError):
    """An extension failed."""

    code = 50

    def __init__(self, extension: str, hook: str, reason: str) -> None:
        super().__init__(f"extension {extension!r} failed in {hook}: {reason}")
        self.extension, self.hook, self.reason = extension, hook, reason

    def __reduce__(self) -> tuple[type[ExtensionError], tuple[str, str, str]]:
        return type(self), (self.extension, self.hook, self.reason)


class SettingsError(EaselError):
    """The settings contradict each other."""

    code = 60


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
