"""Finds the privileges that a role lacks for a load, and says by which statements an administrator gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import TargetRefused
from importer.ledger.schema import session_role
from importer.postgres.sql import literal, quote, quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.settings import Mode

#: SQLSTATE of a privilege that is missing.
DENIED = "42501"
#: Privileges on the rows of an existing table. ON CONFLICT reads the key, and compares the other columns.
_NEEDED: dict[str, tuple[str, ...]] = {
    "upsert": ("SELECT", "INSERT", "UPDATE"), "replace": ("INSERT", "DELETE"),
}  # fmt: skip
#: Sequences that the defaults of a table's columns take numbers from, apart from identity columns, whose are free.
_DEFAULT_SEQUENCES = """
select a.attname::text, s.oid::regclass::text, has_sequence_privilege(s.oid, 'usage')
from pg_attrdef d
join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
join pg_depend k on k.classid = 'pg_attrdef'::regclass and k.objid = d.oid and k.refclassid = 'pg_class'::regclass
join pg_class s on s.oid = k.refobjid and s.relkind = 'S'
where d.adrelid = to_regclass($1) order by 1
"""


def check_privileges(session: Session, target: Target, mode: Mode) -> None:
    """Check, before any work, that the role may write to the table, or create it.

    Columns have privileges of their own, so that the server has the last word as the rows are published.

    Args:
        session: session with the target server, in a transaction that has not failed.
        target: the table that the load goes to.
        mode: mode of the load, which says what privileges it needs.

    Raises:
        TargetRefused: it may not; the message has the statements to run.
    """
    if statements := missing_grants(session, target, mode):
        raise privileges_error(session, target, statements)


def missing_grants(session: Session, target: Target, mode: Mode, loaded: Iterable[str] | None = None) -> list[str]:
    """Return the statements that give the role what it lacks for a load; empty if nothing is known to be missing.

    Those on sequences and on single columns come after those on the table.

    Args:
        session: see `check_privileges`.
        target: see `check_privileges`.
        mode: see `check_privileges`.
        loaded: names of the columns that get values, if that is known: the others take their defaults.
    """
    if target.table is None:
        asked = "select has_schema_privilege($1, 'create')"
        may = session.value(asked, [target.schema])
        return [] if may else [f"GRANT USAGE, CREATE ON SCHEMA {quote(target.schema)}{_to(session)}"]
    needed = _NEEDED.get(mode, ("INSERT",))
    held = ", ".join(_held_sql(privilege) for privilege in needed)
    may = session.query(f"select {held}", [target.quoted])[0]
    missing = [privilege for privilege, has in zip(needed, may, strict=True) if not has]
    # A row of nothing but its key is never updated, so that UPDATE may not be needed.
    if missing and (loaded is not None or missing != ["UPDATE"]):
        return [f"GRANT {', '.join(missing)} ON {target.quoted}{_to(session)}"]
    return [] if loaded is None else _grants_on_columns(session, target, mode, set(loaded), _to(session))


def _to(session: Session) -> str:
    return f" TO {quote(str(session.value('select current_user::text')))}"


def _grants_on_columns(session: Session, target: Target, mode: Mode, loaded: set[str], to: str) -> list[str]:
    """Return the GRANTs on loaded columns, where others may be written, and on sequences that number the rows."""
    asked = "select has_column_privilege($1, $2, $3)"
    statements = []
    for privilege in _NEEDED.get(mode, ("INSERT",)):
        lacking = () if privilege in {"DELETE", "SELECT"} else sorted(loaded)
        lacking = [name for name in lacking if not session.value(asked, [target.quoted, name, privilege])]
        statements += [f"GRANT {privilege} ({quoted_list(lacking)}) ON {target.quoted}{to}"] if lacking else []
    return statements + [
        f"GRANT USAGE ON SEQUENCE {sequence}{to}"
        for column, sequence, usable in session.query(_DEFAULT_SEQUENCES, [target.quoted])
        if not usable and column not in loaded
    ]


def _held_sql(privilege: str) -> str:
    """Return the expression; of a privilege that columns have, one on a single column may be enough.

    An upsert reads whether a row was there already from a column of the system, which only the table's SELECT allows.
    """
    kind = "table" if privilege in {"DELETE", "SELECT"} else "any_column"
    return f"has_{kind}_privilege(to_regclass($1), {literal(privilege)})"


def privileges_error(session: Session, target: Target, statements: Iterable[str]) -> TargetRefused:
    """Return the error about privileges that the role lacks, with the statements that give them."""
    role = quote(str(session.value("select current_user::text")))
    what = "create tables in schema" if target.table is None else "write to"
    name = quote(target.schema) if target.table is None else target.quoted
    return TargetRefused(
        f"role {role} may not {what} {name}",
        choice=f"ask an administrator to run: {' '.join(f'{each};' for each in statements)}",
        sqlstate=DENIED,
    )


def note_on_hidden_rows(session: Session, target: Target) -> tuple[str, ...]:
    """Return a note if policies may have kept rows of the table from being deleted by `replace`, as no error tells."""
    if not session.value("select row_security_active(to_regclass($1))", [target.quoted]):
        return ()
    role = session_role(session)
    return (f"row level security of {target.quoted}: rows that role {role} may not see or delete were not replaced",)
