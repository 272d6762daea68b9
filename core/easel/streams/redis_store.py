"""Streams in Redis: for several gateways and workers, on several machines."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.resources import files
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from easel.errors import DiskFull, SettingsError, StoreLost
from easel.streams.items import REQUEST_ID, Call, Facts, Interest, Item, KeyUsedOtherwise, Place, StreamFull
from easel.streams.redis_news import News
from easel.streams.store import Outcome, Put
from easel.streams.together import Together
from easel.values.ledger import Line

SILENCE = 10.0  # seconds after which a consumer that nobody told of is gone
_PATIENCE = 4.0  # seconds for an answer; EAS clients wait five
_SIDE_BY_SIDE = 4  # batches of puts under way: one alone would wait for the disk more often than Redis does
_KEYS = (
    "items", "given", "line", "keys", "keyline", "records", "held", "returned", "done", "cursors", "consumers", "seen",
    "interests",
)  # fmt: skip
_PUT = """
local s = {items = KEYS[1], given = KEYS[2], line = KEYS[3], keys = KEYS[4], keyline = KEYS[5]}
local answer = put(s, 3, tonumber(ARGV[2]))
if answer ~= 'full' and answer ~= 'key' then tell(ARGV[1]) end
return answer
"""
_TOP_PRIORITY, _TOP_INDEX = 10**18, 10**15  # exact in Lua's numbers
_LOST = (
    redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError,
)  # fmt: skip


class _Stream(NamedTuple):
    capacity: int
    owner: str
    keys: tuple[str, ...]


class RedisStore:
    """A `StreamStore`; see there. Consumers join before they claim: what others hold is nobody's after a restart.

    Every call may raise StoreLost. It is not known then whether it happened; nothing is tried twice behind your back.
    """

    name, shared = "redis", True

    def __init__(self, url: str, *, silence: float = SILENCE) -> None:
        """`url`: redis://[user:password@]host[:port][/db], rediss:// with TLS, or unix://. Nothing is asked yet.

        Errors: SettingsError.
        """
        try:
            self._redis = redis.Redis.from_url(
                url, protocol=2, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, health_check_interval=5,
                retry=Retry(NoBackoff(), 0), client_name="easel",
            )  # fmt: skip
        except (ValueError, RedisError):  # whose text may have the password in it
            raise SettingsError(
                "the queue's URL is none of Redis: redis[s]://[user:password@]host[:port][/db]"
            ) from None
        put, rest = _text("redis_put.lua"), _text("redis_store.lua")
        self._put = self._redis.register_script(put + _PUT)
        self._operation = self._redis.register_script(put + rest)
        self._together = Together(self._put_all, at_once=_SIDE_BY_SIDE)
        self._gateway, self._silence = secrets.token_hex(8), int(silence * 1000)
        self._opened: dict[str, _Stream] = {}
        self._here: dict[tuple[str, str, str], Interest] = {}  # consumers of this gateway: stream, group, name
        self._lock = threading.Lock()
        self._news = News(self._redis, lambda: list(self._opened))

    def open(self, stream: str, *, capacity: int, owner: str = "") -> None:
        """See `StreamStore`. What consumers hold that other gateways speak to stays with them."""
        self._run("open", (stream,), self._silence, owner)
        self._opened[stream] = _Stream(capacity, owner, _keys(stream))

    def put(self, stream: str, item: Put) -> tuple[int, str]:
        """See `StreamStore`."""
        to, parts, keys = self._opened[stream], _parts(item), 5
        if not item.key:  # every argument costs
            parts, keys = parts[:-2], 3
        with _answered():
            answer: Any = self._together([keys, *to.keys[:keys], stream, to.capacity, *parts])
        if answer == b"full":
            raise StreamFull
        if answer == b"key":
            raise KeyUsedOtherwise("was used for another request", field="Idempotency-Key", value=item.key)
        return int(answer[0]), answer[1].decode()

    def read(self, stream: str, *, start: int = 0, count: int = 1, tags: Mapping[str, str] | None = None) -> list[Item]:
        """See `StreamStore`."""
        on, found = str(min(max(start, 0), _TOP_INDEX)), list[Item]()
        while on and len(found) < count:
            on, rows = self._scan(stream, on, tags, None, count - len(found), whole=True)
            found += [_item(at, fields) for at, fields in rows]
        return found

    def delete(self, stream: str, indexes: Sequence[int]) -> None:
        """See `StreamStore`."""
        self._run("delete", (stream,), *_places(indexes))

    def truncate(self, stream: str, below: int) -> None:
        """See `StreamStore`."""
        if below > 0:
            self._run("truncate", (stream,), min(below, _TOP_INDEX))

    def facts(self, stream: str) -> Facts:
        """See `StreamStore`."""
        length, first, last, given = self._run("facts", (stream,))
        return Facts(length=length, first=_index(first), last=_index(last or given), given=int(given))

    def count(self, stream: str, *, priority: int | None = None, tags: Mapping[str, str] | None = None) -> int:
        """See `StreamStore`."""
        if tags:
            on, found = "0", 0
            while on:
                on, some = self._scan(stream, on, tags, priority, _TOP_INDEX, whole=False)
                found += some
            return found
        with _answered():
            if priority is None:
                return self._redis.xlen(_keys(stream)[0])
            rank = _rank(priority)
            return self._redis.zlexcount(_keys(stream)[2], f"[{rank}:", f"({rank};")

    def join(self, stream: str, who: Interest) -> None:
        """See `StreamStore`."""
        with self._lock:
            self._here[stream, who.group, who.consumer] = who
        self._run("join", (stream,), who.group, who.consumer, self._gateway, who.scope)

    def leave(self, stream: str, who: Interest) -> None:
        """See `StreamStore`. Nothing happens when the consumer has come to another gateway meanwhile."""
        with self._lock:
            self._here.pop((stream, who.group, who.consumer), None)
        self._run("leave", (stream,), who.group, who.consumer, self._gateway, self._owner(stream))

    def alive(self, stream: str, who: Interest) -> None:
        """See `StreamStore`. This is also where the silent ones of all gateways are let go."""
        if (stream, who.group, who.consumer) in self._here:
            arguments = who.group, who.consumer, self._gateway, who.scope, self._silence, self._owner(stream)
            self._run("alive", (stream,), *arguments)

    def consumers(self, stream: str) -> list[Interest]:
        """See `StreamStore`."""
        with _answered():
            found = cast("dict[bytes, bytes]", self._redis.hgetall(_keys(stream)[10]))
        return [_interest(name.decode(), entry.decode()) for name, entry in found.items()]

    def claim(self, stream: str, who: Interest, window: int) -> list[Item]:
        """See `StreamStore`."""
        more, rows = 1, list[Any]()
        while more and not rows:
            more, *rows = self._run("claim", (stream,), who.group, who.consumer, window, who.scope)
        return [_item(at, fields, deliveries) for deliveries, at, fields in rows]

    def held(self, stream: str, who: Interest) -> list[int]:
        """See `StreamStore`."""
        name = f"{who.group}\1{who.consumer}"
        with _answered():
            found = cast("list[bytes]", self._redis.zrangebylex(_keys(stream)[6], f"[{name}\1", f"({name}\2"))
        return [int(member.rpartition(b"\1")[2]) for member in found]

    def commit(self, stream: str, group: str, indexes: Sequence[int]) -> None:
        """See `StreamStore`."""
        self._run("commit", (stream,), group, self._owner(stream), *_places(indexes))

    def release(self, stream: str, group: str, indexes: Sequence[int], *, counted: bool = True) -> None:
        """See `StreamStore`."""
        self._run("release", (stream,), group, int(not counted), *_places(indexes))

    def place(self, stream: str, index: int, group: str) -> Place | None:
        """See `StreamStore`."""
        at = _places([index])
        found = self._run("place", (stream,), *at, group, self._owner(stream)) if at else None
        return Place(holder=found[0].decode(), ahead=found[1]) if found else None

    def finish(self, stream: str, task: Item, sink: str, outcome: Outcome) -> bool:
        """See `StreamStore`. The line is kept in Redis, by job id."""
        result = [] if outcome.result is None else _parts(outcome.result)
        dead = _parts(Put(data=task.data, tags=task.tags, call=task.call)) if outcome.dead else []
        line = outcome.line
        text = json.dumps(asdict(line))
        ended = self._run(
            "finish", (stream, sink, f"{stream}/rear"), *_places([task.index]), task.deliveries, self._owner(stream),
            sink, line.job, line.ended, text, int(bool(result)), int(bool(dead)), *result, *dead, more=_ledger(stream),
        )  # fmt: skip
        if ended == b"key":
            raise KeyUsedOtherwise("was used for another request", field="Idempotency-Key")
        return bool(ended)

    def ledger(self, *, limit: int = 1000) -> list[Line]:
        """See `StreamStore`. Of all services opened here; a service's newest hundred thousand lines are kept."""
        found: list[Line] = []
        for lines, ended in sorted({_ledger(stream) for stream in self._opened}):
            with _answered():
                if jobs := cast("list[bytes]", self._redis.zrevrange(ended, 0, limit - 1)):
                    texts = cast("list[bytes | None]", self._redis.hmget(lines, jobs))
                    found += [Line(**json.loads(text)) for text in texts if text is not None]
        return sorted(found, key=lambda line: -line.ended)[:limit]

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """See `StreamStore`. Changes by all gateways are told; after a lost connection all streams are, once."""
        return self._news.watch(changed)

    def close(self) -> None:
        """See `StreamStore`. This gateway's consumers leave, if Redis is there to be told."""
        self._news.close()
        with self._lock:
            here = [(stream, who) for (stream, _, _), who in self._here.items()]
        with suppress(StoreLost):  # they will be silent
            for stream, who in here:
                self.leave(stream, who)
        self._redis.close()

    def _run(
        self, operation: str, streams: Sequence[str], *arguments: str | bytes | int | float, more: tuple[str, ...] = ()
    ) -> Any:
        keys = [key for stream in streams for key in _keys(stream)]
        with _answered():
            return self._operation(keys=[*keys, *more], args=[operation, streams[0], *arguments])

    def _put_all(self, puts: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Answers to puts that are sent together; each is an operation of its own."""
        if len(puts) == 1:
            ((keys, *rest),) = puts
            return [self._put(keys=rest[:keys], args=rest[keys:])]
        line = self._redis.pipeline(transaction=False)
        for one in puts:
            line.evalsha(self._put.sha, *one)
        answers: list[Any] = line.execute(raise_on_error=False)
        new = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if new:  # the server does not know the script yet, and ran none of these
            self._redis.script_load(self._put.script)
            for number, answer in zip(new, self._put_all([puts[number] for number in new]), strict=True):
                answers[number] = answer
        return answers

    def _owner(self, stream: str) -> str:
        return self._opened[stream].owner

    def _scan(
        self, stream: str, on: str, tags: Mapping[str, str] | None, priority: int | None, room: int, *, whole: bool
    ) -> tuple[str, Any]:
        """Items among the next thousand (Redis serves others in between), or how many; and where to go on, or ""."""
        scope = Interest(group="", consumer="", tags=tags or {}).scope
        rank = "" if priority is None else _rank(priority)
        further, rows = self._run("scan", (stream,), on, scope, rank, room, int(whole))
        return further.decode(), rows


@contextmanager
def _answered() -> Iterator[None]:
    """Redis' errors as ours: their texts stay in the log."""
    try:
        yield
    except _LOST as error:
        raise StoreLost from error
    except OutOfMemoryError as error:
        raise DiskFull from error
    except ResponseError as error:
        if str(error).startswith("MISCONF"):  # it cannot write its files
            raise DiskFull from error
        if str(error).startswith("BUSY"):
            raise StoreLost from error
        raise


def _text(name: str) -> str:
    return files("easel.streams").joinpath(name).read_text(encoding="utf-8")


def _keys(stream: str) -> tuple[str, ...]:
    """A stream's keys; what is in braces puts all of a service's on one node of a cluster."""
    service, _, rest = stream.partition("/")
    return tuple(f"easel:{{{service}}}/{rest}:{name}" for name in _KEYS)


def _ledger(stream: str) -> tuple[str, str]:
    service = stream.partition("/")[0]
    return f"easel:{{{service}}}:ledger", f"easel:{{{service}}}:ended"


def _parts(item: Put) -> list[str | bytes]:
    tags = json.dumps(dict(item.tags), ensure_ascii=False)
    task = item.call.text() if item.call else ""
    return [tags, task, item.data, _rank(item.priority), item.tags[REQUEST_ID], item.key, item.fingerprint]


def _rank(priority: int) -> str:
    return f"{_TOP_PRIORITY - min(priority, _TOP_PRIORITY):019d}"


def _places(indexes: Sequence[int]) -> list[str]:
    return [f"{index:016d}" for index in indexes if 0 < index < _TOP_INDEX]


def _index(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])


def _item(at: bytes, fields: Sequence[bytes], deliveries: int = 0) -> Item:
    _, tags, _, call, _, data, _, rank = fields
    return Item(
        index=int(at),
        data=data,
        tags=json.loads(tags),
        priority=_TOP_PRIORITY - int(rank),
        call=Call.read(call.decode()),
        deliveries=deliveries,
    )


def _interest(name: str, entry: str) -> Interest:
    group, _, consumer = name.partition("\1")
    scope = entry.partition("\1")[2]
    start, tags = json.loads(scope) if scope else (0, [])
    return Interest(group=group, consumer=consumer, start=start, tags=dict(tags))
