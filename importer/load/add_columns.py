"""Adds columns to the target, in the transaction that publishes: without the rows, nobody sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.postgres.sql import quote

if TYPE_CHECKING:
    from importer.plan.model import LoadPlan
    from importer.plan.target import Target


def added_columns_sql(target: Target, plan: LoadPlan) -> str | None:
    """Return the statement that adds the columns that the plan has and the existing table has not; None if all are."""
    if target.table is None or not plan.added:
        return None
    types = {c.field.name: c.pg_type.sql for c in plan.columns}
    added = ", ".join(f"ADD COLUMN {quote(name)} {types[name]}" for name in plan.added)
    return f"ALTER TABLE {target.quoted} {added}"
