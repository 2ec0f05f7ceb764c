"""A hub on loopback: the part of the hub's HTTP API that `huggingface_hub` uses, with the faults that a network has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from waiting import HUNG

LARGE = (".safetensors", ".bin", ".ckpt")
"""What the hub keeps outside git."""


@dataclass
class Repo:
    """One commit of a repository: bytes by path, and what its commit is called."""

    files: dict[str, bytes]
    hashes: dict[str, str] = field(init=False)
    commit: str = field(init=False)

    def __post_init__(self) -> None:
        self.hashes = {
            name: hashlib.sha256(body).hexdigest()
            if name.endswith(LARGE)
            else hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            for name, body in self.files.items()
        }
        self.commit = hashlib.sha1(json.dumps(self.hashes, sort_keys=True).encode()).hexdigest()

    def entry(self, name: str, key: str) -> dict[str, Any]:
        """Describe a file; `key` is what the route calls the sha256 of a large one."""
        size = len(self.files[name])
        large = {"lfs": {key: self.hashes[name], "size": size, "pointerSize": 134}} if name.endswith(LARGE) else {}
        return {"size": size, **large}


def read(directory: Path) -> dict[str, bytes]:
    """Read a directory's files, by path."""
    return {file.relative_to(directory).as_posix(): file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file()}


class Hub:
    """The server and its state; what it was asked is in `log`.

    Attributes
    ----------
    repos
        By id.
    moved
        Ids that are answered with a redirect, and where to.
    answers
        (status, error code, message) instead of a repository's files, by id.
    faults
        What goes wrong with a file's body, by (id, path): "flip" a bit, "short" but honest,
        "cut" for ever, "cut once", "stall" half way.
    silent
        Whether it accepts and says nothing.
    log
        (method, path, status, Range) of every request.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.on_progress: dict[str, str] = {}
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.faults: dict[tuple[str, str], str] = {}
        self.silent = False
        self.log: list[tuple[str, str, int, str]] = []
        self.connections: list[socket.socket] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.elsewhere = f"http://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def add(self, name: str, content: Path | dict[str, bytes]) -> Repo:
        """Publish a directory, or files by path, as the only commit."""
        self.repos[name] = Repo(read(content) if isinstance(content, Path) else content)
        return self.repos[name]

    def fetched(self, suffix: str = "", since: int = 0) -> list[str]:
        """Return the paths of the files whose bodies went out, from an entry of the log on."""
        bodies = [path for method, path, status, _ in self.log[since:] if method == "GET" and status in (200, 206)]
        found = [re.fullmatch(r"/large/[^/]+/[^/]+/(.+)|/[^/]+/[^/]+/resolve/[^/]+/(.+)", path) for path in bodies]
        names = {one[1] or one[2] for one in found if one}
        return sorted(name for name in names if name.endswith(suffix))

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.silent:
            if not self.hub.closing.wait(HUNG):
                self.hub.log.append((self.command, path, 0, "was waited for"))
            self.close_connection = True
            return
        if large := re.fullmatch(r"/large/(.+)", path):
            self._large(large[1])
            return
        api = re.fullmatch(r"/api/models/(?P<id>[^/]+/[^/]+)(?:/(?P<kind>revision|tree)/(?P<rev>[^/]+))?", path)
        file = re.fullmatch(r"/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<name>.+)", path)
        found = api or file
        if found is None:
            self._answer(404, {"error": "no such route"})
            return
        name, rev = found["id"], found["rev"]
        repo = self.hub.repos.get(name)
        if name in self.hub.on_progress:
            self._answer(307, b"", Location=self.path.replace(name, self.hub.on_progress[name]))
        elif name in self.hub.answers and (file or self.hub.answers[name][1] != "GatedRepo"):
            status, code, message = self.hub.answers[name]
            self._answer(status, {"error": message}, **({"X-Error-Code": code} if code else {}), **{"X-Error-Message": message})
        elif repo is None:
            self._answer(401, {"error": "Invalid username or password."}, **{"X-Error-Code": "RepoNotFound"})
        elif rev not in (None, "main", repo.commit):
            self._answer(404, {"error": "Invalid rev id"}, **{"X-Error-Code": "RevisionNotFound"})
        elif api:
            self._about(name, repo, api["kind"])
        else:
            self._file(name, repo, found["name"])

    do_HEAD = do_GET

    def _about(self, name: str, repo: Repo, kind: str | None) -> None:
        if kind == "tree":
            entries = [{"type": "file", "path": n, "oid": repo.hashes[n][:40], **repo.entry(n, "oid")} for n in repo.files]
            self._answer(200, entries)
            return
        siblings = [{"rfilename": n, "blobId": repo.hashes[n][:40], **repo.entry(n, "sha256")} for n in repo.files]
        gated = "auto" if name in self.hub.answers else False
        self._answer(200, {"id": name, "sha": repo.commit, "gated": gated, "siblings": siblings})

    def _file(self, name: str, repo: Repo, path: str) -> None:
        commit = {"X-Repo-Commit": repo.commit}
        if path not in repo.files:
            self._answer(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"}, **commit)
            return
        etag = f'"{repo.hashes[path]}"'
        if path.endswith(LARGE):
            linked = {"X-Linked-Etag": etag, "X-Linked-Size": len(repo.files[path])}
            self._answer(302, b"", Location=f"{self.hub.elsewhere}/large/{name}/{path}", ETag=etag, **linked, **commit)
        else:
            self._body(name, path, repo, ETag=etag, **commit)

    def _large(self, place: str) -> None:
        owner, short, path = place.split("/", 2)
        name = f"{owner}/{short}"
        self._body(name, path, self.hub.repos[name], ETag=f'"{self.hub.repos[name].hashes[path]}"')

    def _body(self, name: str, path: str, repo: Repo, **headers: Any) -> None:
        body, fault = repo.files[path], self.hub.faults.get((name, path), "")
        if fault == "flip":
            body = body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]
        elif fault == "short":
            body = body[: len(body) // 2]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        part = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if asked else {}
        broken = fault in ("cut", "cut once", "stall") and self.command == "GET"
        if fault == "cut once" and self.command == "GET":
            del self.hub.faults[(name, path)]
        self._answer(206 if asked else 200, body[start:], sent=len(body[start:]) // 2 if broken else None, **headers, **part)
        if fault == "stall" and broken:
            self.hub.closing.wait(HUNG)

    def _answer(self, status: int, body: Any, sent: int | None = None, **headers: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.hub.log.append((self.command, unquote(urlsplit(self.path).path), status, self.headers.get("Range", "")))
        self.send_response(status)
        for key, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:sent])
            self.wfile.flush()
        # A body that is shorter than announced ends with the connection.
        self.close_connection = sent is not None or self.close_connection
