"""Owns the persistent state of the service: its runs, and the tables that it created."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from importer.serve.errors import StoreFailed
from importer.serve.models.child import OwnedTable

from .store_schema import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def open_store(path: Path, server: str) -> Iterator[Store]:
    """Open the store in a file, which is created if it is missing; for `server`, see `Store`.

    Raises:
        MachineError: see `open_database`.
    """
    with contextlib.closing(open_database(path)) as db:
        yield Store(db, server)


#: How long another program may hold the file while the service runs, in milliseconds: all requests wait meanwhile.
_BUSY_MILLISECONDS = 500


class Store:
    """A SQLite file; every change has been written to it when the method returns. See `open_store`.

    Every method raises StoreFailed where the file cannot be read or written; then nothing was changed, and the next
    call may succeed.

    Args:
        db: connection to the file, in autocommit mode.
        server: name that identifies the target server; the tables that the service created are recorded per server.
    """

    def __init__(self, db: sqlite3.Connection, server: str) -> None:
        self._db, self._server = db, server
        self._query(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement; return all of its rows, because each may be the one that cannot be read."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as exc:
            raise StoreFailed(str(exc)) from None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        finally:
            if self._db.in_transaction:  # many errors have rolled it back already
                with contextlib.suppress(sqlite3.Error):
                    self._db.rollback()

    # ---- RUNS ---------------------------------------------------------------------------------------------------

    def save(self, run: dict[str, Any], report: dict[str, Any] | None = None, owned: OwnedTable | None = None) -> None:
        """Save a run.

        Args:
            run: a dict with at least `id`, `created_at` and `state`.
            report: its report; None keeps the stored one.
            owned: a table that it created, to be recorded with it.
        """
        with self._transaction():
            self._query(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "state = excluded.state, listed = excluded.listed, report = coalesce(excluded.report, report)",
                (run["id"], run["created_at"], run["state"], json.dumps(run), report and json.dumps(report)),
            )
            if owned is not None:
                self._query("INSERT OR REPLACE INTO owned VALUES (?, ?, ?, ?)", (self._server, *owned))

    def delete(self, run: str) -> None:
        """Delete a run and its report."""
        self._query("DELETE FROM runs WHERE id = ?", (run,))

    def get(self, run: str) -> dict[str, Any] | None:
        """Return a run by its id, or None."""
        found = self._query("SELECT listed FROM runs WHERE id = ?", (run,))
        return json.loads(found[0][0]) if found else None

    def report(self, run: str) -> dict[str, Any] | None:
        """Return the report of a run, or None."""
        found = self._query("SELECT report FROM runs WHERE id = ?", (run,))
        return json.loads(found[0][0]) if found and found[0][0] else None

    def page(self, limit: int, before: str | None, state: str | None) -> list[dict[str, Any]]:
        """Return runs, newest first.

        Args:
            limit: maximum number of runs.
            before: return only runs created before this time; None: any time.
            state: return only runs in this state; None: any state.
        """
        rows = self._query(
            "SELECT listed FROM runs WHERE created_at < coalesce(?, '~') AND state = coalesce(?, state) "
            "ORDER BY created_at DESC, id DESC LIMIT ?",
            (before, state, limit),
        )
        return [json.loads(row[0]) for row in rows]

    def runs_in_states(self, *states: str) -> list[dict[str, Any]]:
        """Return all runs in these states, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._query(f"SELECT listed FROM runs WHERE state IN ({marks}) ORDER BY created_at, id", states)
        return [json.loads(row[0]) for row in rows]

    def runs_finished_before(self, time: str) -> list[dict[str, Any]]:
        """Return the runs that ended or were interrupted before a time, oldest first."""
        # No run ends before it was created: that condition has an index, and leaves few rows for the other one.
        rows = self._query(
            "SELECT listed FROM runs WHERE created_at < ?1 AND json_extract(listed, '$.finished_at') < ?1 "
            "ORDER BY created_at",
            (time,),
        )
        return [json.loads(row[0]) for row in rows]

    # ---- TABLES -------------------------------------------------------------------------------------------------

    def owned(self) -> list[OwnedTable]:
        """Return the tables that the service created on this server."""
        rows = self._query("SELECT schema, name, oid FROM owned WHERE server = ? ORDER BY 1, 2", (self._server,))
        return [OwnedTable(*row) for row in rows]
