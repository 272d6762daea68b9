"""The one way out: fetch what a URL names, from the public internet only, bounded in bytes and seconds.

A host's name is resolved once, every address is checked, and the checked address is the one connected to; a redirect
is a fresh URL and checked anew. No proxy, no cookies, no credentials. Private, loopback, link-local and metadata
addresses are refused in every spelling, unless the operator allows them (`--fetch-allow`).
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from easel.egress import EgressLog
from easel.errors import BadRequest, EaselError, Forbidden, TooLarge

log = logging.getLogger("easel.fetch")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_CHUNK = 1 << 16
_LONGEST_URL = 8192
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body, and the media type the server called it."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches bodies of at most `max_bytes` within `timeout` seconds in all, redirects included.

    `allow` names hosts (`oss.internal`, `*.internal`) and networks (`10.0.0.0/8`, `127.0.0.1`) that may be private.
    """

    allow: Collection[str] = ()
    max_bytes: int = 64 << 20
    timeout: float = 20.0
    user_agent: str = "easel"
    hosts: Collection[str] | None = None  # no others (`example.org`, `*.example.org`); None: any
    offline: bool = False  # nothing is fetched
    attempts: EgressLog | None = None  # where every attempt is noted
    by: str = ""  # the extension that asks; "": a request
    put: str = "send the file itself (base64) instead of a URL"  # what to do without a network

    def fetch(self, url: str, *, field: str = "url") -> Fetched:
        """The body behind `url`. Errors: BadRequest naming `field` (refused, failed), TooLarge."""
        try:
            if self.offline:
                raise Forbidden(f"{field}: this service is offline (--offline) and fetches nothing; {self.put}")
            found = self._fetch(url, field)
        except EaselError as error:
            refused = isinstance(error, Forbidden) or "cannot be fetched" not in error.message
            self._note(url, "refused" if refused else "failed", field)
            raise
        self._note(url, "made", field)
        return found

    def _note(self, url: str, outcome: Literal["made", "failed", "refused"], field: str) -> None:
        if self.attempts is not None:
            self.attempts.note(url, outcome, self.by or field, self.put)

    def _fetch(self, url: str, field: str) -> Fetched:
        until = time.monotonic() + self.timeout
        for _ in range(_MOST_REDIRECTS + 1):
            parts = _read(url, field)
            self._refuse_other_hosts(parts.hostname or "", field)
            log.info("fetching %s://%s%s", parts.scheme, parts.netloc, parts.path)  # a query may hold a signature
            try:
                with self._open(parts, until, field) as response:
                    if response.status in _REDIRECTS and (target := response.getheader("Location")):
                        url = urljoin(url, target)
                        continue
                    fetched = self._body(response, field)
                    _left(until)  # a connection that the watchdog ended may look like a body that was short
                    return fetched
            except (OSError, http.client.HTTPException, ValueError) as error:
                if time.monotonic() >= until:
                    raise BadRequest(f"took longer than {self.timeout:g} s", field=field, value=url) from error
                raise BadRequest(f"cannot be fetched ({type(error).__name__})", field=field, value=url) from error
        raise BadRequest("redirects too often", field=field, value=url, allowed=f"up to {_MOST_REDIRECTS} redirects")

    def _refuse_other_hosts(self, host: str, field: str) -> None:
        if self.hosts is not None and not any(_is_named(rule, host) for rule in self.hosts):
            raise BadRequest("is not allowed", field=field, value=host, allowed=", ".join(self.hosts) or "no host")

    def _body(self, response: http.client.HTTPResponse, field: str) -> Fetched:
        if response.status != 200:
            raise BadRequest(f"cannot be fetched (status {response.status})", field=field)
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise BadRequest("comes compressed, which was not asked for", field=field)
        allowed = f"up to {self.max_bytes} bytes"
        if (response.length or 0) > self.max_bytes:
            raise TooLarge("what it names is too large", field=field, value=response.length, allowed=allowed)
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self.max_bytes:
                raise TooLarge("what it names is too large", field=field, value="more", allowed=allowed)
        if response.length:  # the server said there would be more
            raise http.client.IncompleteRead(b"", response.length)
        return Fetched(bytes(data), response.headers.get_content_type())

    @contextmanager
    def _open(self, parts: SplitResult, until: float, field: str) -> Iterator[http.client.HTTPResponse]:
        """The answer of the server at an address that was checked; its socket ends at `until`, however it drips."""
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = self._address(host, port, field, until)
        link = _connect(address, port, until)
        watched = link.dup()  # the same connection, whatever TLS makes of `link`
        watchdog = threading.Timer(_left(until), _shut_down, (watched,))
        watchdog.daemon = True
        watchdog.start()
        try:
            if parts.scheme == "https":
                link = ssl.create_default_context().wrap_socket(link, server_hostname=host)
            connection = http.client.HTTPConnection(host, port)
            connection.sock = link
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Host": parts.netloc, "User-Agent": self.user_agent, "Accept-Encoding": "identity"}
            connection.request("GET", target, headers=headers)
            with connection.getresponse() as response:
                yield response
        finally:
            watchdog.cancel()
            watched.close()
            link.close()

    def _address(self, host: str, port: int, field: str, until: float) -> Address:
        """Where to connect; every address the name has must be allowed. Errors: BadRequest, OSError."""
        addresses = _resolve(host, port, until)
        for address in addresses:
            if not self._allowed(host, address):
                raise BadRequest(
                    "names a host that is not on the public internet", field=field, value=host,
                    allowed="public hosts, and those of --fetch-allow",
                )  # fmt: skip
        return addresses[0]

    def _allowed(self, host: str, address: Address) -> bool:
        return all(_is_public(one) for one in _faces(address)) or any(_matches(r, host, address) for r in self.allow)


