"""What a `service.json` asks for, in this program's words; and everything in it that contradicts something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from easel.deploy.script import BASE, Flag, read_script, with_paths, words, wrong_flags
from easel.deploy.service_file import Container, Metadata, Note, ServiceFile, Storage, read_service, without_effect
from easel.deploy.workers import worker_flags, worker_problems, worker_remarks
from easel.errors import SettingsError
from easel.settings import Settings, read_settings

RUNNABLE = ("standard", "api", "serverless")
_SUFFIXES = {"-standard": "standard", "-api": "api", "-cluster": "cluster", "-cluster-webui": "cluster"}
_TASK = 2 * 8192  # bytes of memory for a task and its result


@dataclass(frozen=True, slots=True)
class Mount:
    """One storage: `source` is a folder of this machine, `host:/path` (NFS) or an `oss://` address."""

    path: Path
    kind: str
    source: str
    read_only: bool
    endpoint: str = ""  # of a bucket that the service's supervisor reads and writes


@dataclass(frozen=True, slots=True)
class Plan:
    """A service as it is to run. `flags` are those of `easel serve`, paths as the file has them."""

    name: str
    edition: str
    flags: tuple[Flag, ...]
    mounts: tuple[Mount, ...]
    data_dir: Path | None  # None: no storage, a folder of the service's own
    token: str | None  # None: one is made
    settings: Settings


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file: the plan where nothing is wrong, the problems, and what is worth knowing."""

    plan: Plan | None
    problems: tuple[Note, ...]
    remarks: tuple[Note, ...]


def read_plan(raw: object) -> Reading:
    """Read a whole `service.json` (parsed JSON); never raises for what stands in it."""
    file, problems = read_service(raw)
    remarks = list(without_effect(file))
    metadata = file.metadata
    containers = [one for one in file.containers or [] if one]
    container = containers[0] if containers else Container()
    if len(file.containers or []) != 1:
        problems.append(Note("containers", "must be a list of one container", len(file.containers or [])))
    if metadata.name is None and not _told(problems, "metadata.name"):
        problems.append(Note("metadata.name", "is missing: every service has a name of its own"))
    before = len(problems)
    script = _flags(container, problems)
    port_is_known = script and not any("--port:" in one.text for one in problems[before:])
    edition = _edition(file, container, script, problems)
    problems += _storage_problems(file, edition)
    script = tuple(flag for flag in script if flag.name != "--edition")
    settings = _settings(script, problems)
    problems += _contradictions(metadata, edition, settings)
    problems += worker_problems(file, settings)
    if port_is_known and container.port not in (None, settings.bind_port):
        given = "--port" if settings.port is not None else "the script's default --port"
        text = f"does not match {given} {settings.bind_port}"
        problems.append(Note("containers[0].port", text, container.port))
    data_dir = _data_dir(file, settings, problems)
    remarks += _remarks(file, container, edition, settings)
    if problems or metadata.name is None:
        return Reading(None, tuple(problems), tuple(remarks))
    mounts = tuple(_mount(one) for one in file.storage or [] if one)
    flags = (*(flag for flag in script if flag.name != "--token"), *_derived(file, edition, settings))
    return Reading(Plan(metadata.name, edition, flags, mounts, data_dir, settings.token, settings), (), tuple(remarks))


def _told(problems: list[Note], path: str) -> bool:
    return any(one.path == path or one.path.startswith((path + ".", path + "[")) for one in problems)


def _flags(container: Container, problems: list[Note]) -> tuple[Flag, ...]:
    key = "command" if container.script is None and container.command is not None else "script"
    here, line = f"containers[0].{key}", container.script or container.command
    if container.script and container.command:
        problems.append(Note("containers[0].command", "is the same as script: give one of them", container.command))
    if not line:
        if not _told(problems, "containers"):
            problems.append(Note(here, "is missing: the ./webui.sh line that starts the service"))
        return ()
    try:
        flags = read_script(line)
    except SettingsError as error:
        problems.append(Note(here, error.message, line))
        return ()
    wrong = wrong_flags(flags)
    problems += [Note(here, text, " ".join(flag.words)) for flag, text in wrong]
    return with_paths([flag for flag in flags if flag not in [one for one, _ in wrong]], lambda path: BASE / path)


def _edition(file: ServiceFile, container: Container, script: tuple[Flag, ...], problems: list[Note]) -> str:
    """metadata.edition, else the image's suffix, else what the type says; the script may only say the same."""
    metadata, tag = file.metadata, (container.image or "").rpartition(":")[2]
    tagged = next((edition for suffix, edition in _SUFFIXES.items() if tag.endswith(suffix)), None)
    said = next((flag.values[0] for flag in reversed(script) if flag.name == "--edition" and flag.values), None)
    edition = metadata.edition or tagged or said or ("api" if metadata.type else "standard")
    if said not in (None, edition):
        problems.append(Note("containers[0].script", f"--edition contradicts the edition {edition} of the file", said))
    if metadata.type and edition != "api":
        source = "metadata.edition" if metadata.edition else "containers[0].image" if tagged else "containers[0].script"
        problems.append(
            Note("metadata.type", f"only the api edition is asynchronous; {source} says {edition}", "Async")
        )
    return edition


def _settings(script: tuple[Flag, ...], problems: list[Note]) -> Settings:
    try:
        return read_settings(words(script), {})
    except SettingsError as error:
        problems.append(Note("containers[0].script", error.message))
        return Settings()


