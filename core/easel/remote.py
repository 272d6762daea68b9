"""`easel submit` and `easel watch`: tasks of a service elsewhere, from the command line."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from easel.client import Client, ClientError, Result, Task, WrongAddress
from easel.errors import BadRequest, EaselError

_LOOK_EVERY = 0.5  # seconds between looks at what a task does
_AT_ONCE = 100  # results
_FIELDS = {  # options of `easel submit` by the field they set
    "prompt": str,
    "negative_prompt": str,
    "sampler_name": str,
    "cfg_scale": float,
    "steps": int,
    "seed": int,
    "width": int,
    "height": int,
    "batch_size": int,
}
_OPTIONS = {"negative_prompt": "negative", "sampler_name": "sampler", "cfg_scale": "cfg", "batch_size": "count"}


def submit(words: Sequence[str]) -> int:
    """`easel submit`; the exit status. Errors: EaselError."""
    options = _submit_parser().parse_args(words)
    body = _body(options.body) | {name: getattr(options, name) for name in _FIELDS if hasattr(options, name)}
    with _service(options) as client:
        task = client.submit(
            options.what,
            body,
            task_id=options.task_id,
            idempotency_key=options.idempotency_key,
            priority=options.priority,
        )
        if not options.wait:
            print(f"task {task.index}  request {task.request_id}")
            return 0
        result = _follow(client, task, options.timeout)
        for number, path in enumerate(result.paths):
            print(_saved(client, path, options.output, number, len(result.paths)) if options.output else path)
        if not result.paths:
            print(result.data.decode("utf-8", "replace"))
    return 0


def watch(words: Sequence[str]) -> int:
    """`easel watch`; the exit status. Errors: EaselError."""
    options = _watch_parser().parse_args(words)
    shown, start = 0, 0
    with _service(options) as client, _bars() as bars:
        running: dict[str, TaskID] = {}
        last = time.monotonic()
        while options.number is None or shown < options.number:
            found = client.results(start=start, count=1, seconds=1.0)
            found = client.results(start=start, count=_AT_ONCE) if found else []
            for result in found[: None if options.number is None else options.number - shown]:
                bars.console.print(_line(result), markup=False, highlight=False, soft_wrap=True)
                shown, start, last = shown + 1, result.index + 1, time.monotonic()
                if options.take:
                    client.take(result)
            if options.idle is not None and time.monotonic() - last > options.idle:
                break
            _show(bars, running, client.jobs())
    return 0


def _follow(client: Client, task: Task, timeout: float | None) -> Result:
    """Wait for a task under a bar. Errors: ClientError."""
    until = time.monotonic() + timeout if timeout is not None else float("inf")
    with _bars() as bars:
        bar = bars.add_task(str(task), total=1.0)
        while time.monotonic() < until:
            now = client.progress(task)
            if now.state in ("finished", "gone"):
                break
            words = f"{now.ahead} before it" if now.state == "waiting" and now.ahead else now.stage or now.state
            bars.update(bar, completed=now.fraction, description=f"{task}  {words}")
            time.sleep(_LOOK_EVERY)
        bars.update(bar, completed=1.0)
    return client.wait(task, max(0.0, until - time.monotonic()) if timeout is not None else None)


def _show(bars: Progress, running: dict[str, TaskID], jobs: Sequence[Mapping[str, Any]]) -> None:
    """A bar for each running job."""
    now = {str(job["id"]): job for job in jobs if job["state"] == "running"}
    for gone in running.keys() - now.keys():
        bars.remove_task(running.pop(gone))
    for name, job in now.items():
        if name not in running:
            running[name] = bars.add_task(str(job["id_task"] or name[:8]), total=1.0)
        bars.update(running[name], completed=float(job["progress"]))


def _line(result: Result) -> str:
    name = result.task_id or result.request_id
    if result.failed:
        return f"{name}  failed  {result.status}: {result.error}"
    return f"{name}  done  " + ("  ".join(result.paths) or f"{len(result.data)} bytes")


def _saved(client: Client, path: str, output: Path, number: int, count: int) -> Path:
    file = output if count == 1 else output.with_stem(f"{output.stem}-{number + 1}")
    data = client.picture(path)
    try:
        file.write_bytes(data)
    except OSError as error:
        raise EaselError(f"{file} cannot be written: {error.strerror}") from error
    return file


def _body(text: str) -> dict[str, Any]:
    """A JSON object, or `@file` with one. Errors: EaselError."""
    try:
        body = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text or "{}")
    except OSError as error:
        raise EaselError(f"{text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadRequest(f"BODY is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest('BODY must be a JSON object, such as \'{"prompt": "a cat"}\'')
    return body


@contextmanager
def _service(options: argparse.Namespace) -> Iterator[Client]:
    """The service that the options name. Errors: EaselError for whatever goes wrong with it."""
    try:
        with Client(options.url, options.token, options.service) as client:
            yield client
    except WrongAddress as error:
        raise BadRequest(str(error)) from error
    except ClientError as error:
        raise EaselError(str(error)) from error


@contextmanager
def _bars() -> Iterator[Progress]:
    """Bars on a terminal; nothing elsewhere, but what is printed on their console."""
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield bars


def _submit_parser() -> argparse.ArgumentParser:
    parser = _parser("submit", "store a task in the queue of a service")
    parser.add_argument("what", metavar="WHAT", help="txt2img, img2img, or a path of the API (sdapi/v1/png-info)")
    parser.add_argument("body", metavar="BODY", nargs="?", default="", help="the request as JSON, or @FILE")
    for name, kind in _FIELDS.items():
        option, shown = f"--{_OPTIONS.get(name, name)}", "TEXT" if kind is str else "N"
        parser.add_argument(option, dest=name, type=kind, metavar=shown, default=argparse.SUPPRESS, help=f"sets {name}")
    parser.add_argument("--task-id", metavar="NAME", default="", help="comes back with the result")
    parser.add_argument("--idempotency-key", metavar="KEY", default="", help="the same key again is the same task")
    parser.add_argument("--priority", type=int, default=0, metavar="N", help="1 goes before 0")
    parser.add_argument("--wait", action="store_true", help="until it is done; prints where the pictures are")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="to wait; the task goes on after it")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="fetch the pictures, too (with --wait)")
    return parser


def _watch_parser() -> argparse.ArgumentParser:
    parser = _parser("watch", "show results, and what runs; results that others take at once may be missed")
    parser.add_argument("--take", action="store_true", help="remove results once they are shown")
    parser.add_argument("--number", type=int, metavar="N", help="end after N results")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="end when nothing came for so long")
    return parser


def _parser(name: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"easel {name}", description=text, allow_abbrev=False)
    url = os.environ.get("EASEL_URL", "http://127.0.0.1:7860")
    parser.add_argument("--url", default=url, help="of the server, or of the service [EASEL_URL or %(default)s]")
    parser.add_argument("--token", default=os.environ.get("EASEL_TOKEN", ""), help="[EASEL_TOKEN]")
    parser.add_argument(
        "--service", default=os.environ.get("EASEL_SERVICE", ""), help="its name [EASEL_SERVICE or easel]"
    )
    return parser
