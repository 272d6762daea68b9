"""Where a service is, and how its queues are named in URLs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from easel.client.errors import WrongAddress

USUAL = "easel"  # the name of a service that was given none


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is, who calls, and for how many seconds a lost connection is tried again."""

    base: str  # "https://host/prefix"
    service: str
    token: str = field(repr=False)
    group: str
    consumer: str
    patience: float

    @classmethod
    def of(cls, url: str, token: str, service: str, group: str, patience: float) -> Address:
        """From the server's address, or the service's (`http://host/api/predict/NAME`). Errors: WrongAddress."""
        base, _, named = url.rstrip("/").partition("/api/predict/")
        named = named.removesuffix("/sink")
        if not urlsplit(base).netloc:
            raise WrongAddress(f"{url!r} is no address such as http://127.0.0.1:7860")
        if service and named and service != named:
            raise WrongAddress(f"the address names the service {named!r}, not {service!r}")
        consumer = str(uuid.uuid4())
        return cls(
            base=base, service=service or named or USUAL, token=token, group=group, consumer=consumer, patience=patience
        )

    @property
    def headers(self) -> dict[str, str]:
        """Sent with every call."""
        identity = {
            "X-EAS-QueueService-Redis-Uid": self.consumer,
            "X-EAS-QueueService-Redis-Gid": self.group,
        }
        return identity | ({"Authorization": self.token} if self.token else {})

    def queue(self, below: str = "", query: Mapping[str, object] | None = None) -> str:
        """A path of the queue service."""
        path = f"/api/predict/{self.service}" + (f"/{below}" if below else "")
        return f"{path}?{urlencode(query)}" if query else path

    def watch(self, window: int, tags: Mapping[str, str], start: int) -> str:
        """The WebSocket of the sink."""
        query = {"_watch_": "true", "_index_": start, "_window_": window, "_index_only_": "false"}
        path = self.queue("sink", {**query, "_auto_commit_": "false", **tags})
        return self.base.replace("http", "ws", 1) + path
