"""Downloads reach only public https hosts and end in time; a loopback server plays the internet."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import HUNG, wait_for

from nbdiffuse.errors import ImageInputError
from nbdiffuse.files import downloads
from nbdiffuse.files.downloads import connect_tls, fetch, is_public

PUBLIC = "93.184.216.34"
Answer = bytes | Callable[[socket.socket], None]


class Internet:
    """Names, and a server behind every public address; it records who was asked."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.answers: dict[str, Answer] = {}
        self.connected: list[str] = []
        self.requests: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def resolve(self, host: str, port: int) -> list[str]:
        answers = self.names.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, host: str, seconds: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(self.listener.getsockname(), timeout=seconds)

    def fetch(self, url: str, seconds: float = 5) -> bytes:
        return fetch(url, resolve=self.resolve, connect=self.connect, seconds=seconds)

    def _serve(self) -> None:
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := client.recv(4096)):
                    return
                request += part
            self.requests.append(request.decode())
            answer = self.answers[request.split()[1].decode()]
            try:
                client.sendall(answer) if isinstance(answer, bytes) else answer(client)
            except OSError:
                return  # The downloader hung up, as it should on some.


@pytest.fixture
def internet() -> Iterator[Internet]:
    world = Internet()
    yield world
    world.listener.close()


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Content_Length": str(len(body)), **headers}.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def refused(internet: Internet, url: str, seconds: float = 5) -> str:
    with pytest.raises(ImageInputError) as caught:
        internet.fetch(url, seconds)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_body_arrives_whole(internet: Internet) -> None:
    internet.answers["/a%20b/c.png?x=1&y=%20"] = reply(b"hello")
    assert internet.fetch("https://example.org/a b/c.png?x=1&y=%20#top") == b"hello"
    assert "Host: example.org\r\n" in internet.requests[0]
    assert "Accept-Encoding: identity\r\n" in internet.requests[0]
    internet.answers["/chunks"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert internet.fetch("https://example.org:8443/chunks") == b"abcde"
    assert "Host: example.org:8443\r\n" in internet.requests[1]


def test_three_redirects_are_followed_and_a_fourth_is_not(internet: Internet) -> None:
    for number in range(4):
        internet.answers[f"/{number}"] = reply(status="302 Found", Location=f"/{number + 1}")
    internet.answers["/4"] = reply(b"end")
    assert internet.fetch("https://example.org/1") == b"end"
    assert "at most 3 redirects" in refused(internet, "https://example.org/0")
    assert len(internet.connected) == 8


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "fec0::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1",
    ],
)  # fmt: skip
def test_private_addresses_are_never_connected_to(internet: Internet, address: str) -> None:
    internet.names["inside.example.org"] = [[address]]
    internet.names["both.example.org"] = [[PUBLIC, address]]
    internet.answers["/away"] = reply(status="301 Moved", Location="https://inside.example.org/")
    assert "public internet" in refused(internet, "https://inside.example.org/")
    assert "public internet" in refused(internet, "https://both.example.org/")
    assert internet.connected == []
    assert "public internet" in refused(internet, "https://example.org/away")
    assert internet.connected == [PUBLIC]


def test_public_addresses_are_public() -> None:
    assert all(map(is_public, [PUBLIC, "2606:2800:220:1::1", "::ffff:93.184.216.34"]))


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0"])
def test_other_spellings_of_loopback_are_refused_by_the_real_resolver(internet: Internet, host: str) -> None:
    with pytest.raises(ImageInputError):
        fetch(f"https://{host}/", connect=internet.connect)
    assert internet.connected == []


def test_the_address_that_was_checked_is_the_one_connected_to(internet: Internet) -> None:
    internet.names["rebind.example.org"] = [[PUBLIC], ["127.0.0.1"]]
    internet.answers["/x"] = reply(b"ok")
    assert internet.fetch("https://rebind.example.org/x") == b"ok"
    assert internet.connected == [PUBLIC]
    assert "public internet" in refused(internet, "https://rebind.example.org/x")


