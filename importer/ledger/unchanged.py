"""Tells whether the tables of the ledger are still as a session of many imports found and checked them.

A row of the catalog that is changed is replaced by one of another transaction. So if schema and tables, and all that
belongs to them, have the same rows, written by the same transactions, the checks of `structure` and `trust` would find
the same again, apart from memberships of roles: those are changed by roles that are trusted only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.postgres.kept_sessions import KeptSession
from importer.postgres.sql import literal

from .schema import SCHEMA
from .structure import TABLES

if TYPE_CHECKING:
    from importer.postgres.session import Session

_FACT = "ledger"
#: Catalogs with rows about a table, and the column that names it.
_CATALOGS = (
    ("pg_attribute", "attrelid"), ("pg_attrdef", "adrelid"), ("pg_constraint", "conrelid"), ("pg_index", "indrelid"),
    ("pg_trigger", "tgrelid"), ("pg_rewrite", "ev_class"), ("pg_policy", "polrelid"), ("pg_inherits", "inhrelid"),
    ("pg_inherits", "inhparent"),
)  # fmt: skip
_PARTS = "".join(
    ",\n    coalesce((select pg_catalog.string_agg(r.xmin::text, ',' order by r.xmin::text) "
    f"from pg_catalog.{catalog} r where r.{column} = c.oid), '-')"
    for catalog, column in _CATALOGS
)
_STATE = f"""
select pg_catalog.string_agg(
    pg_catalog.concat_ws(' ', n.oid, n.xmin, c.oid, c.xmin{_PARTS}), E'\n' order by c.relname) as state
from pg_catalog.pg_namespace n join pg_catalog.pg_class c on c.relnamespace = n.oid
where n.nspname = '{SCHEMA}' and c.relname in ({", ".join(map(literal, TABLES))})
"""


def ledger_state(session: Session) -> str | None:
    """Return a text that changes when the ledger's tables are altered; None if the session is not kept."""
    return session.value(_STATE) if isinstance(session, KeptSession) else None


def is_checked(session: Session, state: str | None) -> bool:
    """Return whether the session has checked the ledger in this state."""
    return isinstance(session, KeptSession) and state is not None and session.facts.get(_FACT) == state


def remember_checked(session: Session, state: str | None) -> None:
    """Remember that the session has checked the ledger in a state, which it read before."""
    if isinstance(session, KeptSession):
        session.facts[_FACT] = state
