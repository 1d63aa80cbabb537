"""Moves the sequences of identity and serial columns behind the ids that a load gave.

Otherwise the next row that takes its id from the sequence would get one that is there already. A sequence is never
rolled back: one that is moved by a run that then fails has a gap, as after any failed INSERT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.postgres.sql import quote

if TYPE_CHECKING:
    from importer.plan.model import LoadPlan
    from importer.plan.target import Target
    from importer.postgres.session import Session

_INTEGERS = ("smallint", "integer", "bigint")
#: The sequence of a column, whether it counts upwards, and whether the role may read the column and set the sequence.
_SEQUENCE = """
select s.name, q.seqincrement > 0, has_column_privilege($1, $2, 'select') and has_sequence_privilege(s.name, 'select')
       and has_sequence_privilege(s.name, 'update')
from (select pg_get_serial_sequence($1, $2)::text as name) s
join pg_sequence q on q.seqrelid = s.name::regclass
"""


def move_sequences(session: Session, target: Target, plan: LoadPlan) -> tuple[str, ...]:
    """Set the sequence of every loaded column that has one to the column's largest value, if that is larger.

    Args:
        session: session whose open transaction has written the rows.
        target: the existing table; nothing is done for a new one, whose ids are not loaded.
        plan: plan of the load.

    Returns:
        Notes on sequences that the role may not set, each with the statement to run.
    """
    if target.table is None:
        return ()
    notes = []
    for planned in plan.columns:
        column = target.table.column(planned.field.name)
        if planned.column is None or column is None or not column.has_default or column.pg_type.name not in _INTEGERS:
            continue
        found = session.query(_SEQUENCE, [target.quoted, column.name])
        for sequence, upwards, allowed in found:
            if upwards and allowed:
                session.query(_move_sql(sequence, target, column.name))
            elif upwards:
                notes.append(_note(session, sequence, target, column.name))
    return tuple(notes)


def _note(session: Session, sequence: str, target: Target, column: str) -> str:
    """Return what an administrator runs now, and what lets the role do it from now on."""
    role = quote(str(session.value("select current_user::text")))
    return (
        f"the sequence {sequence} of {column} was not moved past the loaded ids: the role may not; "
        f"run: SELECT setval('{sequence}', (SELECT max({quote(column)}) FROM {target.quoted})); and for the next load: "
        f"GRANT SELECT, UPDATE ON SEQUENCE {sequence} TO {role}; GRANT SELECT ON {target.quoted} TO {role};"
    )


def _move_sql(sequence: str, target: Target, column: str) -> str:
    """Return the statement; `sequence` is quoted and qualified, as `pg_get_serial_sequence` returns it."""
    name = sequence.replace("'", "''")
    return (
        f"SELECT setval('{name}'::regclass, m.largest) FROM {sequence} s, "
        f"(SELECT max({quote(column)})::bigint AS largest FROM {target.quoted}) m "
        "WHERE m.largest > s.last_value OR (m.largest = s.last_value AND NOT s.is_called)"
    )
