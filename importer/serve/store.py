"""Owns what the service remembers when it is stopped or killed: its runs, and the tables that it created."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_CREATE = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, created_at TEXT NOT NULL, state TEXT NOT NULL, listed TEXT NOT NULL, report TEXT);
CREATE INDEX IF NOT EXISTS runs_created ON runs (created_at, id);
CREATE INDEX IF NOT EXISTS runs_state ON runs (state);
CREATE TABLE IF NOT EXISTS owned (
    server TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL, oid INTEGER NOT NULL,
    PRIMARY KEY (server, schema, name));
PRAGMA user_version = 1;
"""


class Store:
    """A SQLite file; every change is in it when the method returns.

    Args:
        path: of the file.
        server: what tells the target server from others; tables are owned on one.
    """

    def __init__(self, path: Path, server: str) -> None:
        self._server = server
        self._db = sqlite3.connect(path, isolation_level=None)
        # A killed process loses nothing in WAL mode; a lost power may lose the last states, which a restart mends.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_CREATE)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---- RUNS ---------------------------------------------------------------------------------------------------

    def save(self, run: dict[str, Any], report: dict[str, Any] | None = None) -> None:
        """Write a run (`id`, `created_at`, `state` and whatever else); a report that it had is kept."""
        self._db.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "state = excluded.state, listed = excluded.listed, report = coalesce(excluded.report, report)",
            (run["id"], run["created_at"], run["state"], json.dumps(run), report and json.dumps(report)),
        )

    def delete(self, run: str) -> None:
        """Forget a run."""
        self._db.execute("DELETE FROM runs WHERE id = ?", (run,))

    def get(self, run: str) -> dict[str, Any] | None:
        """A run, or None."""
        found = self._db.execute("SELECT listed FROM runs WHERE id = ?", (run,)).fetchone()
        shown: dict[str, Any] | None = found and json.loads(found[0])
        return shown

    def report(self, run: str) -> dict[str, Any] | None:
        """The report of a run, or None."""
        found = self._db.execute("SELECT report FROM runs WHERE id = ?", (run,)).fetchone()
        return json.loads(found[0]) if found and found[0] else None

    def page(self, limit: int, before: str | None, state: str | None) -> list[dict[str, Any]]:
        """Runs, the newest first.

        Args:
            limit: how many at most.
            before: only those created before that time.
            state: only those in that state.
        """
        rows = self._db.execute(
            "SELECT listed FROM runs WHERE created_at < coalesce(?, '~') AND state = coalesce(?, state) "
            "ORDER BY created_at DESC, id DESC LIMIT ?",
            (before, state, limit),
        )
        return [json.loads(row[0]) for row in rows]

    def in_states(self, *states: str) -> list[dict[str, Any]]:
        """All runs in those states, the oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._db.execute(f"SELECT listed FROM runs WHERE state IN ({marks}) ORDER BY created_at, id", states)
        return [json.loads(row[0]) for row in rows]

    def older_than(self, time: str) -> list[dict[str, Any]]:
        """Runs created before that time."""
        rows = self._db.execute("SELECT listed FROM runs WHERE created_at < ? ORDER BY created_at", (time,))
        return [json.loads(row[0]) for row in rows]

    # ---- TABLES -------------------------------------------------------------------------------------------------

    def own(self, schema: str, name: str, oid: int) -> None:
        """Remember a table that the service created."""
        self._db.execute("INSERT OR REPLACE INTO owned VALUES (?, ?, ?, ?)", (self._server, schema, name, oid))

    def owned(self) -> list[list[Any]]:
        """The tables that the service created on the server: schema, name, oid."""
        rows = self._db.execute("SELECT schema, name, oid FROM owned WHERE server = ? ORDER BY 1, 2", (self._server,))
        return [list(row) for row in rows]
