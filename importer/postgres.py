"""Owns sessions with PostgreSQL: connecting, quoting, running statements, and the mapping of the driver's errors."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

import adbc_driver_manager
import adbc_driver_postgresql
import polars as pl

from .errors import Conflict, ConnectionFailed, DatabaseError, ImporterError, LoginRefused, TargetRefused
from .guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from .patience import Deadline
    from .settings import Dsn

Result = TypeVar("Result")

#: SQLSTATE classes and codes that another try can mend (PostgreSQL manual, appendix A).
_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "53300")
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


#: What libpq says of a connection that no later try will get; all else may pass (it gives no code to tell by).
_LOGIN = re.compile(
    r"password|authentication|does not exist|pg_hba|not translate host name|invalid|SSL|certificate|permission denied"
    r"|is not permitted|not currently accepting|missing|unrecognized"
)


@contextlib.contextmanager
def database_errors(dsn: Dsn | None = None, *, connecting: bool = False) -> Iterator[None]:
    """Turn every error of the driver into one of ours; values of rows (DETAIL) are dropped."""
    try:
        yield
    except adbc_driver_manager.Error as exc:
        raise _mapped(exc, dsn, connecting=connecting) from None


def _mapped(exc: adbc_driver_manager.Error, dsn: Dsn | None, *, connecting: bool) -> DatabaseError:
    # The driver gives these names as bytes, whatever its type hints say.
    details = {key.decode() if isinstance(key, bytes) else key: value for key, value in exc.details or []}
    text = details.get("PG_DIAG_MESSAGE_PRIMARY", b"").decode("utf-8", "replace") or _primary(str(exc))
    state = exc.sqlstate or details.get("PG_DIAG_SQLSTATE", b"").decode() or None
    constraint = details.get("PG_DIAG_CONSTRAINT_NAME", b"").decode("utf-8", "replace") or None
    if state is None and connecting:
        about = _about_connection(text, dsn)
        wrong = _LOGIN.search(text) is not None or (dsn is not None and dsn.misread) or "not one that libpq" in about
        refused = LoginRefused if wrong else ConnectionFailed
        return refused(about, place=str(dsn) if dsn else None, choice="check --to, IMPORTER_DSN or DATABASE_URL")
    if state is None and exc.status_code == adbc_driver_manager.AdbcStatusCode.IO:
        return ConnectionFailed("the connection to the server was lost", place=str(dsn) if dsn else None)
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

    It stands on the driver manager's own objects, not on its DB-API module: that one imports most of pyarrow, which
    takes longer than loading a small workbook.

    Args:
        dsn: of the server.
        autocommit: every statement is its own transaction.
        deadline: ends what is waited for in the main thread, as signals do.

    Raises:
        ConnectionFailed: the server cannot be reached or refuses the connection.
    """

    def __init__(self, dsn: Dsn, *, autocommit: bool = False, deadline: Deadline | None = None) -> None:
        self._dsn = dsn
        self.guard = Guard(deadline)
        with database_errors(dsn, connecting=True), contextlib.ExitStack() as opened:
            self._database = opened.enter_context(adbc_driver_postgresql.connect(dsn.text))
            self._connection = opened.enter_context(adbc_driver_manager.AdbcConnection(self._database))
            self._connection.set_autocommit(autocommit)
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        # Cleaning up must not hide the first error, and a lost connection cannot be closed politely.
        for resource in (self._connection, self._database):
            with contextlib.suppress(adbc_driver_manager.Error, ImporterError):
                self._interruptibly(resource.close, self.cancel)
        self.guard.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._statement() as statement:
            # Without COPY the server answers before the first row is looked at, so every error is one of the driver.
            statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            statement.set_sql_query(sql)
            if parameters:
                statement.prepare()
                statement.bind_stream(_one_row(parameters))
            stream, _ = self._interruptibly(statement.execute_query, statement.cancel)
            return _rows(stream)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.query(sql, parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str) -> int:
        """Run a statement; returns the rows that it touched (-1 where the server does not say)."""
        with self._statement() as statement:
            statement.set_sql_query(sql)
            return int(self._interruptibly(statement.execute_update, statement.cancel))

    def copy(self, rows: pl.DataFrame, schema: str, table: str) -> None:
        """Append rows to a table by one binary COPY; columns are found by name and not checked (FACTS 3.1).

        Without autocommit it is part of the open transaction.
        """
        with self._statement() as statement:
            statement.set_options(**{
                "adbc.ingest.mode": "adbc.ingest.mode.append",
                "adbc.ingest.target_table": table,
                "adbc.ingest.target_db_schema": schema,
            })  # fmt: skip
            statement.bind_stream(rows)
            self._interruptibly(statement.execute_update, statement.cancel)

    def run_each(self, sql: str, rows: pl.DataFrame) -> None:
        """Run a statement once for every row, whose columns are its parameters; each is a round trip."""
        with self._statement() as statement:
            statement.set_sql_query(sql)
            statement.prepare()
            for start in range(len(rows)):
                statement.bind_stream(rows.slice(start, 1))
                statement.execute_update()

    def commit(self) -> None:
        """End the transaction, keeping its work."""
        with database_errors(self._dsn):
            self._interruptibly(self._connection.commit, self.cancel)

    def rollback(self) -> None:
        """End the transaction, dropping its work."""
        with database_errors(self._dsn):
            self._interruptibly(self._connection.rollback, self.cancel)

    def cancel(self) -> None:
        """End the statement that runs, whichever thread waits for it; where none does, nothing happens."""
        with contextlib.suppress(adbc_driver_manager.Error):
            self._connection.cancel()

    @contextlib.contextmanager
    def _statement(self) -> Iterator[adbc_driver_manager.AdbcStatement]:
        with database_errors(self._dsn), adbc_driver_manager.AdbcStatement(self._connection) as statement:
            yield statement

    def _interruptibly(self, function: Callable[[], Result], cancel: Callable[[], None]) -> Result:
        """The result of a native call that may take long; a signal or the deadline cancels it first.

        Python runs signal handlers in the main thread only, and not while that is in native code.
        """
        if threading.current_thread() is not threading.main_thread():
            return function()
        return self.guard.call(function, cancel)


def _rows(stream: Any) -> list[tuple[Any, ...]]:
    """The rows of an Arrow stream as Python values.

    Polars is at hand; it knows neither equal names nor intervals. Importing pyarrow takes 60 ms more.
    """
    try:
        pl.Schema(stream)  # does not begin to read
        return pl.DataFrame(stream).rows()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        import pyarrow as pa

        table = pa.RecordBatchReader.from_stream(stream).read_all()
        return list(zip(*[column.to_pylist() for column in table.columns], strict=True))


def _one_row(values: Sequence[Any]) -> pl.DataFrame:
    """Parameters as a row; one that is None is a text, because the driver cannot bind a column without a type."""
    return pl.DataFrame([pl.Series(f"{n}", [v], dtype=pl.String if v is None else None) for n, v in enumerate(values)])


def check_server(session: Session) -> str:
    """The server's version (`15.8`), after checking that we can work with it.

    Raises:
        TargetRefused: older than 13, or read-only (a standby).
    """
    number, version, recovering = session.query(
        "select current_setting('server_version_num')::int as number, current_setting('server_version') as version, "
        "pg_is_in_recovery()"
    )[0]
    if number < MIN_SERVER:
        raise TargetRefused(f"the server is PostgreSQL {version}, 13 is the oldest that works")
    if recovering:
        raise TargetRefused("the server is a standby, it takes no writes", choice="connect to the primary")
    return str(version).split()[0]
