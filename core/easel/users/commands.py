"""`easel users …`: who may use a service of the cluster edition; works while the service runs."""

# ruff: noqa: T201 -- a command line prints

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

from easel.errors import BadRequest
from easel.settings import Settings, read_settings
from easel.users.account import Account, Limits
from easel.users.accounts import Accounts
from easel.users.homes import Homes

_LIMITS: Mapping[str, str] = {
    "jobs_waiting": "jobs in line at once",
    "jobs_hour": "jobs within an hour",
    "jobs_day": "jobs within a day",
    "work_day": "megapixel-steps within a day: pixels x steps / 1,000,000 of all pictures",
    "storage_mb": "megabytes of the user's folder and uploads",
}


def run(words: Sequence[str]) -> int:
    """One command; flags of the service (--data-dir, --state-dir) follow."""
    options, rest = _parser().parse_known_args(words)
    settings = read_settings([*rest, "--edition", "cluster"], os.environ)
    accounts = Accounts(settings.state_dir)
    try:
        _VERBS[options.verb](accounts, settings, options)
    finally:
        accounts.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    epilog = "flags of the service (--data-dir, --state-dir) follow"
    parser = argparse.ArgumentParser(
        prog="easel users", description="Who may use a service of the cluster edition.", epilog=epilog
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def add(verb: str, text: str, *, named: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(verb, help=text, description=text, epilog=epilog, allow_abbrev=False)
        if named:
            made.add_argument("name", metavar="NAME")
        return made

    new = add("add", "make a user; prints their token, which is kept nowhere")
    new.add_argument("--admin", action="store_true", help="an operator of the service")
    new.add_argument(
        "--password", action="store_true", help="with a password too, which is asked for (or read from a pipe)"
    )
    add("list", "all users, their rights and limits", named=False)
    add("token", "give a user another token; the one before counts no more")
    add("password", "give a user a password, which is asked for (or read from a pipe)")
    add("disable", "shut a user out, at once")
    add("enable", "let a user in again")
    add("remove", "forget a user; their folder stays")
    quota = add("quota", "limit what a user may take (0: any amount), or show the limits")
    for name, text in _LIMITS.items():
        quota.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=text)
    return parser


def _add(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    password = _asked() if options.password else ""
    token = accounts.add(options.name, admin=options.admin, password=password)
    home = Homes(settings).settings_of(options.name).data_dir
    print(f"made {'the operator' if options.admin else 'the user'} {options.name}; their files: {home}\ntoken {token}")


def _list(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    for one in accounts.all():
        left_out = f"; without {', '.join(sorted(one.left_out))}" if one.left_out else ""
        print(f"{one.name:<20} {_rights(one):<18} {one.limits.in_words}{left_out}")


def _rights(one: Account) -> str:
    return ("admin" if one.admin else "member") + ("" if one.enabled else ", disabled")


def _token(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    print(f"token {accounts.new_token(options.name)}")


def _password(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    accounts.set_password(options.name, _asked())
    print(f"{options.name} has another password; whoever was logged in must do so again")


def _disable(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    accounts.enable(options.name, False)
    print(f"{options.name} is shut out")


def _enable(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    accounts.enable(options.name, True)
    print(f"{options.name} is let in")


def _remove(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    accounts.remove(options.name)
    print(f"{options.name} is forgotten; their files stay in {settings.data_dir / 'users' / options.name}")


def _quota(accounts: Accounts, settings: Settings, options: argparse.Namespace) -> None:
    account = accounts.find(options.name)
    limits = account.limits if account else Limits()
    given = {one.name: value for one in fields(Limits) if (value := getattr(options, one.name)) is not None}
    if given or account is None:
        accounts.limit(options.name, limits := replace(limits, **given))
    print(f"{options.name}: {limits.in_words}")


def _asked() -> str:
    """A password: typed twice, or the first line of a pipe. Errors: BadRequest."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        raise BadRequest("the two are not the same", field="password", value="…")
    return password


_VERBS: Mapping[str, Callable[[Accounts, Settings, argparse.Namespace], None]] = {
    "add": _add,
    "list": _list,
    "token": _token,
    "password": _password,
    "disable": _disable,
    "enable": _enable,
    "remove": _remove,
    "quota": _quota,
}
