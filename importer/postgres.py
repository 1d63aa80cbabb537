"""Owns sessions with PostgreSQL: connecting, quoting, running statements, and the mapping of the driver's errors."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Self

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc

from .errors import Conflict, ConnectionFailed, DatabaseError, TargetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from .settings import Dsn

#: SQLSTATE classes and codes that another try can mend (PostgreSQL manual, appendix A).
_LOST = ("08", "57P01", "57P02", "57P03", "53300")
_CONFLICT = ("40001", "40P01", "55P03")
_DENIED, _DISK_FULL = "42501", "53100"
#: What a user can do about an error of the server.
_CHOICES = {
    _DENIED: "ask for the privilege, or name another target",
    _DISK_FULL: "free space on the server",
    "23505": "rows with such a key are in the table already: load only new rows, or use --mode replace",
    "23503": "load the rows that are referred to first",
}
#: The oldest server whose catalog and syntax the SQL here was written for.
MIN_SERVER = 130_000


def quote(*names: str) -> str:
    """Names as a quoted, dotted identifier.

    Raises:
        TargetRefused: a name that PostgreSQL cannot have.
    """
    for name in names:
        if not name or "\0" in name or len(name.encode()) > 63:  # noqa: PLR2004 - NAMEDATALEN - 1
            raise TargetRefused(f"{name!r} cannot be the name of a table or column", choice="1-63 bytes")
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """A text as a quoted SQL literal."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@contextlib.contextmanager
def database_errors(dsn: Dsn | None = None) -> Iterator[None]:
    """Turn every error of the driver into one of ours; values of rows (DETAIL) are dropped."""
    try:
        yield
    except adbc_driver_manager.Error as exc:
        raise _mapped(exc, dsn) from None


def _mapped(exc: adbc_driver_manager.Error, dsn: Dsn | None) -> DatabaseError:
    # The driver gives these names as bytes, whatever its type hints say.
    details = {key.decode() if isinstance(key, bytes) else key: value for key, value in exc.details or []}
    text = details.get("PG_DIAG_MESSAGE_PRIMARY", b"").decode("utf-8", "replace") or _primary(str(exc))
    state = exc.sqlstate or details.get("PG_DIAG_SQLSTATE", b"").decode() or None
    constraint = details.get("PG_DIAG_CONSTRAINT_NAME", b"").decode("utf-8", "replace") or None
    if state is None and ("libpq" in str(exc) or "connection" in text.lower()):
        return ConnectionFailed(
            _about_connection(text, dsn),
            place=str(dsn) if dsn else None,
            choice="check --to, IMPORTER_DSN or DATABASE_URL",
        )
    kind: type[DatabaseError] = DatabaseError
    if state and state.startswith(_LOST):
        kind = ConnectionFailed
    elif state in _CONFLICT:
        kind = Conflict
    where = f" (SQLSTATE {state}{', constraint ' + constraint if constraint else ''})" if state else ""
    choice = _CHOICES.get(state or "")
    return kind(f"PostgreSQL refused: {text}{where}", choice=choice, sqlstate=state, constraint=constraint)


def _primary(text: str) -> str:
    """The server's first line out of the driver's message; never its DETAIL."""
    match = re.search(r"(?:ERROR|FATAL|PANIC):\s*([^\n]+)", text)
    return match[1].strip() if match else text.split("\n", 1)[0].strip()


def _about_connection(text: str, dsn: Dsn | None) -> str:
    """What libpq says about a connection, unless it quotes a malformed connection string (and so a password)."""
    if dsn is not None and dsn.misread:
        return "cannot connect: user or password hold a character that must be percent-encoded (@ as %40, / as %2F)"
    cause = re.search(r"(connection to server .*)", text, re.DOTALL)
    if cause:
        return "cannot connect: " + " ".join(cause[1].split())
    fatal = re.search(
        r"(?:could not translate host name|timeout expired|no password|password authentication|server closed)[^\n]*",
        text,
    )
    if fatal or dsn is None:
        return "cannot connect: " + (fatal[0] if fatal else text)
    if "libpq" in text or "[libpq]" in text:
        return "the connection string is not one that libpq understands"
    return "cannot connect: " + text


class Session:
    """A connection; a context manager that rolls back what was not committed.

    Args:
        dsn: of the server.
        autocommit: every statement is its own transaction.

    Raises:
        ConnectionFailed: the server cannot be reached or refuses the connection.
    """

    def __init__(self, dsn: Dsn, *, autocommit: bool = False) -> None:
        self._dsn = dsn
        with database_errors(dsn):
            self.connection = adbc.connect(dsn.text, autocommit=autocommit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # Cleaning up must not hide the first error, and a lost connection cannot be closed politely.
        with contextlib.suppress(adbc_driver_manager.Error):
            self.connection.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with database_errors(self._dsn), self.connection.cursor() as cursor:
            cursor.execute(sql, list(parameters) or None)
            return list(cursor.fetchall())

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.query(sql, parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str) -> int:
        """Run a statement; returns the rows that it touched (-1 where the server does not say)."""
        with database_errors(self._dsn), self.connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def commit(self) -> None:
        """End the transaction, keeping its work."""
        with database_errors(self._dsn):
            self.connection.commit()

    def rollback(self) -> None:
        """End the transaction, dropping its work."""
        with database_errors(self._dsn):
            self.connection.rollback()


def check_server(session: Session) -> str:
    """The server's version (`15.8`), after checking that we can work with it.

    Raises:
        TargetRefused: older than 13, or read-only (a standby).
    """
    number, version, recovering = session.query(
        "select current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery()"
    )[0]
    if number < MIN_SERVER:
        raise TargetRefused(f"the server is PostgreSQL {version}, 13 is the oldest that works")
    if recovering:
        raise TargetRefused("the server is a standby, it takes no writes", choice="connect to the primary")
    return str(version).split()[0]
