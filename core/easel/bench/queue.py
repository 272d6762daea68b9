"""The stores of streams: puts beside the bare database, and whether a long queue is as fast as a short one."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from easel.bench.figures import Figure, Report, Target
from easel.bench.service import LOCALHOST, Server
from easel.bench.timing import Effort, Side, alternate
from easel.streams.items import Interest
from easel.streams.sqlite_store import SqliteStore
from easel.streams.store import Put, StreamStore

THREADS = (1, 16)
MORE = 3  # times the rounds of other benchmarks: they are short, and disks are moody
TAGS = {"requestId": "8f14e45f-ceea-467f-a8f7-3a2b5c0d9e11", "task_id": "job_001"}
ITEM = Put(data=b'{"prompt": "' + b"x" * 586 + b'"}', tags=TAGS)  # 600 bytes: a usual request
WORKER = Interest(group="workers", consumer="worker")
HALF, FLAT = Target("at least", 0.5), Target("at most", 1.5)


@dataclass(frozen=True, slots=True)
class Pair:
    """A store, and the database that it stands on: a loop of single inserts, each on the disk when it returns."""

    name: str
    store: StreamStore
    plain: str
    insert: Callable[[], object]


def measure(effort: Effort) -> Report:
    """Every side's data are on the same disk; each put is durable before the next of its thread begins."""
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder, ExitStack() as stack:
        pairs = [stack.enter_context(_sqlite(Path(folder)))]
        remark = "Each put waits for the disk: SQLite WAL with synchronous=FULL, Redis with appendfsync always."
        try:
            from easel.bench.redis_server import MISSING, can_start
        except ImportError:
            remark += " Redis was not measured: pip install 'redis>=8,<9'."
        else:
            if can_start():
                pairs.append(stack.enter_context(_redis(Path(folder))))
            else:
                remark += f" Redis was not measured: {MISSING}."
        figures = [*_puts(pairs, effort)]
        for pair in pairs:
            figures += _depths(pair, effort)
        figures.append(_push(Path(folder), effort))
    return Report(name="queue", title="streams, items of 600 bytes", figures=tuple(figures), remark=remark)


def _puts(pairs: list[Pair], effort: Effort) -> Iterator[Figure]:
    for threads in THREADS:
        count = (20 if effort.quick else 400) * (1 if threads == 1 else 4)
        sides: dict[str, Side] = {}
        for pair in pairs:
            pair.store.open(f"puts/{threads}", capacity=10**9)
            sides[pair.name] = _loop(partial(pair.store.put, f"puts/{threads}", ITEM), threads, count)
            sides[pair.plain] = _loop(pair.insert, threads, count)
        rounds = alternate(sides, effort.rounds * MORE)
        for pair in pairs:
            yield Figure(
                what=f"{pair.name}: put, {threads} thread{'s' if threads > 1 else ''}",
                value=count / rounds.median(pair.name),
                unit="/s",
                against=pair.plain,
                opponent=count / rounds.median(pair.plain),
                ratio=rounds.ratio(pair.plain, pair.name),
                target=HALF,
                samples={side: rounds.seconds[side] for side in (pair.name, pair.plain)},
            )


def _depths(pair: Pair, effort: Effort) -> Iterator[Figure]:
    """Streams of each length in one store take turns; every run leaves as many items as it found."""
    depths, count = ((10, 100), 10) if effort.quick else ((100, 10_000, 100_000), 100)
    puts: dict[str, Side] = {}
    claims: dict[str, Side] = {}
    for depth in depths:
        stream = f"depth/{depth}"
        pair.store.open(stream, capacity=10**9, owner=WORKER.group)
        pair.store.join(stream, WORKER)
        _loop(partial(pair.store.put, stream, ITEM), 16, depth)()
        puts[f"{depth:,}"] = _loop(partial(pair.store.put, stream, ITEM), 1, count)
        claims[f"{depth:,}"] = _loop(partial(_take, pair.store, stream), 1, count)
    for what, sides in (("put", puts), ("claim and commit", claims)):
        rounds = alternate(sides, effort.rounds * MORE)
        first, *longer = sides
        for depth_text in longer:
            yield Figure(
                what=f"{pair.name}: {what}, {depth_text} queued",
                value=count / rounds.median(depth_text),
                unit="/s",
                against=f"{first} queued",
                opponent=count / rounds.median(first),
                ratio=rounds.ratio(depth_text, first),
                target=FLAT,
                note="ratio of the times",
                samples={depth: rounds.seconds[depth] for depth in (first, depth_text)},
            )


def _push(folder: Path, effort: Effort) -> Figure:
    """From before the call that puts an item to its arrival at a watcher: HTTP and WebSocket of a real server."""
    from websockets.sync.client import connect

    count = 20 if effort.quick else 300
    with Server(folder / "served", "--edition", "api", "--service-name", "bench") as server:
        server.wait_until_it_answers()
        caller = HTTPConnection(LOCALHOST, server.port)
        address = "/api/predict/bench/sink"
        query = "_watch_=true&_index_=0&_window_=5&_auto_commit_=true"
        puts, pushes = list[float](), list[float]()
        with connect(f"ws://{LOCALHOST}:{server.port}{address}?{query}", compression=None) as watch:
            for _ in range(count):
                begin = time.perf_counter()
                caller.request("POST", address, ITEM.data)
                caller.getresponse().read()
                puts.append(time.perf_counter() - begin)
                watch.recv(10)
                pushes.append(time.perf_counter() - begin)
        caller.close()
    return Figure(
        what="HTTP: from a put to its arrival, p50",
        value=median(pushes),
        against="the put's own answer",
        opponent=median(puts),
        target=Target("below", 0.010),
        samples={"push": pushes, "put": puts},
    )


def _take(store: StreamStore, stream: str) -> None:
    (item,) = store.claim(stream, WORKER, 1)
    store.commit(stream, WORKER.group, [item.index])


def _loop(act: Callable[[], object], threads: int, count: int) -> Callable[[], None]:
    """`act`, `count` times in all."""

    def some(_: int) -> None:
        for _ in range(count // threads):
            act()

    def run() -> None:
        if threads == 1:
            some(0)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, range(threads)))

    return run


@contextmanager
def _sqlite(folder: Path) -> Iterator[Pair]:
    with (
        closing(SqliteStore(folder / "easel.db")) as store,
        closing(sqlite3.connect(folder / "plain.db", isolation_level=None, check_same_thread=False)) as plain,
    ):
        plain.execute("PRAGMA journal_mode=WAL")
        plain.execute("PRAGMA synchronous=FULL")
        plain.execute("CREATE TABLE items(id INTEGER PRIMARY KEY, tags TEXT, data BLOB)")
        lock, tags = threading.Lock(), str(TAGS)

        def insert() -> None:
            with lock:  # one connection for all is the fastest plain way: many would wait for each other in sleeps
                plain.execute("INSERT INTO items(tags, data) VALUES(?, ?)", (tags, ITEM.data))

        yield Pair("SQLite", store, "plain INSERT", insert)


@contextmanager
def _redis(folder: Path) -> Iterator[Pair]:
    from easel.bench.redis_server import redis_server
    from easel.streams.redis_store import RedisStore

    with redis_server(folder) as server, closing(RedisStore(server.url)) as store:
        tags = str(TAGS)
        yield Pair("Redis", store, "plain XADD", lambda: server.client.xadd("plain", {"tags": tags, "data": ITEM.data}))
