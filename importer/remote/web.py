"""Reads files of web servers, and writes them by PUT, with the standard library.

What a range is asked for, and what the answer says it is, are compared: servers ignore conditions and ranges, proxies
cut answers, and a body of an error has a length, too.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import netrc
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from importer.errors import ImporterError, SourceRefused, SourceUnavailable
from importer.version import __version__

from .reader import RANGE_BYTES, changed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from importer.urls import Url

#: Seconds of silence after which a server is given up.
SILENCE_SECONDS = 60.0
_PIECE_BYTES = 1 << 20
_OK, _PARTIAL, _CHANGED, _NO_RANGE = 200, 206, 412, 416
#: Answers that are known to pass (RFC 9110, 15.5.9, 15.6; 429: RFC 6585).
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED, _MISSING = frozenset({401, 403, 407}), frozenset({404, 410})


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but neither from https to http, nor with a password to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in {"http", "https"} or (before.scheme == "https" and after.scheme == "http"):
            raise urllib.error.HTTPError(req.full_url, code, "redirected to where it is not safe", headers, fp)
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and (before.scheme, before.netloc) != (after.scheme, after.netloc):
            found.headers.pop("Authorization", None)
        return found


class WebReader:
    """Reads one version of a file of a web server; see `RemoteReader`.

    The first request asks for the first range, whose answer also says what the file is, and is all of a small one.

    Args:
        url: address of the file.

    Raises:
        SourceRefused: there is no such file, or it may not be read.
        SourceUnavailable: the server failed; it may pass.
    """

    def __init__(self, url: Url) -> None:
        self._url = url
        self._body: http.client.HTTPResponse | None = None
        self._head = b""
        response = _request(url, {"Range": f"bytes=0-{RANGE_BYTES - 1}"})
        self._etag, self._modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        self.version = self._etag or self._modified
        self.has_ranges = response.status == _PARTIAL
        if self.has_ranges:
            with response:
                self.size: int | None = _total(response, url)
                self._head = _body(response, url, min(RANGE_BYTES, self.size))
        else:
            with contextlib.ExitStack() as refused:
                refused.enter_context(response)
                self.size = _length(response, url)
                refused.pop_all()
            self._body = response

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of the file; see `RemoteReader`."""
        if stop <= len(self._head):
            return self._head[start:stop]
        headers = {"Range": f"bytes={start}-{stop - 1}"} | self._conditions()
        with _request(self._url, headers) as response:
            self._check_same(response)
            wanted = f"bytes {start}-{stop - 1}/{self.size}"
            if response.status != _PARTIAL or response.headers.get("Content-Range", "").strip() != wanted:
                raise SourceUnavailable("the server sent another range than it was asked for", place=str(self._url))
            return _body(response, self._url, stop - start)

    def stream(self) -> Generator[bytes]:
        """Yield the whole file; see `RemoteReader`."""
        response, self._body = self._body or _request(self._url, self._conditions()), None
        with response:
            self._check_same(response)
            got = 0
            while piece := _read(response, self._url, _PIECE_BYTES):
                got += len(piece)
                yield piece
            if self.size is not None and got != self.size:
                raise _cut(self._url, got, self.size)

    def check_unchanged(self) -> None:
        """Ask once more where several answers made the file; see `RemoteReader`."""
        if self.has_ranges and self.size is not None and self.size > len(self._head) and not self._etag:
            with _request(self._url, {"Range": "bytes=0-0"}) as response:
                self._check_same(response)

    def close(self) -> None:
        """Close what was not read."""
        if self._body is not None:
            self._body.close()

    def _conditions(self) -> dict[str, str]:
        # Only a strong ETag stands for the same bytes, and no other one ever matches (RFC 9110, 8.8.1, 13.1.1).
        if self._etag and not self._etag.startswith("W/"):
            return {"If-Match": self._etag}
        return {"If-Unmodified-Since": self._modified} if self._modified else {}

    def _check_same(self, response: http.client.HTTPResponse) -> None:
        """Raise SourceChanged if an answer is of another version: not every server obeys conditions."""
        size = _total(response, self._url) if response.status == _PARTIAL else _length(response, self._url)
        etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        if (size, etag, modified) != (self.size, self._etag, self._modified):
            raise changed(self._url)


def put_file(local: Path, url: Url) -> None:
    """Send a file to a web server by PUT.

    Raises:
        SourceRefused: the server refused it.
        SourceUnavailable: the server failed; it may pass.
    """
    with local.open("rb") as file:
        sent = {"Content-Length": str(local.stat().st_size), "Content-Type": "application/octet-stream"}
        with _request(url, sent, file, "PUT") as answer:
            _read(answer, url, _PIECE_BYTES)


# ---- REQUESTS AND ANSWERS ---------------------------------------------------------------------------------------


