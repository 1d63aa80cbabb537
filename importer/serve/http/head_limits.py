"""Limits the size and the time of request heads, which uvicorn does not limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from importer.serve.models.service import ErrorAnswer

if TYPE_CHECKING:
    import asyncio

#: Largest size of request line and headers together; browsers send a hundredth of it.
_MAX_HEAD_BYTES = 64 << 10
#: Longest time from the first byte of a head to its last, and from a connection to its first complete head.
_HEAD_TIMEOUT_SECONDS = 20.0


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, with limits on each request head."""

    _received = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._wait()

    def _wait(self) -> None:
        self._received, self._in_head = 0, True
        self._timer = self.loop.call_later(_HEAD_TIMEOUT_SECONDS, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self._in_head and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; count those of a head against its limit."""
        if self._in_head:
            self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("request line and headers are too large")

    def send_400_response(self, msg: str) -> None:
        """Respond to an invalid request with an error of the usual shape, and close the connection."""
        answer = ErrorAnswer(error=msg.lower().rstrip("."), type="BadRequest", place=None, choice=None)
        content = answer.model_dump_json(exclude_unset=True).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + content)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Start counting and timing the head of a new request."""
        self._cancel_head_timer()
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting and timing: the head is complete."""
        self._cancel_head_timer()
        self._in_head = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def _cancel_head_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
