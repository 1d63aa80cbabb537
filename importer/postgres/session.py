"""Owns sessions with PostgreSQL: connects, quotes names, runs statements, and maps the driver's errors to ours."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import adbc_driver_manager
import adbc_driver_postgresql
import polars as pl

from importer.errors import Conflict, ConnectionFailed, DatabaseError, ImporterError
from importer.runtime.interruptible import InterruptibleCaller

from .connect_errors import connection_error, pooler_error
from .encoding import Encoding, find_encoding
from .libpq import OPTIONS_REFUSED, in_utf8, with_own_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from importer.runtime.retry import Deadline
    from importer.settings import Dsn

Result = TypeVar("Result")

#: SQLSTATE classes and codes where another attempt may succeed (PostgreSQL manual, appendix A).
_LOST_CODES = ("08", "57P01", "57P02", "57P03", "57P05", "53300")
_CONFLICT_CODES = ("40001", "40P01", "55P03")
_DENIED, _DISK_FULL = "42501", "53100"
#: What a user can do about an error of the server, by SQLSTATE.
_CHOICES = {
    _DENIED: "ask for the privilege, or name another target",
    _DISK_FULL: "free space on the server",
    "25006": "connect to a server that takes writes, as a role with default_transaction_read_only = off",
    "57014": "if statement_timeout ended it: PGOPTIONS='-c statement_timeout=0'",
    "23505": "rows with such a key are in the table already: load only new rows, or use --mode replace",
    "23503": "load the referenced rows first",
    "54000": "where a row is too big, load fewer columns: --columns, or --range for a part of the sheet",
    "22021": "a name or text in the database is not in UTF-8: rename or rewrite it",
    "22P05": "name it in characters of the database's encoding, or load into a database with encoding UTF8",
}
#: What PgBouncer says as it cuts a connection that begins a transaction; always in English, and here without SQLSTATE.
_STATEMENT_MODE = "statement pooling mode"
#: What every session sets, if the server has it; it returns the encoding of the database. Sessions wait while the
#: workbook is read, also in transactions. Compiling what runs once, checksums of 200 columns, takes 0.4-5 s, which is
#: more than 100,000 rows take. Types and expressions that the catalog prints are compared, so without needless quotes.
_SET_UP = """
select pg_catalog.getdatabaseencoding()::pg_catalog.text as encoding,
       pg_catalog.current_setting('search_path') as path,
       pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text as schemas,
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) as own,
       (select pg_catalog.count(pg_catalog.set_config(name, value, false))
        from (values ('jit', 'off'), ('client_encoding', 'UTF8'), ('array_nulls', 'on'),
                     ('quote_all_identifiers', 'off'), ('transaction_timeout', '0'),
                     ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')) as ours (name, value)
        where pg_catalog.current_setting(name, true) is not null) as ours
"""


@contextlib.contextmanager
def database_errors(dsn: Dsn | None = None, *, connecting: bool = False) -> Iterator[None]:
    """Convert every error of the driver into one of ours, without values of rows (DETAIL)."""
    try:
        yield
    except adbc_driver_manager.Error as exc:
        raise _map_error(exc, dsn, connecting=connecting) from None


def _map_error(exc: adbc_driver_manager.Error, dsn: Dsn | None, *, connecting: bool) -> DatabaseError:
    # The driver gives these names as bytes, whatever its type hints say.
    details = {key.decode() if isinstance(key, bytes) else key: value for key, value in exc.details or []}
    text = details.get("PG_DIAG_MESSAGE_PRIMARY", b"").decode("utf-8", "replace") or _primary_message(str(exc))
    state = exc.sqlstate or details.get("PG_DIAG_SQLSTATE", b"").decode() or None
    constraint = details.get("PG_DIAG_CONSTRAINT_NAME", b"").decode("utf-8", "replace") or None
    if state is None and connecting:
        return connection_error(str(exc), dsn)
    if state is None and _STATEMENT_MODE in str(exc):
        return pooler_error()
    if state is None and exc.status_code == adbc_driver_manager.AdbcStatusCode.IO:
        return ConnectionFailed("the connection to the server was lost", place=str(dsn) if dsn else None)
    kind: type[DatabaseError] = DatabaseError
    if state and state.startswith(_LOST_CODES):
        kind = ConnectionFailed
    elif state in _CONFLICT_CODES:
        kind = Conflict
    where = f" (SQLSTATE {state}{', constraint ' + constraint if constraint else ''})" if state else ""
    choice = _CHOICES.get(state or "")
    return kind(f"PostgreSQL refused: {text}{where}", choice=choice, sqlstate=state, constraint=constraint)


def _primary_message(text: str) -> str:
    """Extract the server's first line from the driver's message, without DETAIL."""
    match = re.search(r"(?:ERROR|FATAL|PANIC):\s*([^\n]+)", text)
    return match[1].strip() if match else text.split("\n", 1)[0].strip()


#: Reading all types of the server takes 33 ms of CPU time here and 6 ms there. We need those of every server: values of
#: others are texts in our SQL, and a COPY sends what the types of the frame say.
_OWN_TYPES = {"adbc.postgresql.type_resolver_mode": "builtin"}
#: Connection strings whose server, a pooler, takes no options as a session starts.
_without_options: set[str] = set()


def _connect_driver(text: str, options: dict[str, str]) -> adbc_driver_manager.AdbcDatabase:
    """Return the driver's database; its package would import 10 modules, for 3 ms, to find the library beside it."""
    library = Path(adbc_driver_postgresql.__file__).with_name("libadbc_driver_postgresql.so")
    if library.exists():
        return adbc_driver_manager.AdbcDatabase(driver=str(library), uri=text, **options)
    return cast("adbc_driver_manager.AdbcDatabase", adbc_driver_postgresql.connect(text, options))


def _open_database(text: str) -> adbc_driver_manager.AdbcDatabase:
    """Return the driver's database, made with our search path; connections begin with the user's.

    A pooler may refuse the option that sets the path. A driver before 1.13 reads all types of the server instead.
    """
    database: adbc_driver_manager.AdbcDatabase
    first, options = text if text in _without_options else with_own_path(text), dict(_OWN_TYPES)
    while True:
        try:
            database = _connect_driver(first, options)
            break
        except adbc_driver_manager.Error as exc:
            if options and exc.status_code == adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED:
                options = {}
            elif first != text and OPTIONS_REFUSED.search(str(exc)):
                _without_options.add(text)
                first = text
            else:
                raise
    database.set_options(uri=text)
    return database


class Session:
    """A connection to the server; a context manager that rolls back what was not committed.

    It uses the driver manager's own objects: its DB-API module imports most of pyarrow, which takes longer than loading
    a small workbook.

    Args:
        dsn: connection string of the server.
        autocommit: whether every statement is its own transaction.
        deadline: time at which calls in the main thread are cancelled, as they are by signals; None for no limit.

    Attributes:
        encoding_name: the server's name for the encoding of the database, such as `LATIN1`.
        user_path: the search path that role, database and connection string set; ours replaces it.
        schemas: the schemas on it that exist and may be used, in order.

    Raises:
        ConnectionFailed: the server cannot be reached.
        LoginRefused: the connection string or the login is wrong; another attempt would fail, too.
    """

    is_joined: ClassVar[bool] = False  # whether several imports share a transaction of it, see `run.joined_session`

    def __init__(self, dsn: Dsn, *, autocommit: bool = False, deadline: Deadline | None = None) -> None:
        self._dsn = dsn
        self.guard = InterruptibleCaller(deadline)
        with database_errors(dsn, connecting=True), contextlib.ExitStack() as opened:
            self._database = _open_database(in_utf8(dsn.text))
            opened.callback(self._close_resources, self._database)
            self._connection = opened.enter_context(adbc_driver_manager.AdbcConnection(self._database))
            self.encoding_name, self.user_path, schemas = map(str, self.query(_SET_UP)[0][:3])
            # What is in a temporary schema is gone with the session.
            self.schemas = tuple(n for n in map(str, json.loads(schemas)) if not n.startswith("pg_temp_"))
            # Only now: a setting that is made in a transaction goes away with it.
            self._connection.set_autocommit(autocommit)
            opened.pop_all()

    @functools.cached_property
    def encoding(self) -> Encoding:
        """The encoding of the database; the server is asked for its characters when this is first used."""
        return find_encoding(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back.

        A call that did not end when it was cancelled delays that, but not the caller.
        """
        # Errors are ignored: cleanup must not hide the first error.
        with contextlib.suppress(ImporterError):
            self.guard.close(lambda: self._close_resources(self._connection, self._database), self.cancel)

    @staticmethod
    def _close_resources(*resources: adbc_driver_manager.AdbcConnection | adbc_driver_manager.AdbcDatabase) -> None:
        for resource in resources:
            # Closing a lost connection fails. RuntimeError: another thread has a statement open, and closes it then, or
            # a signal came when there was a connection that the session did not have yet.
            with contextlib.suppress(adbc_driver_manager.Error, RuntimeError):
                resource.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        with self._statement() as statement:
            # Without COPY the query is complete before its first row is read, so every error is raised by the driver.
            statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            statement.set_sql_query(sql)
            if parameters:
                statement.prepare()
                statement.bind_stream(_one_row(parameters))
            stream, _ = self._call_interruptibly(statement.execute_query, statement.cancel)
            return _rows(stream)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run a query and return the first column of its first row, or None if it has no rows."""
        rows = self.query(sql, parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str) -> int:
        """Run a statement and return the number of rows affected (-1 if the server does not report it)."""
        with self._statement() as statement:
            statement.set_sql_query(sql)
            return int(self._call_interruptibly(statement.execute_update, statement.cancel))

    def copy(self, rows: pl.DataFrame, schema: str, table: str) -> None:
        """Append rows to a table by one binary COPY; columns are matched by name, types are not checked (FACTS 3.1).

        Without autocommit the COPY is part of the open transaction.
        """
        with self._statement() as statement:
            statement.set_options(**{
                "adbc.ingest.mode": "adbc.ingest.mode.append",
                "adbc.ingest.target_table": table,
                "adbc.ingest.target_db_schema": schema,
            })  # fmt: skip
            statement.bind_stream(rows)
            self._call_interruptibly(statement.execute_update, statement.cancel)

    def run_each(self, sql: str, rows: pl.DataFrame) -> None:
        """Run a statement once per row, with the row's columns as parameters; each row is a round trip."""
        with self._statement() as statement:
            statement.set_sql_query(sql)
            statement.prepare()
            for start in range(len(rows)):
                statement.bind_stream(rows.slice(start, 1))
                statement.execute_update()

    def commit(self) -> None:
        """Commit the transaction."""
        with database_errors(self._dsn):
            self._call_interruptibly(self._connection.commit, self.cancel)

    def rollback(self) -> None:
        """Roll the transaction back."""
        with database_errors(self._dsn):
            self._call_interruptibly(self._connection.rollback, self.cancel)

    def cancel(self) -> None:
        """Cancel the running statement, in whatever thread it was started; without one, do nothing."""
        with contextlib.suppress(adbc_driver_manager.Error):
            self._connection.cancel()

    @contextlib.contextmanager
    def _statement(self) -> Iterator[adbc_driver_manager.AdbcStatement]:
        with database_errors(self._dsn), adbc_driver_manager.AdbcStatement(self._connection) as statement:
            yield statement

    def _call_interruptibly(self, function: Callable[[], Result], cancel: Callable[[], None]) -> Result:
        """Return the result of a native call that may take long; a signal or the deadline cancels it.

        Python runs signal handlers in the main thread only, and not while that thread is in native code.
        """
        if threading.current_thread() is not threading.main_thread():
            return function()
        return self.guard.call(function, cancel)


def _rows(stream: Any) -> list[tuple[Any, ...]]:
    """Return the rows of an Arrow stream as Python values, by polars, unless it has equal column names or intervals.

    pyarrow, which can read those, is imported only then: it takes another 60 ms.
    """
    try:
        pl.Schema(stream)  # does not start reading the stream
        return pl.DataFrame(stream).rows()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        import pyarrow as pa

        table = pa.RecordBatchReader.from_stream(stream).read_all()
        return list(zip(*[column.to_pylist() for column in table.columns], strict=True))


def _one_row(values: Sequence[Any]) -> pl.DataFrame:
    """Return parameters as a one-row frame; None becomes text, because the driver cannot bind a column of no type."""
    return pl.DataFrame([pl.Series(f"{n}", [v], dtype=pl.String if v is None else None) for n, v in enumerate(values)])
