"""Finds out what changed in the target since a run published the same import, and so whether to load it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import ImporterError, TargetRefused
from importer.ledger.schema import SCHEMA
from importer.ledger.tables import PUBLISHED

if TYPE_CHECKING:
    from importer.ledger.tables import LedgerRun
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.settings import Mode


#: Whether a later run was published into the target of one. It reads the whole ledger.
_IS_OLDER = f"""
select exists (
    select from {SCHEMA}.runs r join {SCHEMA}.runs o on o.target_schema = r.target_schema
        and o.target_table = r.target_table and o.finished_at > r.finished_at
    where r.id = $1::uuid and o.state = '{PUBLISHED}')
"""


def reload_reason(session: Session, target: Target, published: LedgerRun, mode: Mode) -> str | None:
    """Return why a published run does not make this one unnecessary, or None if it does.

    The caller owns the session's transaction and ends it: a statement may have failed in it.

    Args:
        session: session with the target server.
        target: the table that the load goes to.
        published: the run that published the same import.
        mode: mode of the load; only `replace` requires that the rows are unchanged.
    """
    oid = session.value("select to_regclass($1)::oid::int8", [target.quoted])
    if oid is None:
        return f"table {target.quoted} is gone"
    if oid != published.target_oid:
        return f"table {target.quoted} was replaced by another table"
    if mode != "replace":
        return None
    if session.value(_IS_OLDER, [published.id]):
        return f"another run was published into {target.quoted} since"
    return None if _rows_unchanged(session, target, published) else f"the rows of {target.quoted} were changed since"


def _rows_unchanged(session: Session, target: Target, published: LedgerRun) -> bool:
    """Return whether the table holds exactly the rows that the run left: as many, all written by its transactions."""
    try:
        count, foreign = session.query(
            f"""
            select count(*) as rows, count(*) filter (where xmin::text <> all(string_to_array($1, ','))) as others
            from {target.quoted}
            """,
            [published.xids or ""],
        )[0]
    except ImporterError:
        # A role that may not read the table cannot check that; replacing the rows once more does no harm.
        return False
    left = published.counts.get("inserted_together", published.counts.get("inserted"))
    return bool(count == left and foreign == 0)


def moved_target_note(session: Session, target: Target, dead: LedgerRun) -> str | None:
    """Return the note on a table that an unfinished run began to load into and that has another name now, or is gone.

    Args:
        session: session with the target server.
        target: the table that the load goes to, which bears the name.
        dead: the unfinished run.
    """
    if dead.target_oid is None or (target.table is not None and target.table.oid == dead.target_oid):
        return None
    named = "select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c "
    named += "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = $1 and c.relkind in ('r', 'p')"
    now = session.value(named, [dead.target_oid])
    what = f"is {now} now, and is left as it is" if now else "is gone"
    return f"the table that the unfinished run of this import found as {target.quoted} {what}"


def require_believable(published: LedgerRun, target: Target) -> None:
    """Refuse to take the ledger's word for a run that it says was published, where that cannot be so.

    Raises:
        TargetRefused: the run's role has no right to write to the target, or the row lacks what every run counts.
    """
    if not published.is_believed:
        raise TargetRefused(
            f"the ledger says that this import is done, by run {published.id} of role {published.role}, but that role "
            f"may not write to {target.quoted}",
            choice="check whether the rows are there; if not, --again loads them (or ask the owner of the ledger for: "
            f"importer runs forget {published.id})",
        )
    if not {"total_records", "error_count"} <= published.counts.keys():
        raise TargetRefused(
            f"the ledger says that this import is done, by run {published.id}, but not what that run counted",
            choice="check whether the rows are there; if not, --again loads them",
        )
