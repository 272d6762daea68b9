"""The process that keeps one deployed service running: `python -m easel.deploy.supervisor FOLDER`.

It starts `easel serve`, waits until that answers, watches it, starts it again when it dies or falls silent, each time
after a longer pause, and gives up when it does not come up several times in a row. SIGTERM stops the service gently.
What happens is told in `state.json` and `service.log` of the folder.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from easel.deploy.bucket import Bucket, file_system
from easel.deploy.records import Process, State, Word, read_deployed, write_state
from easel.errors import EaselError

_ATTEMPTS = 3  # starts in a row that may fail
_WRONG_SETTINGS = 2  # the exit status of `easel serve` when trying again cannot help
_LONGEST_PAUSE = 60.0
_STEADY = 60.0  # seconds of running after which earlier deaths are forgotten
_LOOK, _BEAT, _SILENCE = 0.25, 5.0, 60.0  # seconds between looks, between pings, without an answer
_GENTLE = 30.0  # seconds to stop in
_LARGEST_LOG = 32 << 20
_TAIL = 1 << 16
_GIVE, _TAKE = 5.0, 12  # seconds between looks for what a bucket lacks; of so many, one looks for what is new there


class Supervisor:
    """Keeps the service of one folder running until `stop` is set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deployed = read_deployed(folder)
        self._log = folder / "service.log"
        self._state = State("Creating", supervisor=Process.of(os.getpid()))
        self._answered = False
        self._buckets: list[Bucket] = []
        self.stop = threading.Event()

    def run(self) -> int:
        """Supervise, with what is in buckets here; the status is 0 when somebody stopped it, 1 when it failed."""
        if not self._deployed.buckets:
            return self._keep_running()
        try:
            self._tell("Creating", "its buckets are fetched")
            self._buckets = [Bucket(file_system(place), place) for place in self._deployed.buckets]
            for one in self._buckets:
                one.take()
        except EaselError as error:
            self._tell("Failed", error.message)
            return 1
        done = threading.Event()
        exchange = threading.Thread(target=self._exchange, args=(done,), name="easel-buckets")
        exchange.start()
        try:
            return self._keep_running()
        finally:
            done.set()
            exchange.join()

    def _exchange(self, done: threading.Event) -> None:
        """Bring changes of the folders to their buckets, now and then those of the buckets here, and all at the end."""
        rounds = 0
        while not done.wait(_GIVE):
            rounds += 1
            self._try(Bucket.give)
            if rounds % _TAKE == 0:
                self._try(Bucket.take)
        self._try(lambda one: one.give(all_of_it=True))

    def _try(self, exchange: Callable[[Bucket], object]) -> None:
        for one in self._buckets:
            try:
                exchange(one)
            except EaselError as error:
                self._say("ERROR", error.message)

    def _keep_running(self) -> int:
        failures, deaths = 0, 0
        while not self.stop.is_set():
            began = time.monotonic()
            status, reason = self._live()
            if self.stop.is_set():
                break
            failures = 0 if self._answered else failures + 1
            deaths = 1 if self._answered and time.monotonic() - began > _STEADY else deaths + 1
            if failures >= _ATTEMPTS or (failures and status == _WRONG_SETTINGS):
                self._tell("Failed", reason)
                return 1
            pause = min(_LONGEST_PAUSE, 2.0 ** (deaths - 1))
            self._tell("Restarting", f"{reason}; starts again in {pause:g} s", restarts=self._state.restarts + 1)
            self.stop.wait(pause)
        self._tell("Stopped", "")
        return 0

    def _live(self) -> tuple[int, str]:
        """One life of the service, to its end: the exit status and why it ended."""
        self._answered = False
        if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG:
            self._log.replace(self._log.with_suffix(".log.1"))
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as out:
            start = out.seek(0, os.SEEK_END)
            command = [sys.executable, "-P", "-m", "easel", "serve", *self._deployed.flags]
            environment = child_environment(self._folder, os.environ)
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        word: Word = "Restarting" if self._state.restarts else "Creating"
        self._tell(word, "", service=Process.of(process.pid))
        try:
            ended = self._watch(process)
        finally:
            _end(process)
        return process.returncode, ended or _reason(self._log, start, process.returncode)

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Until the process ends, is stopped or falls silent; why, if it is to be ended."""
        heard = time.monotonic()
        while process.poll() is None and not self.stop.wait(_LOOK):
            if self._answered and time.monotonic() - heard < _BEAT:
                continue
            if _answers(self._deployed.url):
                heard = time.monotonic()
                if not self._answered and process.poll() is None:
                    self._answered = True
                    self._tell("Running", "")
            elif time.monotonic() - heard > (allowed := _SILENCE if self._answered else self._deployed.deadline):
                return f"it did not answer for {allowed:g} s"
        if self.stop.is_set():
            self._tell("Stopping", "")
        return ""

    def _tell(self, word: Word, reason: str, **changes: object) -> None:
        if word in ("Stopped", "Failed"):
            changes |= {"service": None}
        self._state = replace(self._state, state=word, reason=reason, since=time.time(), **changes)  # type: ignore[arg-type]
        write_state(self._folder, self._state)
        self._say("INFO", f"{word}{': ' + reason if reason else ''}")

    def _say(self, level: str, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as out:
            out.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')},000 {level} easel.deploy: {text}\n")


def child_environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the service: without the options of whoever deployed it, with its token."""
    kept = {key: text for key, text in environ.items() if not key.startswith("EASEL_") and key != "COMMANDLINE_ARGS"}
    token = folder / "token"  # not among the flags, which other users of this machine can read
    return kept | ({"EASEL_TOKEN": token.read_text("ascii").strip()} if token.is_file() else {})


def this_machine() -> ssl.SSLContext:
    """For calls to this machine's own address."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/internal/ping", timeout=_BEAT, context=this_machine()) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GENTLE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(log: Path, start: int, status: int) -> str:
    """Why the service ended: what it said last that sounds like a reason, since it was started."""
    with log.open("rb") as opened:
        opened.seek(max(start, opened.seek(0, os.SEEK_END) - _TAIL))
        lines = [line for line in opened.read().decode("utf-8", "replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("easel: ") or " ERROR " in line or " CRITICAL " in line]
    last = (said or [line for line in lines if "INFO easel.deploy" not in line] or [""])[-1]
    how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{how}: {last}" if last else how


def main() -> int:
    """Supervise the folder that the command line names."""
    supervisor = Supervisor(Path(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop.set())
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
