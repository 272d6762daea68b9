"""What the client gives: tasks, results, progress, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from easel.client.errors import TaskFailed

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Task:
    """A task that the service has stored.

    `index` is its number in the input queue, `task_id` the caller's name, `job_id` names it while it runs and after.
    """

    index: int
    request_id: str
    task_id: str = ""
    job_id: str = ""

    def __str__(self) -> str:
        return self.task_id or self.request_id


@dataclass(frozen=True)
class Result:
    """What a task came to: an item of the sink. `index` is its number there, `tags` are the task's."""

    index: int
    data: bytes = field(repr=False)
    tags: Mapping[str, str]

    @property
    def task_id(self) -> str:
        """The name that the task was submitted with."""
        return self.tags.get("task_id", "")

    @property
    def request_id(self) -> str:
        """The service's name of the task."""
        return self.tags.get("requestId", "")

    @cached_property
    def json(self) -> Any:
        """The answer of the API; None when it is no JSON."""
        try:
            return json.loads(self.data)
        except ValueError:
            return None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """`parameters` of the answer: `image_url`, `seed`, `status`, `error_msg`, `total_time`, …"""
        found = self.json.get("parameters") if isinstance(self.json, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        code = self.tags.get("lastCode", "")
        return int(code) if code.isdecimal() else 200

    @property
    def failed(self) -> bool:
        """The task failed."""
        return not 200 <= self.status < 300 or bool(self.parameters.get("status"))

    @property
    def error(self) -> str:
        """Why the task failed."""
        return str(self.parameters.get("error_msg") or self.tags.get("lastReason", ""))

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the service saved the pictures."""
        return tuple(path for path in str(self.parameters.get("image_url", "")).split(",") if path)

    def checked(self) -> Result:
        """This result. Errors: TaskFailed."""
        if self.failed:
            raise TaskFailed(self)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a task is. `ahead`: tasks before it in line; the others count inside a running one."""

    state: Literal["waiting", "running", "finished", "gone"]
    ahead: int = 0
    fraction: float = 0.0  # 0…1
    stage: str = ""
    step: int = 0
    steps: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a synchronous call came to: encoded pictures in order, A1111's `info`, and `parameters`."""

    images: tuple[bytes, ...] = field(repr=False)
    info: Mapping[str, Any]
    parameters: Mapping[str, Any]

    def open(self, number: int = 0) -> Image.Image:
        """A picture as Pillow has it."""
        import io

        from PIL import Image

        return Image.open(io.BytesIO(self.images[number]))
