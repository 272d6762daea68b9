"""The commands that check a `service.json`, deploy it and look after what was deployed."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from easel.deploy.plan import Reading, read_plan
from easel.deploy.ray_plan import on_ray
from easel.deploy.script import words
from easel.deploy.service_file import read_file
from easel.deploy.services import Services
from easel.errors import BadRequest

_DEADLINE = 600.0  # seconds until a service must answer


def run(verb: str, arguments: Sequence[str], text: str | None) -> int:
    """Run a command that `text` describes; the exit status. Errors: those of `Services`, BadRequest."""
    parser = argparse.ArgumentParser(prog=f"easel {verb}", description=text, allow_abbrev=False)
    command = _COMMANDS[verb](parser)
    if verb != "validate":
        root = Path(os.environ.get("EASEL_DEPLOY_ROOT") or Path.home() / "easel-services")
        where = f"where services are kept (or EASEL_DEPLOY_ROOT) [{root}]"
        parser.add_argument("--root", type=Path, default=root, metavar="DIR", help=where)
    return command(parser.parse_args(arguments))


Command = Callable[[argparse.Namespace], int]


def _validate(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("file", type=Path, metavar="FILE", help="the service.json")
    parser.add_argument("--json", action="store_true", help="for programs")

    def command(options: argparse.Namespace) -> int:
        reading = read_plan(read_file(options.file))
        plan = reading.plan
        if options.json:
            found = {"problems": list(map(asdict, reading.problems)), "remarks": list(map(asdict, reading.remarks))}
            print(json.dumps({"valid": plan is not None} | found, indent=1, ensure_ascii=False))
        else:
            _tell(reading)
            if plan is not None:
                print(f"{plan.name}: {plan.edition} edition, easel serve {' '.join(words(plan.flags))}")
        return int(plan is None)

    return command


def _deploy(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("file", type=Path, metavar="FILE", help="the service.json")
    text = "compute on a Ray cluster: the one that this machine is part of, or the one at ADDRESS (HOST:PORT, or local)"
    parser.add_argument("--on", metavar="ray[=ADDRESS]", help=text)
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the service answers")
    text = f"it has failed when it does not answer after so long [{_DEADLINE:g}]"
    parser.add_argument("--deadline", type=float, default=_DEADLINE, metavar="SECONDS", help=text)

    def command(options: argparse.Namespace) -> int:
        if not options.deadline > 0:
            raise BadRequest("must be above 0", field="--deadline", value=options.deadline)
        raw = read_file(options.file)
        where, equals, address = (options.on or "").partition("=")
        if where not in ("", "ray") or (equals and not address):
            raise BadRequest("is unknown", field="--on", value=options.on, allowed="ray, ray=ADDRESS")
        reading = read_plan(raw)
        if where:
            reading = on_ray(reading, raw, address or "auto")
        _tell(reading)
        if reading.plan is None:
            return 1
        services = Services(options.root.absolute())
        deployed, told = services.deploy(reading.plan, raw, options.deadline)
        for text in told:
            print(f"remark   storage: {text}")
        return 0 if options.no_wait else _wait(services, deployed.name)

    return command


def _list(parser: argparse.ArgumentParser) -> Command:
    def command(options: argparse.Namespace) -> int:
        services = Services(options.root.absolute())
        for name in services.names():
            deployed = services.deployed(name)
            print(f"{name}  {services.state(name).state}  {deployed.edition}  {deployed.url}")
        return 0

    return command


def _status(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="for programs")

    def command(options: argparse.Namespace) -> int:
        services = Services(options.root.absolute())
        state, deployed = services.state(options.name), services.deployed(options.name)
        if options.json:
            told = {"name": deployed.name, "edition": deployed.edition, "url": deployed.url} | asdict(state)
            print(json.dumps(told, indent=1, ensure_ascii=False))
        else:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.since))
            print(f"{state.state} since {since}" + (f": {state.reason}" if state.reason else ""))
            print(f"edition  {deployed.edition}\nrestarts {state.restarts}\ndata     {deployed.data_dir}")
        return int(state.state == "Failed")

    return command


def _info(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("--endpoints", action="store_true", required=True, help="addresses and token of a service")
    parser.add_argument("name", metavar="NAME", nargs="?", help="may be left out when there is one service")

    def command(options: argparse.Namespace) -> int:
        services = Services(options.root.absolute())
        names = services.names()
        if options.name is None and len(names) != 1:
            raise BadRequest("which service?", field="NAME", value=None, allowed=", ".join(names) or "none is deployed")
        deployed = services.deployed(options.name or names[0])
        token = services.token(deployed.name)
        page = deployed.edition != "api" and "--nowebui" not in deployed.flags
        print(f"page     {deployed.url}/" if page else "page     none")
        print(f"API      {deployed.url}/sdapi/v1")
        if deployed.edition == "api":
            print(f"input    {deployed.url}/api/predict/{deployed.name}")
            print(f"sink     {deployed.url}/api/predict/{deployed.name}/sink")
        if deployed.edition == "cluster":
            folders = " ".join(
                shlex.quote(flag) for flag in deployed.flags if flag.startswith(("--data-dir=", "--state-dir="))
            )
            print(f"token    each user's own; another one for the operator: easel users token admin {folders}")
        else:
            print(f"token    {token or 'none: anybody may ask'}")
        return 0

    return command


def _logs(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="the last ones [100]")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")

    def command(options: argparse.Namespace) -> int:
        file = Services(options.root.absolute()).folder(options.name) / "service.log"
        with file.open(encoding="utf-8", errors="replace") as opened:
            lines = opened.readlines()
            sys.stdout.writelines(lines[len(lines) - max(0, options.lines) :] if options.lines < len(lines) else lines)
            while options.follow:
                if not (line := opened.readline()):
                    sys.stdout.flush()
                    time.sleep(0.5)
                sys.stdout.write(line)
        return 0

    return command


def _stop(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")

    def command(options: argparse.Namespace) -> int:
        Services(options.root.absolute()).stop(options.name)
        print(f"{options.name}  Stopped")
        return 0

    return command


def _restart(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")

    def command(options: argparse.Namespace) -> int:
        services = Services(options.root.absolute())
        services.restart(options.name)
        return _wait(services, options.name)

    return command


def _scale(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("workers", type=int, metavar="N", help="workers, at most; 0 stops the service")

    def command(options: argparse.Namespace) -> int:
        services = Services(options.root.absolute())
        services.scale(options.name, options.workers)
        return _wait(services, options.name) if options.workers else 0

    return command


def _delete(parser: argparse.ArgumentParser) -> Command:
    parser.add_argument("name", metavar="NAME")

    def command(options: argparse.Namespace) -> int:
        Services(options.root.absolute()).delete(options.name)
        print(f"{options.name}  deleted")
        return 0

    return command


_COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Command]] = {
    "validate": _validate,
    "deploy": _deploy,
    "list": _list,
    "status": _status,
    "info": _info,
    "logs": _logs,
    "stop": _stop,
    "restart": _restart,
    "scale": _scale,
    "delete": _delete,
}


def _tell(reading: Reading) -> None:
    for problem in reading.problems:
        print(f"problem  {problem}")
    for remark in reading.remarks:
        print(f"remark   {remark}")


def _wait(services: Services, name: str) -> int:
    """Tell what becomes of a service, until it runs or has failed."""
    shown = None
    while True:
        state = services.state(name)
        line = f"{name}  {state.state}" + (f": {state.reason}" if state.reason else "")
        if line != shown:
            print(shown := line, flush=True)
        if state.state in ("Running", "Failed", "Stopped"):
            return int(state.state != "Running")
        time.sleep(0.2)