@pytest.mark.parametrize(
    "target", ["http://example.org/", "file:///etc/passwd", "data:image/png,x", "https://u:p@example.org/", "https://[x/"]
)
def test_redirects_to_anything_else_are_refused(internet: Internet, target: str) -> None:
    internet.answers["/go"] = reply(status="307 Temporary Redirect", Location=target)
    said = refused(internet, "https://example.org/go")
    assert "u:p" not in said
    assert len(internet.connected) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://user:secret@example.org/",
        "https://example.org:99999/",
        "https://exa mple.org\r\nX: y/",
        f"https://{'a' * 70}.org/",
    ],
)
def test_malformed_urls_are_refused_before_connecting(internet: Internet, url: str) -> None:
    assert "secret" not in refused(internet, url)
    assert internet.connected == []


def test_http_errors_are_errors_even_with_a_picture(internet: Internet) -> None:
    internet.answers["/gone?key=secret"] = reply(b"\x89PNG\r\n\x1a\n", status="404 Not Found")
    said = refused(internet, "https://example.org/gone?key=secret")
    assert "got 'https://example.org/gone?…'. It said '404 Not Found'." in said
    internet.answers["/lost"] = reply(status="302 Found")
    assert "without saying where to" in refused(internet, "https://example.org/lost")
    internet.answers["/junk"] = b"\0\1\2 junk\r\n\r\n"
    assert "The download failed" in refused(internet, "https://example.org/junk")


def test_compressed_bodies_are_refused_unread(internet: Internet) -> None:
    internet.answers["/bomb"] = reply(b"\x1f\x8b" * 99, Content_Encoding="gzip")
    assert "compressed it unasked" in refused(internet, "https://example.org/bomb")


def test_bodies_over_25_mb_are_refused_with_or_without_a_stated_length(internet: Internet) -> None:
    sent = 0

    def endless(client: socket.socket) -> None:
        nonlocal sent
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += client.send(b"\0" * 65_536)

    internet.answers["/endless"] = endless
    internet.answers["/stated"] = reply(b"x", Content_Length="25000001")
    assert "at most 25 MB" in refused(internet, "https://example.org/stated")
    assert "at most 25 MB" in refused(internet, "https://example.org/endless", 15)
    assert sent < 40_000_000


def test_a_body_that_ends_early_is_refused(internet: Internet) -> None:
    internet.answers["/short"] = reply(b"half", Content_Length="8")
    assert "4 of 8 bytes came" in refused(internet, "https://example.org/short")


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_slow_headers_and_slow_bodies_end_in_time_and_leave_no_thread(internet: Internet, start: bytes) -> None:
    def drip(client: socket.socket) -> None:
        client.sendall(start)
        while True:
            client.send(b"x")
            time.sleep(0.05)

    internet.answers["/slow"] = drip
    # It drips without end: that this returns is what ends it.
    assert "within 0.5 s" in refused(internet, "https://example.org/slow", 0.5)
    wait_for(lambda: not any(thread.name == "nbdiffuse-download" for thread in threading.enumerate()), threading.enumerate)


def test_a_slow_name_look_up_ends_in_time(internet: Internet) -> None:
    done = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        done.wait(HUNG)
        return [PUBLIC]

    with pytest.raises(ImageInputError, match=r"within 0.3 s"):
        fetch("https://example.org/", resolve=resolve, connect=internet.connect, seconds=0.3)
    done.set()


def test_the_next_address_is_tried_when_one_does_not_answer(internet: Internet) -> None:
    internet.names["example.org"] = [["93.184.216.1", PUBLIC]]
    internet.answers["/x"] = reply(b"ok")

    def connect(address: str, port: int, host: str, seconds: float) -> socket.socket:
        if address != PUBLIC:
            raise ConnectionRefusedError("no")
        return internet.connect(address, port, host, seconds)

    assert fetch("https://example.org/x", resolve=internet.resolve, connect=connect) == b"ok"


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=example.org"]
    try:
        command = ["openssl", "req", "-x509", *options, "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl command")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with pytest.raises(OSError):
            context.wrap_socket(listener.accept()[0], server_side=True)

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(ssl.SSLCertVerificationError):
        connect_tls("127.0.0.1", listener.getsockname()[1], "example.org", 5)
    listener.close()


def test_what_may_be_secret_is_not_shown() -> None:
    assert downloads.shown("https://me:pw@example.org/a.png?sig=1#x") == "https://example.org/a.png?…"
    assert downloads.shown("https://[bad") == "https:…"
