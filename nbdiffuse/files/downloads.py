"""Downloads: one file, over https only, from public addresses only, with limits of size, time and redirects."""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, urljoin, urlsplit

from ..errors import ImageInputError, breaks_rule

MAX_BYTES = 25_000_000
MAX_SECONDS = 15.0
MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
URL_SAFE = "/%:?@!$&'()*+,;=~-._"
NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> IP addresses as text."""
Connect = Callable[[str, int, str, float], socket.socket]
"""(IP address, port, host, seconds) -> a connected socket that speaks TLS as `host`."""


def resolve_host(host: str, port: int) -> list[str]:
    """Return the host's IP addresses, in the order to try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect_tls(address: str, port: int, host: str, seconds: float) -> socket.socket:
    """Connect to one IP address and prove with its certificate that it is `host`."""
    plain = socket.create_connection((address, port), timeout=seconds)
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def is_public(address: str) -> bool:
    """Tell whether an IP address, or the IPv4 address inside it, belongs to the public internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        # Tunnels and translators reach an IPv4 address that this check cannot vouch for.
        if ip.sixtofour or ip.teredo or ip in NAT64 or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def shown(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?…' if parts.query else ''}"
    except ValueError:
        return url.partition(":")[0] + ":…"


def fetch(url: str, *, resolve: Resolve = resolve_host, connect: Connect = connect_tls, seconds: float = MAX_SECONDS) -> bytes:
    """Download a file of at most 25 MB from the public internet.

    Proxies, cookies, credentials and compressed answers are not used. Every hop's
    address is looked up once, must be public, and is the one connected to, so that
    a second look-up cannot lead elsewhere.

    Parameters
    ----------
    url
        An https URL without user or password.
    resolve, connect
        How names become addresses and addresses connections.
    seconds
        Time for everything together: names, connections, redirects and body.

    Returns
    -------
    bytes
        The body, in [0, 25,000,000] bytes.

    Raises
    ------
    ImageInputError
        The URL is refused, the server answers with an error, or a limit is passed.
    """
    download = _Download(url, resolve, connect, time.monotonic() + seconds)
    # Name look-ups cannot be timed out and slow headers renew a socket's timeout:
    # only a thread that can be left behind keeps the limit on the whole.
    thread = threading.Thread(target=download.run, name="nbdiffuse-download", daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        download.close()
    if download.error is not None:
        raise download.error
    if download.body is None:
        raise _refusal(f"a download that ends within {seconds:g} s", url, "Save the file yourself and give its path.")
    return download.body


def _refusal(rule: str, url: str, way_out: str) -> ImageInputError:
    return ImageInputError(breaks_rule("image", rule, shown(url), way_out))


class _Download:
    """The state that a download's thread shares with the caller."""

    def __init__(self, url: str, resolve: Resolve, connect: Connect, deadline: float) -> None:
        self.url, self.resolve, self.connect, self.deadline = url, resolve, connect, deadline
        self.socket: socket.socket | None = None
        self.closed = False
        self.body: bytes | None = None
        self.error: ImageInputError | None = None

    def run(self) -> None:
        try:
            body = self._follow()
            # A connection that was closed because time was up looks like a body that ended.
            self.body = body if time.monotonic() < self.deadline else None
        except ImageInputError as error:
            self.error = error.with_traceback(None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if time.monotonic() >= self.deadline:
                return  # Time was up, and whatever the closed connection says of itself is not why.
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            self.error = _refusal("a URL that can be downloaded", self.url, f"The download failed: {cause}.")
        finally:
            self.close()

    def close(self) -> None:
        """End the connection under the thread's feet, if there still is one."""
        self.closed, held = True, self.socket
        if held is not None:
            # close() alone would leave a thread that waits in recv() waiting.
            with contextlib.suppress(OSError):  # The other side was faster.
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def _follow(self) -> bytes:
        url = self.url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(url)
            if answer.status not in REDIRECTS:
                return self._read(url, answer)
            target = answer.getheader("Location")
            if not target:
                raise _refusal("a URL that leads somewhere", url, "The server redirects without saying where to.")
            url = urljoin(url, target)
        raise _refusal(f"a URL with at most {MAX_REDIRECTS} redirects", self.url, "Give the address that it ends at.")

    def _ask(self, url: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise _refusal("an https URL", url, "Save the file yourself and give its path.")
        if "@" in parts.netloc:
            raise _refusal("a URL without user and password", url, "Save the file yourself and give its path.")
        port = parts.port or 443
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
        addresses = self.resolve(host, port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise _refusal("a URL on the public internet", url, "Its host has a private address. Give the file's path instead.")
        self._dial(addresses, port, host)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = self.socket
        path = quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=URL_SAFE)
        name = f"[{host}]" if ":" in host else host
        headers = {
            "Host": name if port == 443 else f"{name}:{port}",
            "User-Agent": "nbdiffuse",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def _dial(self, addresses: Sequence[str], port: int, host: str) -> None:
        if self.socket is not None:
            self.socket.close()
        failure: OSError = TimeoutError("no time left")
        for address in addresses:
            left = self.deadline - time.monotonic()
            if self.closed or left <= 0:
                break
            try:
                self.socket = self.connect(address, port, host, left)
            except OSError as error:
                failure = error
            else:
                if self.closed:
                    self.close()
                return
        raise failure

    def _read(self, url: str, answer: http.client.HTTPResponse) -> bytes:
        if answer.status != 200:
            status = f"{answer.status} {answer.reason}".strip()
            raise _refusal("a URL that the server answers", url, f"It said {status!r}.")
        if answer.getheader("Content-Encoding", "identity").strip().lower() != "identity":
            raise _refusal("a URL with a plain body", url, "The server compressed it unasked. Save the file and give its path.")
        promised = answer.length
        body = io.BytesIO()
        while body.tell() <= MAX_BYTES and (promised or 0) <= MAX_BYTES and (chunk := answer.read(65_536)):
            body.write(chunk)
        if max(body.tell(), promised or 0) > MAX_BYTES:
            raise _refusal(f"a download of at most {MAX_BYTES // 1_000_000} MB", url, "Save the file and make it smaller.")
        if promised is not None and body.tell() != promised:
            raise _refusal("a URL that sends the whole file", url, f"{body.tell()} of {promised} bytes came. Try again.")
        return body.getvalue()
