"""The guarded fetcher against a hostile server on this machine, and against every spelling of an inner address."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from easel.errors import BadRequest, TooLarge
from easel.fetching import Fetcher

OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nhello"
LOCAL = ("127.0.0.1",)


@dataclass
class Hostile:
    """Answers every connection with `answer`, once the request's head was read."""

    port: int
    heads: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/a.png?signature=secret", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(answer: Callable[[socket.socket], None] | bytes) -> Iterator[Hostile]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Hostile(listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with link:
                server.heads.append(link.recv(65536))
                with suppress(OSError):  # the fetcher may hang up
                    link.sendall(answer) if isinstance(answer, bytes) else answer(link)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def redirect(target: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_body_and_its_type(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "easel.fetch"), serving(OK) as server:
        fetched = Fetcher(allow=LOCAL).fetch(server.url())
    assert (fetched.data, fetched.media_type) == (b"hello", "image/png")
    assert server.heads[0].startswith(b"GET /a.png?signature=secret HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "/a.png" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/a", "gopher://example.com/a", "http:///a", "http://", "//example.com",
        "http://user:pass@example.com/", "http://exa mple.com/", "http://example.com/\n", "http://exämple.com/",
        "http://example.com:0/", "http://example.com:99999/", "http://[::1/", "javascript:alert(1)",
        "http://example.com/" + "a" * 9000,
    ],
)  # fmt: skip
def test_what_is_no_usable_url(url: str) -> None:
    with pytest.raises(BadRequest, match="image_link: no usable URL"):
        Fetcher().fetch(url, field="image_link")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "localhost", "localhost.",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[ff02::1]", "169.254.169.254", "10.0.0.1",
        "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.100.100.200", "192.0.2.1", "198.18.0.1", "224.0.0.1",
        "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_inner_addresses_in_every_spelling(host: str) -> None:
    with pytest.raises(BadRequest, match=r"not on the public internet|cannot be fetched \(gaierror\)"):
        Fetcher(timeout=5).fetch(f"http://{host}/")


def test_nothing_is_sent_to_an_inner_address() -> None:
    with serving(OK) as server:
        for url in (server.url(), server.url(host="localhost"), server.url(host="[::ffff:127.0.0.1]")):
            with pytest.raises(BadRequest):
                Fetcher().fetch(url)
    assert server.heads == []


def test_one_inner_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(BadRequest, match="not on the public internet"):
        Fetcher().fetch("http://rebinding.example/")


def test_the_checked_address_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers differently the second time (DNS rebinding) is asked once only."""
    asked: list[str] = []

    def once(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "10.0.0.1", port))]

    with serving(OK) as server:
        monkeypatch.setattr(socket, "getaddrinfo", once)
        fetched = Fetcher(allow=("rebinding.example",)).fetch(server.url(host="rebinding.example"))
    assert (asked[0], fetched.data) == ("rebinding.example", b"hello")
    assert f"Host: rebinding.example:{server.port}".encode() in server.heads[0]


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "file:///etc/passwd", "http://[::1]/", "//10.1.1.1/"]
)
def test_redirects_are_checked_again(target: str) -> None:
    with serving(redirect(target)) as server, pytest.raises(BadRequest, match=r"public internet|no usable URL"):
        Fetcher(allow=("127.0.0.1",)).fetch(server.url())


def test_redirects_end() -> None:
    with serving(redirect("/again")) as server, pytest.raises(BadRequest, match="redirects too often"):
        Fetcher(allow=LOCAL).fetch(server.url())
    assert len(server.heads) == 4


def endless(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        link.sendall(b"x" * 65536)


def drip(link: socket.socket) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"s" * 1000:
        link.sendall(bytes([letter]))
        time.sleep(0.02)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", endless],
    ids=["says so", "does not say"],
)
def test_too_large(answer: Callable[[socket.socket], None] | bytes) -> None:
    with serving(answer) as server, pytest.raises(TooLarge, match="image_link: what it names is too large"):
        Fetcher(allow=LOCAL, max_bytes=1 << 20).fetch(server.url(), field="image_link")


@pytest.mark.parametrize("answer", [drip, lambda link: time.sleep(3)], ids=["drips", "says nothing"])
def test_time_is_bounded(answer: Callable[[socket.socket], None]) -> None:
    begin = time.monotonic()
    with serving(answer) as server, pytest.raises(BadRequest, match=r"took longer than 0\.5 s"):
        Fetcher(allow=LOCAL, timeout=0.5).fetch(server.url())
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "comes compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", r"cannot be fetched \(\w+\)"),
        (b"\x00\x01garbage", r"cannot be fetched \(BadStatusLine\)"),
        (b"", r"cannot be fetched \(RemoteDisconnected\)"),
    ],
)
def test_broken_answers(answer: bytes, said: str) -> None:
    with serving(answer) as server, pytest.raises(BadRequest, match=said):
        Fetcher(allow=LOCAL).fetch(server.url())


@pytest.mark.parametrize(
    ("rule", "host"), [("127.0.0.0/8", "127.0.0.1"), ("localhost", "localhost"), ("*.localhost", "a.localhost")]
)
def test_the_operator_may_allow_inner_hosts(rule: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    local = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: local)
    with serving(OK) as server:
        assert Fetcher(allow=(rule,)).fetch(server.url(host=host)).data == b"hello"


def test_certificates_are_checked(tmp_path: Path) -> None:
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            link, _ = listener.accept()
            try:
                with context.wrap_socket(link, server_side=True) as secure:
                    secure.recv(65536)
                    secure.sendall(OK)
            except OSError:
                link.close()

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://localhost:{listener.getsockname()[1]}/"
    with pytest.raises(BadRequest, match="SSLCertVerificationError"):
        Fetcher(allow=("localhost",)).fetch(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        assert Fetcher(allow=("localhost",)).fetch(url).data == b"hello"
    listener.close()
