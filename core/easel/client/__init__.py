"""A small client for programs: submit tasks, wait for them, stream results, follow and cancel; pictures at once, too.

    from easel.client import Client

    with Client("http://127.0.0.1:7860", token="…", service="sd") as client:
        task = client.submit("txt2img", {"prompt": "a cat"}, task_id="cat-1")
        print(client.wait(task, timeout=600).paths)

`AsyncClient` is the same for `asyncio`. Nothing else of Easel is imported here.
"""

from easel.client.async_client import AsyncClient
from easel.client.client import Client
from easel.client.errors import ClientError, NotYet, Refused, TaskFailed, TaskGone, Unreachable, WrongAddress
from easel.client.values import Pictures, Progress, Result, Task

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "NotYet",
    "Pictures",
    "Progress",
    "Refused",
    "Result",
    "Task",
    "TaskFailed",
    "TaskGone",
    "Unreachable",
    "WrongAddress",
]
