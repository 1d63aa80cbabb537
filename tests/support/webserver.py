"""A web server of a test's own: a folder in memory with ranges, ETags and conditions, and the faults that real ones have."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A fault: takes the handler, the number of the request for that path (from 1), and says whether it answered.
Fault = "Callable[[Handler, int], bool]"


@dataclass
class WebFolder:
    """What the server has, and what it was asked.

    Attributes:
        files: content by path, such as `/in/jan.xlsx`.
        faults: what happens to requests for a path, in place of an answer or before one.
        asked: method, path and `Range` header of each request.
        headers: headers of each request, by path, the last one.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    ranges: bool = True
    etags: bool = True
    password: str | None = None
    port: int = 0
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://localhost:{self.port}{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: WebFolder

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        folder, path = self.folder, self.path.partition("?")[0]
        folder.counts[path] += 1
        folder.asked.append(("GET", self.path, self.headers.get("Range")))
        folder.headers[path] = dict(self.headers)
        fault = folder.faults.get(path)
        if fault is not None and fault(self, folder.counts[path]):
            return
        if folder.password is not None and self.headers.get("Authorization") != folder.password:
            self.answer(401, b"who?")
            return
        content = folder.files.get(path)
        if content is None:
            self.answer(404, b"no such file")
            return
        self.send_content(content)

    def send_content(self, content: bytes) -> None:
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": etag} if self.folder.etags else {}
        if self.headers.get("If-Match") not in {None, etag} and self.folder.etags:
            self.answer(412, b"", headers)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if not asked or not self.folder.ranges:
            self.answer(200, content, headers)
            return
        start, end = int(asked[1]), min(int(asked[2]), len(content) - 1)
        if start >= len(content):
            self.answer(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
            return
        headers |= {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        self.answer(206, content[start : end + 1], headers)

    def answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        """Send an answer; with a `length` that is not that of the content, the connection ends with it."""
        self.send_response(status)
        sent = {"Content-Length": str(len(content) if length is None else length)} | (headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)
        self.close_connection = self.close_connection or length is not None

    def do_PUT(self) -> None:
        path = self.path.partition("?")[0]
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.folder.counts[path] += 1
        fault = self.folder.faults.get(path)
        if fault is not None and fault(self, self.folder.counts[path]):
            return
        self.folder.files[path] = content
        self.answer(201, b"")


def statuses(*codes: int) -> Any:
    """A fault: the first answers have these codes, the others are right."""

    def fault(handler: Handler, number: int) -> bool:
        if number > len(codes):
            return False
        handler.answer(codes[number - 1], b"<html>an error</html>")
        return True

    return fault


def cuts(*numbers: int, after: int = 1000) -> Any:
    """A fault: the answers of these numbers end after so many bytes of what they announce."""

    def fault(handler: Handler, number: int) -> bool:
        if number not in numbers:
            return False
        answer = handler.answer

        def cut(status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            answer(status, content[:after], headers, len(content))

        handler.answer = cut  # type: ignore[method-assign, assignment]
        return False

    return fault


def redirects(to: str, code: int = 302) -> Any:
    """A fault: all answers lead to another address."""

    def fault(handler: Handler, _: int) -> bool:
        handler.answer(code, b"", {"Location": to})
        return True

    return fault


@contextlib.contextmanager
def web_server(certificate: Path | None = None) -> Iterator[WebFolder]:
    """Serve a folder on a free port of this machine; with a certificate (key in the same file) by TLS."""
    folder = WebFolder()
    server = ThreadingHTTPServer(("localhost", 0), type("Handler", (Handler,), {"folder": folder}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]
    folder.port = server.server_address[1]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        folder.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
