"""Locks the target of a load until the transaction ends, and checks that it is still the table that was planned for.

Between reading the catalog and publishing, another session may alter the table, drop it or put something else in its
place. A row that was checked against the old definition would then be rounded, cut or dropped by the new one without a
word. ROW EXCLUSIVE is the lock that writing takes anyway; every command that alters, drops or renames a table, or makes
a trigger, rule, policy or constraint on it waits for it or holds us up. So what is compared after the lock was granted
stays true until the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import DatabaseError, TargetChanged
from importer.postgres.catalog import read_table
from importer.postgres.definition import changed_parts

if TYPE_CHECKING:
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.settings import Mode

#: No such table, no such schema, not a table.
_GONE_CODES = ("42P01", "3F000", "42809")
_DENIED = "42501"
#: A DELETE does not see rows that another session commits after it began: they would stay beside the new ones, or take
#: the keys of some. So no other writer may be under way. Readers are not held up, and the right to DELETE suffices.
#: Unlike an INSERT, a DELETE takes rows from the tables that inherit from the target, too, which are locked with it.
_LOCK_OF_REPLACE = "SHARE ROW EXCLUSIVE"
#: What differs where the definition of the table is the same.
_AROUND = "the tables that refer to it, or a type of its columns"


def lock_target(session: Session, target: Target, mode: Mode, added: tuple[str, ...] = ()) -> None:
    """Lock an existing target against changes of its definition, and compare it with the one that was planned for.

    In mode `replace` all other writers wait as well; see `_LOCK_OF_REPLACE`.

    Rolls back what the session did so far, and begins the transaction that publishes: under repeatable read, only a
    snapshot that is taken after the lock shows the definition that the lock protects.

    Args:
        session: session that will publish.
        target: the target as it was when the load was planned; nothing is done for a new table.
        mode: mode of the load.
        added: names of the columns that the load will add; if there are any, readers wait as well, from the start,
            because two loads that only wanted more later would wait for each other.

    Raises:
        TargetChanged: it differs, or is gone.
        DatabaseError: the role may not write to it.
    """
    if target.table is None:
        return
    session.rollback()
    try:
        if added:
            session.run(f"LOCK TABLE {target.quoted} IN ACCESS EXCLUSIVE MODE")
        elif mode == "replace":
            session.run(f"LOCK TABLE {target.quoted} IN {_LOCK_OF_REPLACE} MODE")
        else:
            _lock(session, target.quoted)
    except DatabaseError as exc:
        if exc.sqlstate in _GONE_CODES:
            raise _changed(target, "it was dropped") from exc
        raise
    now = read_table(session, target.schema, target.name)
    if now != target.table:
        raise _changed(target, ", ".join(changed_parts(target.table.definition, now.definition)) or _AROUND)


def _lock(session: Session, quoted: str) -> None:
    try:
        session.run(f"LOCK TABLE ONLY {quoted} IN ROW EXCLUSIVE MODE")
    except DatabaseError as exc:
        if exc.sqlstate != _DENIED:
            raise
        # A role that may write only some columns may not lock the table by name. Planning a statement that writes to it
        # takes the same lock, and needs the right to one column.
        session.rollback()
        session.query(f"EXPLAIN INSERT INTO {quoted} DEFAULT VALUES")


def _changed(target: Target, what: str) -> TargetChanged:
    return TargetChanged(
        f"table {target.quoted} was changed while the run was under way: {what}",
        choice="nothing was published; run again when nobody alters the table",
    )