def _request(url: Url, headers: dict[str, str], data: Any = None, method: str = "GET") -> http.client.HTTPResponse:
    """Send a request, follow redirects, and return the answer.

    Raises:
        SourceRefused: a final answer.
        SourceUnavailable: no answer, or one that may pass.
    """
    address, authorization = _split_user(url)
    # An answer that is packed has another length, and other ranges.
    sent = {"User-Agent": f"importer/{__version__}", "Accept-Encoding": "identity"} | authorization | headers
    request = urllib.request.Request(address, data, sent, method=method)  # noqa: S310 - `Url.is_http`
    opener = urllib.request.build_opener(_SafeRedirects)
    with _library_errors(url):
        response: http.client.HTTPResponse = opener.open(request, timeout=SILENCE_SECONDS)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise SourceRefused("the server packs what it sends, unasked", place=str(url), choice="download the file")
    return response


def _split_user(url: Url) -> tuple[str, dict[str, str]]:
    """Return the address without user and password, and the header that has them; `~/.netrc` may have them, too."""
    parts = urlsplit(url.text)
    user, _, host = parts.netloc.rpartition("@")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    address = urlunsplit((parts.scheme, host, path or "/", quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]"), ""))
    if not user:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            found = netrc.netrc().authenticators(parts.hostname or "")
            user = f"{quote(found[0], safe='')}:{quote(found[2] or '', safe='')}" if found and found[0] else ""
    if not user:
        return address, {}
    name, _, password = user.partition(":")
    basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return address, {"Authorization": f"Basic {basic}"}


@contextlib.contextmanager
def _library_errors(url: Url) -> Iterator[None]:
    """Turn the errors of the standard library into ours; none shows the address as it was given."""
    try:
        yield
    except urllib.error.HTTPError as exc:
        exc.close()
        raise _answer_error(url, exc.code, exc.reason) from None
    except urllib.error.URLError as exc:
        raise _connection_error(url, exc.reason) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise _connection_error(url, exc) from None


def _answer_error(url: Url, code: int, reason: str) -> ImporterError:
    if code == _CHANGED:
        return changed(url)
    said = f"{code} {reason}".strip()
    if code in _TRANSIENT:
        return SourceUnavailable(f"the server failed: {said}", place=str(url), choice="run the same command again")
    if code == _NO_RANGE:
        return SourceRefused("the file is empty (0 bytes)", place=str(url))
    if code in _MISSING:
        return SourceRefused(f"there is no such file ({said})", place=str(url), choice="check the address")
    if code in _DENIED:
        return SourceRefused(
            f"access is denied ({said})", place=str(url),
            choice="user and password in the address or in ~/.netrc, or a signed address that has not expired",
        )  # fmt: skip
    return SourceRefused(f"the server refused ({said})", place=str(url))


def _connection_error(url: Url, exc: object) -> ImporterError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return SourceRefused(
            f"the certificate of the server is not trusted ({exc.verify_message})", place=str(url),
            choice="SSL_CERT_FILE names a file with the certificate of who signed it",
        )  # fmt: skip
    if isinstance(exc, socket.gaierror) and exc.errno != socket.EAI_AGAIN:
        return SourceRefused(f"there is no such server ({exc.strerror})", place=str(url), choice="check the address")
    if isinstance(exc, TimeoutError):
        fact = f"the server was silent for {SILENCE_SECONDS:g} s"
    elif isinstance(exc, OSError):
        fact = f"the connection failed ({url.scrub(exc.strerror or str(exc))})"
    else:
        fact = f"the server's answer is none ({url.scrub(str(exc)) or type(exc).__name__})"
    return SourceUnavailable(fact, place=str(url), choice="run the same command again")


def _read(response: http.client.HTTPResponse, url: Url, size: int) -> bytes:
    with _library_errors(url):
        return response.read(size)


def _body(response: http.client.HTTPResponse, url: Url, size: int) -> bytes:
    """Return the body of an answer, which has so many bytes."""
    pieces, got = [], 0
    while got < size and (piece := _read(response, url, size - got)):
        pieces.append(piece)
        got += len(piece)
    if got != size:
        raise _cut(url, got, size)
    return b"".join(pieces)


def _cut(url: Url, got: int, size: int) -> SourceUnavailable:
    return SourceUnavailable(
        f"the answer was cut after {got:,} of {size:,} bytes", place=str(url), choice="run the same command again"
    )


def _total(response: http.client.HTTPResponse, url: Url) -> int:
    """Return the size of the file that an answer gives a range of."""
    found = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", "").strip())
    if found is None:
        raise SourceRefused("the server does not say how long the file is", place=str(url), choice="download the file")
    return int(found[1])


def _length(response: http.client.HTTPResponse, url: Url) -> int | None:
    """Return the length of an answer; None if it is sent in chunks, of which the last one says that it is the last."""
    if response.chunked:
        return None
    given = response.headers.get("Content-Length", "")
    if not given.isdecimal():
        raise SourceRefused(
            "the server does not say how long the file is, so that a cut would not show", place=str(url),
            choice="download the file",
        )  # fmt: skip
    return int(given)
