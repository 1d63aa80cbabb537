"""A connection pooler for tests, as PgBouncer is: gives sessions, transactions or statements to connections that it keeps."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.settings import Dsn

PoolMode = Literal["session", "transaction", "statement"]
_WANTS_ENCRYPTION = (80877103, 80877104)
_CANCEL = 80877102


class _Wire:
    """One side of a connection, read message by message."""

    def __init__(self, peer: socket.socket) -> None:
        self.socket = peer
        self._file = peer.makefile("rb")

    def startup(self) -> bytes:
        (size,) = struct.unpack("!i", self._file.read(4))
        return bytes(self._file.read(size - 4))

    def message(self) -> tuple[bytes, bytes]:
        """Type and body of the next message; an empty type at the end."""
        head = self._file.read(5)
        if len(head) < 5:
            return b"", b""
        return head[:1], self._file.read(struct.unpack("!i", head[1:])[0] - 4)

    def send(self, kind: bytes, body: bytes) -> None:
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self.socket.close()


class Pooler:
    """The pooler; a context manager. Logins are those of a server that trusts everybody.

    Args:
        server: the server, which listens on a Unix socket.
        mode: for how long a client keeps a connection with the server.
        size: so many connections with the server.
        oldest_first: whether the connection that was free longest is given out, and not the one that became free last.
    """

    def __init__(self, server: Dsn, mode: PoolMode, size: int = 5, *, oldest_first: bool = False) -> None:
        options = dict(pair.split("=", 1) for pair in server.text.partition("?")[2].split("&"))
        self._path = f"{options['host']}/.s.PGSQL.{options.get('port', 5432)}"
        self._mode, self._size, self._oldest_first = mode, size, oldest_first
        self._free: list[tuple[_Wire, bytes]] = []
        self._made = 0
        self._changed = threading.Condition()
        self._wires: list[_Wire] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://postgres@127.0.0.1:{self._listener.getsockname()[1]}/postgres"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        with self._changed:
            self._size = 10_000  # nobody waits any more
            self._changed.notify_all()
        for wire in self._wires:
            with contextlib.suppress(OSError, ValueError):
                wire.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = _Wire(self._listener.accept()[0])
                self._wires.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: _Wire) -> None:
        with contextlib.suppress(OSError, ValueError, struct.error):
            start = client.startup()
            while struct.unpack("!i", start[:4])[0] in _WANTS_ENCRYPTION:
                client.socket.sendall(b"N")
                start = client.startup()
            if struct.unpack("!i", start[:4])[0] != _CANCEL:
                self._talk(client, start)
        client.close()

    def _talk(self, client: _Wire, start: bytes) -> None:
        server, hello = self._take(start)
        # The pooler's own number for cancelling, not that of a server process, because that changes.
        client.socket.sendall(hello + b"K" + struct.pack("!ii", 12, secrets.randbelow(2**31)) + secrets.token_bytes(4))
        client.send(b"Z", b"I")
        held: tuple[_Wire, bytes] | None = (server, hello)
        if self._mode != "session":
            held = self._release(held)
        try:
            while (message := client.message())[0] not in {b"", b"X"}:
                held = held or self._take(start)
                held[0].send(*message)
                if message[0] in b"QScf" and not self._answer(client, held):
                    held = None
        finally:
            if held is not None:
                _ask(held[0], b"ROLLBACK; DISCARD ALL" if self._mode == "session" else b"ROLLBACK")
                self._release(held)

    def _answer(self, client: _Wire, held: tuple[_Wire, bytes]) -> bool:
        """Pass the answer on, and return whether the client keeps the connection with the server."""
        while True:
            kind, body = held[0].message()
            if kind == b"Z" and body != b"I" and self._mode == "statement":
                _ask(held[0], b"ROLLBACK")
                self._release(held)
                text = b"transaction blocks not allowed in statement pooling mode"
                client.send(b"E", b"SFATAL\0C08P01\0M" + text + b"\0\0")
                client.close()
                return False
            client.send(kind, body)
            if kind in {b"Z", b"G"}:
                break
        if kind == b"Z" and body == b"I" and self._mode != "session":
            self._release(held)
            return False
        return True

    def _take(self, start: bytes) -> tuple[_Wire, bytes]:
        with self._changed:
            while not self._free and self._made >= self._size:
                self._changed.wait()
            if self._free:
                return self._free.pop(0 if self._oldest_first else -1)
            self._made += 1
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(self._path)
        server = _Wire(peer)
        self._wires.append(server)
        peer.sendall(struct.pack("!i", len(start) + 4) + start)
        hello = b""
        while (message := server.message())[0] != b"Z":
            if message[0] in b"RS":
                hello += message[0] + struct.pack("!i", len(message[1]) + 4) + message[1]
        return server, hello

    def _release(self, held: tuple[_Wire, bytes]) -> None:
        with self._changed:
            self._free.append(held)
            self._changed.notify()


def _ask(server: _Wire, sql: bytes) -> None:
    for statement in sql.split(b"; "):
        server.send(b"Q", statement + b"\0")
        while server.message()[0] not in {b"", b"Z"}:
            pass


@contextlib.contextmanager
def pooling(server: Dsn, mode: PoolMode, size: int = 5, *, oldest_first: bool = False) -> Iterator[str]:
    """A pooler before the server; its connection string."""
    with Pooler(server, mode, size, oldest_first=oldest_first) as pooler:
        yield pooler.url
