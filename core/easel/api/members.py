"""Who may call a service with users: each by their token or password, or by the cookie that `/login` gave for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from easel.api.passes import WRONG, basic
from easel.errors import Forbidden, Unauthorized
from easel.users.account import Account
from easel.users.accounts import Accounts
from easel.users.attempts import Attempts
from easel.users.passwords import Passwords
from easel.values.user import User


@dataclass(frozen=True, slots=True, repr=False)
class Members:
    """What opens a service with users. Every call looks anew, so that who is shut out is out at once."""

    accounts: Accounts
    passwords: Passwords = field(default_factory=Passwords)
    guesses: Attempts = field(default_factory=lambda: Attempts(allowed=10))  # of one name, from one address
    callers: Attempts = field(default_factory=lambda: Attempts(allowed=100))  # of any name, from one address

    @property
    def open(self) -> bool:
        """Never: everybody says who they are."""
        return False

    @property
    def epoch(self) -> tuple[str, ...]:
        """What cookies are tied to: each has its user's own stamp."""
        return ("users",)

    @classmethod
    def of(cls, accounts: Accounts) -> Members:
        """The members; where there are none yet an operator is made, whose token is printed this once."""
        if not accounts.all():
            token = accounts.add("admin", admin=True)
            told = f"This service has its first user, the operator 'admin'. Their token, told only once: {token}"
            print(told, flush=True)  # noqa: T201
        return cls(accounts)

    def check(self, header: str, address: str) -> User:
        """Whose `Authorization` header that is. Errors: Unauthorized, JobRefused (too many wrong ones)."""
        header = header.strip()
        scheme, _, rest = header.partition(" ")
        if not header:
            raise Unauthorized
        if scheme.lower() == "basic":
            return self._account(*basic(rest), address).user
        return self._let_in(self.accounts.of_token(header) or self.accounts.of_token(rest.strip())).user

    def log_in(self, name: str, password: str, address: str) -> str:
        """What the cookie of a login form says; a token alone is enough. Errors: those of `check`."""
        account = self._account(name, password, address)
        return f"{account.name} {account.stamp}"

    def of_cookie(self, said: str) -> User | None:
        """Whom a cookie means; None when they are shut out, or got another password or token since."""
        name, _, stamp = said.partition(" ")
        account = self.accounts.find(name)
        return account.user if account and account.enabled and account.stamp == stamp else None

    def known(self, user: User) -> User:
        """The user that an extension has named, as they are here. Errors: Unauthorized, Forbidden."""
        return self._let_in(self.accounts.find(user.name)).user

    def stays(self, user: User) -> bool:
        """Are they still welcome?"""
        account = self.accounts.find(user.name)
        return account is not None and account.enabled and account.admin == user.admin

    def _account(self, name: str, password: str, address: str) -> Account:
        """By name and password; a token stands for the password of its user, or of no name."""
        if (found := self.accounts.of_token(password)) is not None and name.strip() in ("", found.name):
            return self._let_in(found)
        if not password:
            raise Unauthorized(WRONG)  # nobody's
        self.guesses.check(f"{address} {name}")
        self.callers.check(address)
        if not self.passwords.same(password, self.accounts.password_of(name)):
            self.guesses.failed(f"{address} {name}")
            self.callers.failed(address)
            raise Unauthorized(WRONG)
        self.guesses.succeeded(f"{address} {name}")
        return self._let_in(self.accounts.find(name))

    @staticmethod
    def _let_in(account: Account | None) -> Account:
        if account is None:
            raise Unauthorized(WRONG)
        if not account.enabled:
            raise Forbidden("an operator of this service has shut you out")
        return account
