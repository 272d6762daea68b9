"""The deployed services of one root folder: make one, find one, start, stop and delete it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from easel.deploy.bucket import BucketPlace
from easel.deploy.plan import Mount, Plan
from easel.deploy.records import Deployed, Process, State, read_deployed, read_state, write_json, write_state
from easel.deploy.script import Flag, with_paths, words
from easel.deploy.service_file import NAME
from easel.deploy.supervisor import this_machine
from easel.errors import BadRequest, Conflict, EaselError, NotFound
from easel.settings import Settings, read_settings

MOST = 1024  # workers
_ANSWER = 30.0  # seconds
_PATIENCE = 60.0  # seconds that a supervisor gets to stop its service; it kills after half of that


@dataclass(frozen=True, slots=True)
class Services:
    """All services below `root`."""

    root: Path

    def names(self) -> list[str]:
        """Every service, by name."""
        folder = self.root / "services"
        return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []

    def folder(self, name: str) -> Path:
        """The folder of a service. Errors: NotFound."""
        folder = self.root / "services" / name
        if not re.match(NAME, name) or not folder.is_dir():
            known = ", ".join(self.names()) or "none"
            raise NotFound(f"there is no service {name!r} below {self.root}; there are: {known}")
        return folder

    def state(self, name: str) -> State:
        """What has become of a service."""
        return read_state(self.folder(name))

    def deployed(self, name: str) -> Deployed:
        """How it is started, and where it answers."""
        return read_deployed(self.folder(name))

    def token(self, name: str) -> str | None:
        """What its clients send; None: anybody may ask."""
        file = self.folder(name) / "token"
        return file.read_text("ascii").strip() if file.is_file() else None

    def deploy(self, plan: Plan, raw: object, deadline: float) -> tuple[Deployed, list[str]]:
        """Make a service and start it; the words are what to know of its storages.

        Errors: Conflict (name, port or mount path is taken), EaselError (folders).
        """
        with self._changing():
            folder = self.root / "services" / plan.name
            if folder.exists():
                raise Conflict(f"there is a service {plan.name!r} already; delete it first, or choose another name")
            self._refuse_taken_port(plan.settings)
            ours = {str(one.path) for one in plan.mounts if not one.path.exists()} | self._links()
            try:
                mapping, told = self._mounted(plan.mounts)
                links = tuple(str(one) for one in mapping if str(one) in ours and one.is_symlink())
                data = mapping[plan.data_dir] if plan.data_dir in mapping else folder / "data"
                folder.mkdir(parents=True, mode=0o700)
                deployed = _deployed(plan, mapping, data, folder, deadline)
                deployed = replace(deployed, buckets=self._buckets(plan), links=links)
                write_json(folder / "service.json", raw)
                write_json(folder / "deployed.json", asdict(deployed))
                if not plan.settings.no_auth and plan.edition != "cluster":  # whose users have their own
                    with os.fdopen(
                        os.open(folder / "token", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii"
                    ) as out:
                        out.write((plan.token or secrets.token_urlsafe(32)) + "\n")
                _start(folder)
            except (OSError, UnicodeError, EaselError) as error:
                shutil.rmtree(folder, ignore_errors=True)
                self._drop_links(ours)
                if isinstance(error, EaselError):
                    raise
                raise EaselError(f"the service cannot be written to {folder}: {error}") from error
            return deployed, told

    def stop(self, name: str) -> None:
        """End it gently; its folder stays."""
        folder = self.folder(name)
        with self._changing():
            _stop(folder)

    def restart(self, name: str) -> None:
        """Stop it if it runs, and start it."""
        folder = self.folder(name)
        with self._changing():
            _stop(folder)
            _start(folder)

    def delete(self, name: str) -> None:
        """Stop it and remove its folder: log, queue and, where it has no storage, its pictures. Storages stay.

        Links at mount paths go with the last service that has them.
        """
        folder = self.folder(name)
        with self._changing():
            _stop(folder)
            links = self._links()
            shutil.rmtree(folder)
            self._drop_links(links)

    def scale(self, name: str, workers: int) -> None:
        """So many workers, at most where their number follows the backlog; 0 stops the service.

        A service that runs is told, without a restart. Errors: BadRequest, EaselError (it does not answer).
        """
        if not 0 <= workers <= MOST:
            raise BadRequest("is not possible", field="N", value=workers, allowed=f"0 (stop) to {MOST}")
        if workers == 0:
            self.stop(name)
            return
        folder = self.folder(name)
        with self._changing():
            deployed = read_deployed(folder)
            write_json(folder / "deployed.json", asdict(replace(deployed, flags=_resized(deployed.flags, workers))))
        if self.state(name).state in ("Stopped", "Failed"):
            self.restart(name)
        else:
            self._tell_workers(deployed, workers)

    def _tell_workers(self, deployed: Deployed, workers: int) -> None:
        token = self.token(deployed.name)
        call = urllib.request.Request(
            f"{deployed.url}/easel/v1/workers",
            json.dumps({"workers": workers}).encode(),
            {"Content-Type": "application/json"} | ({"Authorization": token} if token else {}),
        )
        try:
            with urllib.request.urlopen(call, timeout=_ANSWER, context=this_machine()):
                pass
        except OSError as error:
            again = f"easel restart {deployed.name} has it begin with {workers}"
            raise EaselError(f"the service {deployed.name!r} did not take the number ({error}); {again}") from error

    def _refuse_taken_port(self, settings: Settings) -> None:
        owners = [name for name in self.names() if self.deployed(name).port == settings.bind_port]
        if owners:
            raise Conflict(f"port {settings.bind_port} belongs to the service {owners[0]!r}; choose another --port")
        try:
            with socket.create_server((settings.host, settings.bind_port)):
                pass
        except OSError as error:
            raise Conflict(f"port {settings.bind_port} cannot be used: {error.strerror}") from error

    def _links(self) -> set[str]:
        """The mount paths that were made for services."""
        found: set[str] = set()
        for name in self.names():
            with suppress(EaselError):  # a damaged record, which only deleting mends
                found.update(self.deployed(name).links)
        return found

    def _drop_links(self, links: set[str]) -> None:
        """Remove those that no service has."""
        for link in map(Path, links - self._links()):
            if link.is_symlink():
                link.unlink()

    def _mounted(self, mounts: tuple[Mount, ...]) -> tuple[dict[Path, Path], list[str]]:
        """Where each mount path really is, and what to know of it."""
        mapping, told = {}, []
        for mount in mounts:
            mapping[mount.path], words_ = self._mount(mount)
            told += words_
        return mapping, told

    def _mount(self, mount: Mount) -> tuple[Path, list[str]]:
        here, source = mount.path, self._folder_of(mount)
        mounted = os.path.ismount(here) or (here.is_dir() and not here.is_symlink())
        if mount.kind != "local" and not mount.endpoint and mounted:
            return here, []  # by the operator
        try:
            if not mount.read_only:
                source.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EaselError(f"the storage {source} cannot be made: {error.strerror}") from error
        told = [] if mount.kind == "local" else [f"{mount.source} is not mounted at {here}: {source} stands for it"]
        if mount.endpoint:
            told = [f"{mount.source} is copied to {source}, and what changes there back to it"]
            told = [f"{mount.source} is copied to {source}"] if mount.read_only else told
        if not source.is_dir() and mount.kind == "local":
            raise BadRequest("there is no such folder", field="storage.local.path", value=mount.source)
        source.mkdir(parents=True, exist_ok=True)
        if here.exists():
            if not here.samefile(source):
                raise Conflict(f"the mount path {here} exists and is not {source}; remove it, or choose another one")
            return here, told
        try:
            here.parent.mkdir(parents=True, exist_ok=True)
            if here.is_symlink():
                here.unlink()  # what it led to is gone
            here.symlink_to(source, target_is_directory=True)
        except OSError:
            return source, [*told, f"{here} cannot be made here: {source} is what requests and answers call {here}"]
        return here, told

    def _folder_of(self, mount: Mount) -> Path:
        """The folder of this machine that is the storage, or stands for it."""
        if mount.kind == "local":
            return Path(mount.source)
        below = re.sub(r"[^A-Za-z0-9._-]+", "_", mount.source.removeprefix("oss://")).strip("._") or "root"
        return self.root / "storage" / f"{mount.kind}-{below}"

    def _buckets(self, plan: Plan) -> tuple[BucketPlace, ...]:
        return tuple(
            BucketPlace(one.source, one.endpoint, str(self._folder_of(one)), one.read_only)
            for one in plan.mounts
            if one.endpoint
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EaselError(f"{self.root} cannot be written: {error.strerror}; name another --root") from error
        with os.fdopen(lock, "w"):
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _deployed(plan: Plan, mapping: dict[Path, Path], data: Path, folder: Path, deadline: float) -> Deployed:
    def real(path: Path) -> Path:
        for mount, place in mapping.items():
            if path.is_relative_to(mount):
                return place / path.relative_to(mount)
        return path

    settings = plan.settings
    kept = [flag for flag in plan.flags if flag.name not in ("--data-dir", "--state-dir")]
    state = real(settings.state_dir) if "state_dir" in settings.given else folder / "state"
    flags = [*with_paths(kept, real), Flag("--data-dir", (str(data),)), Flag("--state-dir", (str(state),))]
    if plan.data_dir and plan.data_dir != data:
        flags.append(Flag("--mount-path", (str(plan.data_dir),)))
    if locked := [str(mount.path) for mount in plan.mounts if mount.read_only]:
        flags.append(Flag("--read-only", tuple(locked)))
    scheme = "https" if settings.tls_certfile else "http"
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
    prefix = (settings.subpath or "").strip("/")
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.bind_port}/{prefix}".rstrip("/")
    return Deployed(plan.name, plan.edition, tuple(words(flags)), url, settings.bind_port, str(data), deadline)


def _resized(flags: tuple[str, ...], workers: int) -> tuple[str, ...]:
    """The flags with another greatest number of workers, and no more of them kept than that."""
    settings = read_settings(flags, {})
    kept = [flag for flag in flags if not flag.startswith(("--workers=", "--min-workers="))]
    least = settings.min_workers
    if least is not None:
        least = workers if least == settings.workers else min(least, workers)
        kept.append(f"--min-workers={least}")
    return (*kept, f"--workers={workers}")


def _start(folder: Path) -> None:
    """Start the supervisor of a service, in a session of its own so that it outlives this terminal."""
    write_state(folder, State("Creating", reason="its supervisor starts"))
    with os.fdopen(os.open(folder / "service.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as out:
        started = subprocess.Popen(
            [sys.executable, "-P", "-m", "easel.deploy.supervisor", folder.absolute()],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    write_state(folder, State("Creating", supervisor=Process.of(started.pid)))
    started.returncode = 0  # it is to outlive this process, which therefore does not wait for it


def _stop(folder: Path) -> None:
    """End supervisor and service; what a killed supervisor left behind, too."""
    state = read_state(folder)
    if (supervisor := state.supervisor) is not None and supervisor.alive:
        supervisor.send(signal.SIGTERM)
        if not _gone(supervisor):
            supervisor.send(signal.SIGKILL)
            _gone(supervisor)
        state = read_state(folder)
    if (service := state.service) is not None and service.alive:
        service.send(signal.SIGTERM)
        if not _gone(service):
            service.send(signal.SIGKILL)
            _gone(service)
    if state.state != "Stopped":
        write_state(folder, State("Stopped"))


def _gone(process: Process) -> bool:
    until = time.monotonic() + _PATIENCE
    while process.alive and time.monotonic() < until:
        time.sleep(0.05)
    return not process.alive