def _storage_problems(file: ServiceFile, edition: str) -> Iterator[Note]:
    seen: dict[str, int] = {}
    for number, one in enumerate(file.storage or []):
        here = f"storage[{number}]"
        if one is None:
            continue
        if one.kind not in ("local", "nfs", "oss"):
            text = f"names {len(one.kind.split('+'))} storages" if one.kind else "names no storage"
            yield Note(here, f"{text}; exactly one of these", one.kind or None, "local, nfs, oss")
        if one.oss and one.oss.endpoint and find_spec("s3fs") is None:
            text = "needs a package that is missing: pip install 'easel-studio[s3]'"
            yield Note(f"{here}.oss.endpoint", text, one.oss.endpoint)
        first = seen.setdefault(str(Path(one.mount_path)), number)
        if first != number:
            text = f"two storages on one mount path: storage[{first}] is there already; delete one of them"
            yield Note(f"{here}.mount_path", text, one.mount_path)
    if edition in ("api", "cluster") and not any(file.storage or []):
        yield Note("storage", f"is missing: the {edition} edition keeps models and results in a storage")


def _contradictions(metadata: Metadata, edition: str, settings: Settings) -> Iterator[Note]:
    if settings.port == 0:
        yield Note("containers[0].script", "a service needs a port of its own", "--port 0", "1 to 65535")
    if metadata.enable_webservice and edition == "api":
        yield Note("metadata.enable_webservice", "the api edition has no page: delete this key", True)
    elif metadata.enable_webservice and settings.nowebui:
        yield Note("metadata.enable_webservice", "contradicts --nowebui in containers[0].script", True)
    rpc = metadata.rpc and metadata.rpc.worker_threads
    if rpc and "worker_threads" in settings.given and settings.worker_threads != rpc:
        yield Note("metadata.rpc.worker_threads", f"contradicts --worker-threads {settings.worker_threads}", rpc)
    if metadata.name and "service_name" in settings.given and settings.service_name != metadata.name:
        yield Note("metadata.name", f"contradicts --service-name {settings.service_name}", metadata.name)
    if edition == "api" and not settings.api:
        yield Note("containers[0].script", "--no-api leaves the api edition nothing to serve")


def _data_dir(file: ServiceFile, settings: Settings, problems: list[Note]) -> Path | None:
    """The folder of models and pictures as the script knows it; None: the service has no storage."""
    mounts = {Path(one.mount_path): number for number, one in enumerate(file.storage or []) if one}
    if "data_dir" in settings.given:
        data = settings.data_dir
        if mounts and data not in mounts:
            text = f"--data-dir {data} is no mount path of storage: pictures would not be kept"
            problems.append(Note("containers[0].script", text, str(data), ", ".join(map(str, mounts))))
            return data
    elif len(mounts) > 1:
        text = "there are several storages: --data-dir must say which one holds models and pictures"
        problems.append(Note("containers[0].script", text, None, ", ".join(map(str, mounts))))
        return None
    elif not mounts:
        return None
    else:
        data = next(iter(mounts))
    if data in mounts:
        one = (file.storage or [])[mounts[data]]
        if one and _mount(one).read_only:
            here = f"storage[{mounts[data]}].{one.kind}.readOnly"
            problems.append(Note(here, f"models and pictures are written to {data}, so it cannot be read-only", True))
    return data


def _mount(one: Storage) -> Mount:
    part = one.local or one.nfs or one.oss
    server = one.nfs.server if one.nfs else None
    source = (f"{server}:" if server else "") + (part.path if part else "")
    endpoint = (one.oss and one.oss.endpoint) or ""
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    return Mount(Path(one.mount_path), one.kind, source, bool(part and part.readOnly), endpoint)


def _derived(file: ServiceFile, edition: str, settings: Settings) -> Iterator[Flag]:
    """The flags that the rest of the file stands for."""
    metadata, queue = file.metadata, file.queue
    yield Flag("--edition", (edition,))
    yield Flag("--service-name", (metadata.name or "",))
    yield Flag("--port", (str(settings.bind_port),))
    if edition != "api" and not metadata.enable_webservice and not settings.nowebui:
        yield Flag("--nowebui")
    if metadata.rpc and metadata.rpc.worker_threads:
        yield Flag("--worker-threads", (str(metadata.rpc.worker_threads),))
    if queue and queue.max_delivery and "max_delivery" not in settings.given:
        yield Flag("--max-delivery", (str(queue.max_delivery),))
    if queue and queue.memory and "queue_max_length" not in settings.given:
        yield Flag("--queue-max-length", (str((queue.memory << 20) // _TASK),))
    yield from worker_flags(file, settings)


def _remarks(file: ServiceFile, container: Container, edition: str, settings: Settings) -> Iterator[Note]:
    metadata, line = file.metadata, "containers[0].script"
    if edition not in RUNNABLE:
        yield Note("metadata.edition", f"the {edition} edition is not available yet: it can be validated, not deployed")
    yield from worker_remarks(file)
    if file.queue and edition != "api":
        yield Note("queue", f"has no effect: the {edition} edition has no queue")
    if edition in ("standard", "cluster", "serverless") and not metadata.enable_webservice:
        yield Note("metadata.enable_webservice", "is not true, so there is no page")
    if edition == "api" and not settings.nowebui:
        yield Note(line, "--nowebui is missing; the api edition has no page in any case")
    if edition == "api" and settings.filebrowser:
        yield Note(line, "--filebrowser is unusual in the api edition: the file manager is a page for people")
    if edition == "api" and not settings.time_log:
        yield Note(line, "--time-log is missing: it tells where the time of a picture went")
    if not any(file.storage or []):
        yield Note("storage", "there is none: models and pictures are deleted with the service")
    if not settings.listen and settings.server_name is None:
        yield Note(line, "--listen is missing: only programs of this machine reach the service")
    if container.image:
        yield Note("containers[0].image", "is not pulled: the Easel that is installed here runs", container.image)
    for remark in settings.remarks():
        yield Note(line, remark)
