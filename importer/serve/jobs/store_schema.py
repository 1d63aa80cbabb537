"""Opens the SQLite file of the service's state: creates it, updates an earlier version, refuses anything else.

Nothing is written to a file before it is known to be ours and whole. To add a version, append its statements to `STEPS`
and describe in `_TABLES` what the tables are after it; the steps before it stay as they are.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Step n brings the file from version n - 1 to version n. Version 1 did not mark the file as ours, and a kill could
#: leave a part of its tables.
STEPS = (
    """
    CREATE TABLE IF NOT EXISTS runs (
        id TEXT PRIMARY KEY, created_at TEXT NOT NULL, state TEXT NOT NULL, listed TEXT NOT NULL, report TEXT);
    CREATE INDEX IF NOT EXISTS runs_created ON runs (created_at, id);
    CREATE INDEX IF NOT EXISTS runs_state ON runs (state);
    CREATE TABLE IF NOT EXISTS owned (
        server TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL, oid INTEGER NOT NULL,
        PRIMARY KEY (server, schema, name));
    """,
    "PRAGMA application_id = 1229803634;",
)
VERSION = len(STEPS)
#: Marks the file as ours: `IMPr`, as the command `file` shows.
APPLICATION_ID = 0x494D5072
#: The first version that has the mark.
_MARKED_SINCE = 2
_TABLES = {
    "runs": {"id", "created_at", "state", "listed", "report"},
    "owned": {"server", "schema", "name", "oid"},
}
#: What a stored run must have to be shown; see `service_run.ServiceRun`.
_RUN_KEYS = {"id", "kind", "upload", "workbook", "size", "options", "created_at", "state"}
#: How long another program may hold the file, in seconds.
_BUSY_SECONDS = 5.0
_LOST = (
    "the list of earlier loads with their reports and rejects, the workbooks of interrupted ones, and which tables "
    "callers may load into because the service created them; rows in the database are not touched"
)


class _Header(NamedTuple):
    application: int
    version: int
    tables: dict[str, set[str]]


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection with the file, in its current version; every statement commits by itself.

    Raises:
        MachineError: the file is damaged, belongs to another program or a newer version, is in use, or cannot be used.
    """
    with _store_errors(path):
        _check_file(path)
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        with contextlib.ExitStack() as opened:
            opened.callback(db.close)
            header = _read_header(db)
            _check_owner(path, header)
            if header.tables or header.version:
                _check_content(path, db, header)
            # In WAL mode a killed process loses nothing; a power failure may lose the last states, which a restart
            # repairs.
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            _take_steps(db, header.version)
            opened.pop_all()
        return db


@contextlib.contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            fact, choice = "the service's file is held by another program", "end that (a shell, a backup)"
        elif code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PERM")):
            fact = f"the service's file cannot be used ({exc})"
            choice = "free some space, make it writable, or name another --folder"
        else:
            raise _damaged(path, str(exc)) from None
        raise MachineError(fact, place=str(path), choice=choice) from None


def _check_file(path: Path) -> None:
    """Refuse what SQLite would take for a new file, or could not open."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise MachineError(
            "in place of the service's file there is something that is not a file",
            place=str(path), choice="move it away, or name another --folder",
        )  # fmt: skip
    others = [other for name in ("runs", "uploads") for other in (path.parent / name).glob("*")]
    if path.exists() and not path.stat().st_size and others:
        raise _damaged(path, "it is empty, but there are uploads or results")


def _read_header(db: sqlite3.Connection) -> _Header:
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    columns = {
        name: {row[0] for row in db.execute("SELECT name FROM pragma_table_info(?)", (name,))}
        for name in names
        if not name.startswith("sqlite_")
    }
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    return _Header(application, version, columns)


def _check_owner(path: Path, header: _Header) -> None:
    """Refuse the file of another program, and that of a newer version of this one."""
    ours = header.application == APPLICATION_ID
    unmarked = not header.application and header.version < _MARKED_SINCE and set(header.tables) <= set(_TABLES)
    if not ours and not unmarked:
        tables = ", ".join(sorted(header.tables)) or "none"
        raise MachineError(
            f"the file belongs to another program (application_id {header.application}, tables: {tables:.200})",
            place=str(path), choice="name another --folder, or move the file there",
        )  # fmt: skip
    if header.version > VERSION:
        raise MachineError(
            f"a newer version of this program wrote the service's file: it has version {header.version}, and this "
            f"program knows up to {VERSION}",
            place=str(path), choice="use that version, or name another --folder",
        )  # fmt: skip


def _check_content(path: Path, db: sqlite3.Connection, header: _Header) -> None:
    """Refuse a file that SQLite finds damaged, and one whose tables or runs are not what this program writes."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, " ".join(str(found).split()))
    # A kill during the very first start leaves a file without a version, and maybe only some tables.
    for table in _TABLES if header.version else header.tables:
        if table not in header.tables:
            raise _damaged(path, f"table {table} is missing")
        for column in sorted(_TABLES[table] - header.tables[table]):
            raise _damaged(path, f"table {table} has no column {column}")
    if "runs" in header.tables:
        for run, listed in db.execute("SELECT id, listed FROM runs"):
            if not _is_run(listed):
                raise _damaged(path, f"run {run} cannot be read")


def _is_run(listed: str) -> bool:
    try:
        run = json.loads(listed)
    except (TypeError, ValueError):
        return False
    return isinstance(run, dict) and run.keys() >= _RUN_KEYS


def _damaged(path: Path, how: str) -> MachineError:
    return MachineError(
        f"the service's file is damaged: {how}",
        place=str(path),
        choice=f"restore it from a backup; or move it away with the files {path.name}-wal and {path.name}-shm, and "
        f"lose {_LOST}",
    )


def _take_steps(db: sqlite3.Connection, version: int) -> None:
    """Take the steps that the file lacks, all or none."""
    steps = "".join(STEPS[version:])
    if not steps:
        return
    try:
        db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.rollback()
        raise
