"""Says in plain words which rows a table refused because it has their keys already, and what updates them instead."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from importer.postgres.catalog import constraint_columns

if TYPE_CHECKING:
    from importer.load.insert_bisect import PublishResult
    from importer.run.lease import RunLease
    from importer.settings import Settings

_UNIQUE_VIOLATION = "23505"


def present_notes(settings: Settings, lease: RunLease, published: PublishResult | None) -> list[str]:
    """Return a note for each key of the target that rows of the sheet have in common with rows of the table.

    Args:
        settings: settings of the run.
        lease: lease of the run, whose session published.
        published: the outcome of publishing, or None before that.
    """
    if published is None or not published.refused:
        return []
    target = lease.target
    found = Counter(
        row.constraint
        for row in published.refused
        if row.sqlstate == _UNIQUE_VIOLATION and (row.schema, row.table) == (target.schema, target.name)
    )
    notes = []
    for constraint, rows in found.items():
        key = constraint_columns(lease.session, target.schema, target.name, constraint)
        same = f" with the same {', '.join(key)}" if key else f" by constraint {constraint}"
        there = "1 row is" if rows == 1 else f"{rows:,} rows are"
        advice = _advice(settings, lease, key)
        notes.append(f"{there} there already{same}" + (advice and f": {advice} {'it' if rows == 1 else 'them'}"))
    return notes


def _advice(settings: Settings, lease: RunLease, key: tuple[str, ...]) -> str:
    table = lease.target.table
    if settings.mode != "append" or table is None or set(key) not in map(set, table.arbiters):
        return ""
    primary = next((columns for is_primary, columns in table.keys if is_primary), ())
    named = "" if set(key) == set(primary) else f" --key {','.join(key)}"
    return f"--mode upsert{named} updates"
