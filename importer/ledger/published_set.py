"""Marks runs that are published in one transaction: they end in one moment, and leave rows in a table together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.postgres.sql import literal

from .schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from importer.postgres.session import Session


def mark_published_together(session: Session, runs: Sequence[str], unions: Mapping[str, Sequence[str]]) -> None:
    """Have runs end in the same moment, so that none is newer than another. Does not commit.

    Args:
        session: session whose transaction publishes them.
        runs: ids of the runs.
        unions: ids of the runs that exchanged the rows of a table together, by its quoted name; the rows are as they
            were left as long as there are as many, all written by their transactions.
    """
    if runs:
        session.run(f"UPDATE {SCHEMA}.runs SET finished_at = statement_timestamp() WHERE id IN ({_listed(runs)})")
    for target, members in unions.items():
        readable = session.value(
            "select relkind = 'r' and has_table_privilege(oid, 'select') from pg_class where oid = to_regclass($1)",
            [target],
        )
        if readable:
            session.run(
                f"UPDATE {SCHEMA}.runs SET xids = t.xids, "
                "counts = counts || jsonb_build_object('inserted_together', t.rows) "
                f"FROM (SELECT string_agg(DISTINCT xmin::text, ',') AS xids, count(*) AS rows FROM {target}) t "
                f"WHERE id IN ({_listed(members)})"
            )


def _listed(runs: Sequence[str]) -> str:
    return ", ".join(literal(run) for run in runs)
