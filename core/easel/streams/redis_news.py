"""What changed in Redis, heard over pub/sub by a thread that finds its way back to a lost server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

from redis.exceptions import RedisError

CHANNEL = "easel:changed"  # a message is the name of a stream; "" is nobody's
_PAUSE, _LISTEN = 0.5, 5.0  # seconds: before another try; between two looks at whether the server is still there

log = logging.getLogger(__name__)


class News:
    """Tells watchers which streams changed."""

    def __init__(self, server: Any, streams: Callable[[], Sequence[str]]) -> None:
        """`server`: a redis.Redis, whose pubsub has no types. `streams` names those that are of interest now."""
        self._server, self._streams = server, streams
        self._watchers: tuple[Callable[[str], None], ...] = ()
        self._lost = False
        self._closed, self._tried = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Have `changed(stream)` called from the thread; returns what ends it. Changes after this call are heard."""
        with self._lock:
            self._watchers = (*self._watchers, changed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="easel-redis-news", daemon=True)
                self._thread.start()
        self._tried.wait()

        def end() -> None:
            with self._lock:
                self._watchers = tuple(one for one in self._watchers if one is not changed)

        return end

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            with suppress(RedisError):  # lost: it is not listening
                self._server.publish(CHANNEL, "")  # wakes it
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(self._server.pubsub()) as channel:
                    channel.subscribe(CHANNEL)
                    self._listen(channel)
            except (RedisError, OSError) as error:
                if not self._lost:
                    log.warning("Redis is lost, trying again until it is back: %s", type(error).__name__)
                self._lost = True
                self._tried.set()
                self._closed.wait(_PAUSE)

    def _listen(self, channel: Any) -> None:
        while not self._closed.is_set():
            message = channel.get_message(timeout=_LISTEN)
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._tried.set()
                if self._lost:  # who knows what changed meanwhile
                    self._lost = False
                    log.warning("Redis is back")
                    for stream in self._streams():
                        self._tell(stream)
            elif message["type"] == "message":
                stream = message["data"].decode()
                if stream in self._streams():
                    self._tell(stream)

    def _tell(self, stream: str) -> None:
        for changed in self._watchers:
            changed(stream)