def _read(url: str, field: str) -> SplitResult:
    """The parts of a URL that may be fetched. Errors: BadRequest."""
    allowed = "http:// or https:// and a host"
    if len(url) > _LONGEST_URL or any(not 32 < ord(letter) < 127 for letter in url):
        raise BadRequest("no usable URL", field=field, value=url, allowed=f"{allowed}, in ASCII")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise BadRequest("no usable URL", field=field, value=url, allowed=allowed) from error
    if not usable or "@" in parts.netloc:
        raise BadRequest("no usable URL", field=field, value=url, allowed=allowed)
    return parts


def _resolve(host: str, port: int, until: float) -> list[Address]:
    """The addresses of a host; the system's resolver knows no time limit, so it works in a thread that may be left."""
    found: list[Address] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else OSError(str(error)))
        else:
            found.extend(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in answers))

    thread = threading.Thread(target=look_up, name="easel-resolve", daemon=True)
    thread.start()
    thread.join(_left(until))
    if not found:
        raise failed[0] if failed else TimeoutError("the name was not resolved in time")
    return list(found)


def _connect(address: Address, port: int, until: float) -> socket.socket:
    """A connection to just this address; no name is looked up again."""
    link = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        link.settimeout(_left(until))
        link.connect((str(address), port))
    except BaseException:
        link.close()
        raise
    return link


def _faces(address: Address) -> list[Address]:
    """An address, and those that are wrapped in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        wrapped.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    inside: list[Address] = [one for one in wrapped if one is not None]
    return inside if address.ipv4_mapped else [address, *inside]


def _is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or getattr(address, "is_site_local", False))


def _is_named(rule: str, host: str) -> bool:
    host, rule = host.lower().rstrip("."), rule.lower()
    return host.endswith(rule[1:]) if rule.startswith("*.") else host == rule


def _matches(rule: str, host: str, address: Address) -> bool:
    host = host.lower().rstrip(".")
    if rule.startswith("*."):
        return host.endswith(rule[1:].lower())
    try:
        network = ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return host == rule.lower()
    return any(one in network for one in _faces(address))


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return left


def _shut_down(link: socket.socket) -> None:
    with suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
