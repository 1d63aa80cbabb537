"""A wire to a PostgreSQL server that counts the messages on it and fails at one of them.

The messages are those of protocol 3.0 (PostgreSQL documentation, "Frontend/Backend Protocol"): a type byte and a length
that counts itself. What a client sends first has no type byte, and the answer to a request for encryption is one byte.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that the fault `delay` holds a message; other connections go on meanwhile.
DELAY_SECONDS = 0.03
#: SSLRequest, GSSENCRequest.
_ENCRYPTION = {80877103, 80877104}
#: Errors that a server may answer to any statement: disk full, out of memory, serialization failure, lock timeout,
#: cancelled, no privilege.
SQLSTATES = ("53100", "53200", "40001", "55P03", "57014", "42501")
#: Messages of a client that belong to a group which Sync ends: Parse, Bind, Describe, Execute, Close, Flush.
_EXTENDED = b"PBDECH"


@dataclass
class Fault:
    """What happens at the n-th message.

    Attributes:
        kind: `cut-before` and `cut-after` (its connection, before or after the message is passed on), `cut-all` (all
            connections), `fatal` (the server says that it shuts down, and the connection ends), `error` (the statement
            fails on the server), `delay`, or `call` (`action` is called before the message is passed on).
        at: number of the message, from 1; for `error` among those that begin a statement or carry rows of a COPY.
        when: chooses the message in place of `at`: gets whether it goes to the server, its bytes, and the client's port.
        action: for the kind `call`; gets the client's port on this machine.
        hit: the message that was hit, for people; None as long as none was.
    """

    kind: str
    at: int = 0
    when: Callable[[bool, bytes, int], bool] | None = None
    action: Callable[[int], None] | None = None
    hit: str | None = None


@dataclass
class _Connection:
    """Both ends of one connection, and what the client is in the middle of."""

    client: socket.socket
    server: socket.socket
    port: int
    started: bool = False
    asked_encryption: bool = False
    in_group: bool = False
    copying: bool = False
    #: Type of the last message from the server.
    answered: bytes = b""
    #: An error stands for the client's messages up to its next Sync.
    dropping: bool = False
    ends: list[socket.socket] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = [self.client, self.server]

    def reset(self) -> None:
        """End both ends at once, as a router that forgets a connection does."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Wire:
    """A wire that passes messages on one by one, with one fault at most; a context manager.

    Args:
        port: of the server, on 127.0.0.1.
        fault: what goes wrong, or None.

    Attributes:
        port: what to connect to instead.
        messages: how many passed; of rows that follow each other in an answer only the first counts.
        statements: how many of them began a statement or carried rows of a COPY.
    """

    def __init__(self, port: int, fault: Fault | None = None) -> None:
        self._target, self._fault = ("127.0.0.1", port), fault
        self.messages = self.statements = 0
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.cut_all()
        for thread in self._threads:
            thread.join()
        for end in [self._listener, *(end for c in self._connections for end in c.ends)]:
            end.close()

    def cut_all(self) -> None:
        """End all connections at once."""
        for connection in list(self._connections):
            connection.reset()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, server, int(address[1]))
            self._connections.append(connection)
            self._start(self._pump_requests, connection)
            self._start(self._pump_answers, connection)

    def _pump_requests(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            for message in _requests(connection):
                if connection.dropping:
                    connection.dropping = message[:1] != b"S"
                elif not self._pass_on(connection, message, connection.server):
                    break
        connection.reset()

    def _pump_answers(self, connection: _Connection) -> None:
        with contextlib.suppress(OSError):
            for message in _answers(connection):
                connection.copying = message[:1] == b"G" or (connection.copying and message[:1] not in b"CEZ")
                if not self._pass_on(connection, message, connection.client):
                    break
        connection.reset()

    def _pass_on(self, connection: _Connection, message: bytes, sink: socket.socket) -> bool:
        """Pass a message on, or let the fault happen; return whether the connection goes on."""
        fault = self._due(connection, message, to_server=sink is connection.server)
        if fault is None:
            sink.sendall(message)
            return True
        if fault.kind == "error":
            _fail_statement(fault, connection, message)
            return True
        if fault.kind in {"cut-all", "cut-before", "fatal"}:
            if fault.kind == "cut-all":
                self.cut_all()
            elif fault.kind == "fatal":
                connection.client.sendall(_error("57P01", "terminating connection due to administrator command"))
            return False
        if fault.kind == "delay":
            time.sleep(DELAY_SECONDS)
        elif fault.kind == "call":
            assert fault.action is not None
            fault.action(connection.port)
        sink.sendall(message)
        return fault.kind != "cut-after"

    def _due(self, connection: _Connection, message: bytes, *, to_server: bool) -> Fault | None:
        """Count a message; return the fault if it happens at this one."""
        begins = to_server and connection.started and _begins(connection, message[:1])
        if not to_server:
            last, connection.answered = connection.answered, message[:1]
            if last == connection.answered == b"D":
                # The driver reads all types of the server: thousands of rows, of which one stands for all.
                return None
        with self._lock:
            self.messages += 1
            self.statements += begins
            fault = self._fault
            if fault is None or fault.hit is not None or (fault.kind == "error" and not begins):
                return None
            if not self._is_chosen(fault, connection, message, to_server):
                return None
            fault.hit = f"{'to' if to_server else 'from'} the server: {message[:200]!r}"
        return fault

    def _is_chosen(self, fault: Fault, connection: _Connection, message: bytes, to_server: bool) -> bool:
        if fault.when is not None:
            return fault.when(to_server, message, connection.port)
        return fault.at == (self.statements if fault.kind == "error" else self.messages)


def _begins(connection: _Connection, kind: bytes) -> bool:
    """Whether a message begins a statement or carries rows; keeps in mind whether the client is inside of a group."""
    if kind == b"d":
        return connection.copying
    inside, connection.in_group = connection.in_group, kind in _EXTENDED
    return kind == b"Q" or (kind in _EXTENDED and not inside)


def _fail_statement(fault: Fault, connection: _Connection, message: bytes) -> None:
    """Let the server itself fail where it would have begun the statement, so that both ends agree on what happened."""
    if message[:1] == b"d":
        connection.copying = False
        # The server ignores the rest of the rows.
        connection.server.sendall(_message(b"f", b"injected\0"))
        return
    state = SQLSTATES[fault.at % len(SQLSTATES)]
    sql = f"do $$ begin raise exception using errcode = '{state}', message = 'injected'; end $$"
    connection.dropping, connection.in_group = message[:1] in _EXTENDED, False
    connection.server.sendall(_message(b"Q", sql.encode() + b"\0"))


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _error(state: str, text: str) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": text}
    return _message(b"E", b"".join(f"{k}{v}\0".encode() for k, v in fields.items()) + b"\0")


def _requests(connection: _Connection) -> Iterator[bytes]:
    """The messages of a client."""
    with connection.client.makefile("rb") as stream:
        while head := stream.read(5 if connection.started else 4):
            (length,) = struct.unpack("!i", head[-4:])
            message = head + stream.read(length - 4)
            if not connection.started:
                (code,) = struct.unpack("!i", message[4:8])
                connection.asked_encryption = encrypted = code in _ENCRYPTION
                yield message
                connection.started = not encrypted
            else:
                yield message


def _answers(connection: _Connection) -> Iterator[bytes]:
    """The messages of a server."""
    with connection.server.makefile("rb") as stream:
        while kind := stream.read(1):
            if connection.asked_encryption:
                connection.asked_encryption = False
                yield kind
                continue
            head = stream.read(4)
            (length,) = struct.unpack("!i", head)
            yield kind + head + stream.read(length - 4)
