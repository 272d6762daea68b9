"""What can go wrong between a program and a service.

ClientError
├── Unreachable   no answer, for as long as the client is patient
├── Refused       an answer that is no success; `status`
├── NotYet        the task is not finished in the given time (a TimeoutError, too)
├── TaskFailed    the task is finished, and has failed; `result`
├── TaskGone      the task is neither waiting nor running, and its result is not there
└── WrongAddress  no URL, or one that names another service (a ValueError, too)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from easel.client.values import Result, Task


class ClientError(Exception):
    """Something went wrong between a program and a service."""


class Unreachable(ClientError):
    """The service does not answer."""


class Refused(ClientError):
    """The service answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class NotYet(ClientError, TimeoutError):
    """The task is not finished in the given time; it goes on."""

    def __init__(self, task: Task, seconds: float) -> None:
        super().__init__(f"task {task} is not finished after {seconds:g} s")
        self.task = task


class TaskFailed(ClientError):
    """The task is finished and has failed."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.status}: {result.error}")
        self.result, self.status = result, result.status


class TaskGone(ClientError):
    """The task was withdrawn, or somebody else took its result."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"task {task} is not waiting or running, and the sink does not have its result")
        self.task = task


class WrongAddress(ClientError, ValueError):
    """This is no address of a service, or of another one."""
