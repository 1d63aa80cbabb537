"""Checks host, origin and token of every request, and adds the security headers of every response.

A web page of a stranger must not act through the browser of somebody who has access. Posts from other sites are refused
by their origin; pages whose host name was made to resolve to this machine (DNS rebinding), by the Host header.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import re
import socket
import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders

from importer.serve.errors import RequestError, model_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from importer.serve.config import Config

COOKIE = "importer_session"
#: How long a browser stays signed in, in seconds.
_SESSION_SECONDS = 12 * 3600
#: Paths that need no token: the page itself asks for it, and monitoring polls `/health`.
_PUBLIC_PATHS = frozenset({"/", "/docs", "/docs.css", "/openapi.json", "/health", "/session", "/favicon.ico"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: How long an unwanted body is read to its end, in seconds: many senders see the response only after their last byte.
_DRAIN_SECONDS = 3.0


class Authenticator:
    """Checks the token, and creates and checks the sessions that replace it in a browser.

    Args:
        token: the secret of the service; None grants access to everybody.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    @property
    def required(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    def is_valid_token(self, token: str) -> bool:
        """Return whether `token` is right or none is needed; takes the same time for every wrong one."""
        return self._token is None or hmac.compare_digest(self._token, token.encode("utf-8", "surrogateescape"))

    def session(self) -> str:
        """Return a new session: its expiry time and a signature. The token cannot be derived from it."""
        until = str(int(time.time()) + _SESSION_SECONDS)
        return f"{until}.{self._signature(until)}"

    def _signature(self, until: str) -> str:
        return hmac.new(self._token or b"", f"session {until}".encode(), hashlib.sha256).hexdigest()

    def is_valid_session(self, session: str) -> bool:
        """Return whether a session has our signature and has not expired."""
        until, _, signature = session.partition(".")
        if not re.fullmatch(r"\d{1,12}", until, re.ASCII) or not signature.isascii():
            return False
        return hmac.compare_digest(signature, self._signature(until)) and int(until) > time.time()

    def is_authenticated(self, headers: Headers) -> bool:
        """Return whether a request has the right token or a valid session, or no token is needed."""
        if self._token is None:
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_valid_token(token.strip())
        cookies: SimpleCookie = SimpleCookie()
        with contextlib.suppress(CookieError):
            cookies.load(headers.get("cookie", ""))
        return COOKIE in cookies and self.is_valid_session(cookies[COOKIE].value)


class AccessMiddleware:
    """Outermost ASGI middleware: refuses requests with a wrong host, origin or token.

    Args:
        app: the application that it wraps.
        config: settings of the service.
        keys: checks the token and sessions.
    """

    def __init__(self, app: ASGIApp, config: Config, keys: Authenticator) -> None:
        self._app, self._keys = app, keys
        names = {"localhost", *config.allow_hosts, *([] if config.is_loopback else [config.host, socket.gethostname()])}
        self._hosts = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _TrackedBody(scope, receive)
        answer = _answering(scope, send, body)
        try:
            self._check(scope)
        except RequestError as exc:
            await model_response(exc.answer, exc.status, exc.headers)(scope, body.receive, answer)
            return
        await self._app(scope, body.receive, answer)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if len(headers.getlist("host")) > 1 or not self._is_known_host(host):
            raise RequestError(
                421,
                "the Host header does not name this service",
                kind="UnknownHost",
                choice="allow it with --allow-host",
            )
        if scope["method"] not in _SAFE_METHODS and not _same_site(headers, host):
            raise RequestError(403, "requests from pages of other sites are not accepted", kind="CrossSite")
        if path in _PUBLIC_PATHS or path.startswith("/static/") or self._keys.is_authenticated(headers):
            return
        refused = RequestError(
            401, "a token is needed", kind="TokenNeeded", choice="send the header Authorization: Bearer TOKEN"
        )
        refused.headers["WWW-Authenticate"] = 'Bearer realm="importer"'
        raise refused

    def _is_known_host(self, host: str) -> bool:
        """Return whether a Host header names this service. All IP addresses do: DNS rebinding needs a host name."""
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?", host)
        if match is None:
            return False
        name = match[1].strip("[]").rstrip(".").lower()
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        return name in self._hosts


def _same_site(headers: Headers, host: str) -> bool:
    """Return whether a request comes from the service's own page, or from no page at all."""
    if headers.get("sec-fetch-site", "none").lower() not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    # Only host and port count: a proxy in front of the service may use HTTPS.
    place = origin.partition("://")[2].lower()
    return re.sub(r":(80|443)$", "", place) == re.sub(r":(80|443)$", "", host.lower())


class _TrackedBody:
    """Wraps `receive`, and knows whether the body of the request was read to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self.is_read = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        """Return the next ASGI message."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.is_read = True
        return message

    async def drain(self) -> None:
        """Discard the rest of the body, for a limited time: on an immediate close the sender would miss the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self.is_read:
                    await self.receive()


def _answering(scope: Scope, send: Send, body: _TrackedBody) -> Send:
    """Return a `send` that adds our headers, and closes the connection after a response if the body was not read."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            of_page = scope["path"] == "/" or scope["path"].startswith(("/static/", "/docs"))
            headers.setdefault("Cache-Control", "no-cache" if of_page else "no-store")
            if not body.is_read:
                headers["Connection"] = "close"
        elif not body.is_read and not message.get("more_body", False):
            await send({**message, "more_body": True})
            await body.drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return answer


def session_cookie_args(session: str | None, *, secure: bool) -> dict[str, Any]:
    """Return the arguments of `Response.set_cookie` that set a session, or remove it (None)."""
    return {
        "key": COOKIE, "value": session or "", "max_age": _SESSION_SECONDS if session else 0, "path": "/",
        "secure": secure, "httponly": True, "samesite": "strict",
    }  # fmt: skip
