"""Owns the limits on the heads of requests, which the server library does not set: their size, and their time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

#: Request line and headers together; browsers send a hundredth.
_HEAD_BYTES = 64 << 10
#: From the first byte of a head to its last, and from a connection to its first request.
_HEAD_SECONDS = 20.0


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection."""

    _received = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait()

    def _wait(self) -> None:
        self._received, self._in_head = 0, True
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._too_late)

    def _too_late(self) -> None:
        if self._in_head and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head are counted."""
        if self._in_head:
            self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, in the shape of all answers, and hang up."""
        words = {"error": msg.lower().rstrip("."), "type": "BadRequest", "place": None, "choice": None}
        content = json.dumps(words).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + content)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Another request begins."""
        self._stop_waiting()
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._stop_waiting()
        self._in_head = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
