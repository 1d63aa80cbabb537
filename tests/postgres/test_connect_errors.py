"""Refused connections: by SQLSTATE, in whatever language the server speaks, it is decided whether to try again."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest
from support.pooling import pooling
from support.tables import save

from importer import import_workbook
from importer.errors import ConnectionFailed, LoginRefused
from importer.postgres import libpq
from importer.postgres.connect_errors import connection_error
from importer.postgres.session import Session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Database

#: What servers with lc_messages of other languages answer: severity, SQLSTATE, message, whether it may pass.
REFUSALS = [
    ("FATAL", "28P01", "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen", False),
    ("FATAL", "28000", "Rolle »u« existiert nicht", False),
    ("FATALE", "3D000", 'il database "x" non esiste', False),
    ("致命的エラー", "28000", "ホスト用のエントリが pg_hba.conf にありません", False),
    ("ВАЖНО", "42501", "нет прав", False),
    ("FATAL", "55000", "Datenbank »x« akzeptiert gegenwärtig keine Verbindungen", False),
    ("FATAL", "57P03", "das Datenbanksystem startet", True),
    ("致命的エラー", "53300", "現在クライアント数が多すぎます", True),
    ("FATAL", "57P01", "Verbindung wird abgebrochen aufgrund von Anweisung des Administrators", True),
    # PgBouncer has one code for nearly everything, and speaks English.
    ("FATAL", "08P01", "no more connections allowed (max_client_conn)", True),
    ("FATAL", "08P01", "no such database: shop", False),
]


class Refuser:
    """A server that refuses every connection with the same error.

    Attributes:
        url: its connection string.
        asked: number of connections so far.
    """

    def __init__(self, severity: str, state: str, message: bytes) -> None:
        fields = b"".join((b"S", severity.encode(), b"\0C", state.encode(), b"\0M", message, b"\0\0"))
        self._error = b"E" + struct.pack("!i", len(fields) + 4) + fields
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://u:secret@127.0.0.1:{self._listener.getsockname()[1]}/x?sslmode=disable"
        self.asked = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.asked += 1
                with client, contextlib.suppress(OSError):
                    client.recv(4096)
                    client.sendall(self._error)


@pytest.fixture
def refuser() -> Iterator[Callable[..., Refuser]]:
    with contextlib.ExitStack() as stack:

        def made(severity: str, state: str, message: str | bytes) -> Refuser:
            text = message.encode() if isinstance(message, str) else message
            return stack.enter_context(contextlib.closing(Refuser(severity, state, text)))

        yield made


@pytest.mark.parametrize(("severity", "state", "message", "passes"), REFUSALS)
def test_refusal_in_any_language(
    refuser: Callable[..., Refuser], severity: str, state: str, message: str, passes: bool
) -> None:
    server = refuser(severity, state, message)
    with pytest.raises(ConnectionFailed) as caught:
        Session(Dsn(server.url))
    assert caught.value.transient is passes
    assert type(caught.value) is (ConnectionFailed if passes else LoginRefused)
    assert message in caught.value.fact
    assert "secret" not in str(caught.value)
    assert server.asked == 2


def test_message_that_is_not_utf8(refuser: Callable[..., Refuser]) -> None:
    """Before the login the server knows no client encoding."""
    server = refuser("FATAL", "28P01", "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen".encode("latin-1"))
    with pytest.raises(LoginRefused, match="Passwort-Authentifizierung"):
        Session(Dsn(server.url))


def test_run_does_not_try_a_wrong_password_again(refuser: Callable[..., Refuser], tmp_path: Path) -> None:
    server = refuser("FATAL", "28P01", "Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen")
    with pytest.raises(LoginRefused):
        import_workbook(save(tmp_path / "t.xlsx", ["a"], [1]), to=server.url, retry_for=3600, workers=0)
    assert server.asked == 2


@pytest.mark.parametrize(("severity", "state", "message", "passes"), [case for case in REFUSALS if case[1] < "3"])
def test_without_a_shared_libpq_unknown_words_are_final(
    refuser: Callable[..., Refuser],
    monkeypatch: pytest.MonkeyPatch,
    severity: str,
    state: str,
    message: str,
    passes: bool,
) -> None:
    monkeypatch.setattr(libpq, "_load", lambda: None)
    server = refuser(severity, state, message)
    with pytest.raises(ConnectionFailed) as caught:
        Session(Dsn(server.url))
    assert caught.value.transient is passes
    assert server.asked == 1


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_network_errors_may_pass(number: int) -> None:
    text = f'IO: [libpq] Failed to connect: connection to server at "h" (::1), port 1 failed: {os.strerror(number)}\n'
    assert connection_error(text, None).transient


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('connection to server on socket "/s/.s.PGSQL.1" failed: No such file or directory\n\tIs the server…', True),
        ('connection to server on socket "/s/.s.PGSQL.1" failed: Permission denied', False),
        ('connection to server at "h" failed: server closed the connection unexpectedly', True),
        ('connection to server at "h" failed: timeout expired', True),
        ('connection to server at "h" failed: server sent an error response during SSL exchange', True),
        ('connection to server at "h" failed: server sent an error response during GSS encryption exchange', True),
        ('connection to server at "h" failed: received invalid response to SSL negotiation: H', False),
        ('connection to server at "h" failed: root certificate file "/x" does not exist', False),
        ('connection to server at "h" failed: fe_sendauth: no password supplied', False),
        ('connection to server at "h" failed: SSL error: certificate verify failed', False),
        ('connection to server at "h" failed: Something that nobody has seen', False),
        ('invalid URI query parameter: "foo"', False),
        ('could not translate host name "x" to address: Name or service not known', False),
        # Of several hosts the last one decides.
        ('connection to server at "a" failed: Connection refused\nconnection to server at "b" failed: FATAL:  nein', False),
        ('connection to server at "a" failed: FATAL:  nein\nconnection to server at "b" failed: Connection refused', True),
    ],
)  # fmt: skip
def test_what_libpq_says(text: str, passes: bool) -> None:
    assert connection_error(f"IO: [libpq] Failed to connect: {text}", None).transient is passes


@pytest.mark.parametrize(
    ("file", "service", "said"),
    [
        (None, "x", "not found"),
        (b"[y]\nhost=/tmp\n", "x", 'definition of service "x" not found'),
        (b"[x]\nhost\n", "x", "line 2"),
        (b"[x]\nservice=y\n", "x", "nested"),
    ],
    ids=["missing", "other", "damaged", "nested"],
)
def test_service_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes | None, service: str, said: str
) -> None:
    path = tmp_path / "services.conf"
    if file is not None:
        path.write_bytes(file)
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    with pytest.raises(LoginRefused, match=said) as caught:
        Session(Dsn(f"service={service}"))
    assert "PGSERVICEFILE" in str(caught.value.choice)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("host=/tmp sslmode=bogus", "invalid sslmode value"),
        ("host=/tmp port=99999 password=secret", "invalid port number"),
        ("postgresql://me:secret/db", "not one that libpq understands"),
        ("host=a,b,c port=1,2", "could not match 2 port numbers to 3 hosts"),
        (f"host=/{'s' * 120}", "too long"),
    ],
)
def test_option_that_cannot_be_used(dsn: str, said: str) -> None:
    with pytest.raises(LoginRefused, match=said) as caught:
        Session(Dsn(dsn))
    assert "secret" not in str(caught.value.fact)


def test_sqlstate_and_process_of_a_connection(db: Database) -> None:
    """The shared libpq gives what the driver does not; through a pooler the number of the process is another."""
    with libpq.libpq_connection(db.server.text) as connection:
        assert connection is not None
        assert connection.sqlstate == libpq.ACCEPTED
        assert connection.value("select pg_backend_pid()") == str(connection.process)
        assert (connection.value("select 1/0"), connection.last_error) == (None, "22012")
        assert connection.value("select 'é'") == "é"
    joint = "&" if "?" in db.server.text else "?"
    with libpq.libpq_connection(f"{db.server.text}{joint}dbname=no_such_database") as refused:
        assert refused is not None
        assert refused.sqlstate == "3D000"
    if "host=/" in db.server.text:
        with pooling(db.server, "session") as url, libpq.libpq_connection(url) as pooled:
            assert pooled is not None
            assert pooled.value("select pg_backend_pid()") != str(pooled.process)
