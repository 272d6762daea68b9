"""What is in a stream: items with tags, and who is interested in them.

A stream is an ordered log. Indexes begin at 1, rise, and are never used twice. Within a *group* every item goes to one
consumer; every group gets its own copy. An item that a consumer holds is *pending* until its group commits it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from easel.errors import BadRequest, EaselError

REQUEST_ID = "requestId"  # the tag that every item has


def job_id(stream: str, index: int, request_id: str) -> str:
    """A task's job id, and with it the names of its pictures, are the same at every delivery."""
    return sha256(f"{stream}\0{index}\0{request_id}".encode()).hexdigest()[:32]


class StreamFull(EaselError):
    """The queue is full; try again later."""

    status = 429
    code = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a task asks the API, kept beside the item and not among its tags."""

    path: str = ""  # below the service: "sdapi/v1/txt2img"
    content_type: str = ""
    user: str = ""
    admin: bool = False
    created: float = 0.0  # Unix time of the submission

    def text(self) -> str:
        """As stores keep it."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def read(cls, text: str) -> Call:
        """The inverse of `text`; "" is an item that asks nothing."""
        return cls(**json.loads(text)) if text else cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item; `deliveries` counts how often the asking group was given it, this time included."""

    index: int
    data: bytes
    tags: Mapping[str, str]
    priority: int = 0
    call: Call = field(default_factory=Call)
    deliveries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Who takes items, and which: those from index `start` on that have all of `tags`."""

    group: str
    consumer: str
    start: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """Consumers of a group with the same scope are interested in the same items; "" for everything."""
        narrow = self.start > 0 or self.tags
        return json.dumps([self.start, sorted(self.tags.items())]) if narrow else ""

    def wants(self, index: int, tags: Mapping[str, str]) -> bool:
        """Whether an item is of interest."""
        return index >= self.start and self.tags.items() <= tags.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A stream in numbers: items in it (pending ones too), lowest and highest index there, highest ever given."""

    length: int
    first: int
    last: int
    given: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an item is in line: who holds it, or how many will be pushed before it."""

    holder: str = ""  # "group.consumer"
    ahead: int = 0


class KeyUsedOtherwise(BadRequest):
    """This idempotency key was used for another request."""

    status = 409
    code = 19
