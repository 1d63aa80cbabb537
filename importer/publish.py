"""Owns publishing: one transaction that makes staging's rows visible in the target, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import Conflict, DatabaseError, TargetRefused
from .pgtypes import needs_cast
from .postgres import quote
from .staging import Staging, session_role

if TYPE_CHECKING:
    from .contract import Contract
    from .plan import ColumnPlan
    from .postgres import Session
    from .settings import Mode
    from .target import Target

_EXISTS = ("42P07", "42710", "23505")
_DENIED = "42501"


def publish(session: Session, staging: Staging, target: Target, contract: Contract, mode: Mode, *, keep: bool = True) -> None:
    """Make staging's rows visible; with `keep=False` do all of it and roll it back (a dry run).

    Raises:
        DatabaseError: the server refuses a row, a key or the privilege; the target is as it was.
        Conflict: the table was created by somebody else meanwhile.
    """
    try:
        if staging.becomes_target:
            _become(session, staging, target, contract)
        else:
            session.run(_fill(staging, target, mode))
    except DatabaseError as exc:
        session.rollback()
        if staging.becomes_target and exc.sqlstate in _EXISTS and exc.constraint is None:
            raise Conflict(f"table {target.quoted} was created by somebody else meanwhile", choice="run again", sqlstate=exc.sqlstate) from None
        if exc.sqlstate == _DENIED:
            raise TargetRefused(
                f"role {session_role(session)} may not write to {target.quoted}",
                choice="ask for CREATE on its schema, or INSERT on the table",
                sqlstate=exc.sqlstate,
            ) from None
        raise
    if keep:
        session.commit()
    else:
        session.rollback()


def _become(session: Session, staging: Staging, target: Target, contract: Contract) -> None:
    """Turn the staging table into the new target: final types, name, keys, indexes. Nothing is copied unless a type is cast."""
    casts = [_cast(c) for c in staging.columns if needs_cast(c.pg_type)]
    if casts:
        session.run(f"ALTER TABLE {staging.quoted} {', '.join(casts)}")
    session.run(f"ALTER TABLE {staging.quoted} SET SCHEMA {quote(target.schema)}")
    session.run(f"ALTER TABLE {quote(target.schema, staging.name)} RENAME TO {quote(target.name)}")
    for column in contract.extra_columns:
        if column.identity:
            _rename_sequence(session, target, column.name)
    for statement in _constraints(target, contract, staging.columns):
        session.run(statement)


def _cast(column: ColumnPlan) -> str:
    name = quote(column.field.name)
    return f"ALTER COLUMN {name} TYPE {column.pg_type} USING {name}::{column.pg_type}"


def _rename_sequence(session: Session, target: Target, column: str) -> None:
    """Give an identity column's sequence the name it would have had; it was made under the staging table's."""
    sequence = session.value("select pg_get_serial_sequence($1, $2)", [target.quoted, column])
    wanted = f"{target.name}_{column}_seq".encode()[:63].decode("utf-8", "ignore")
    taken = session.value("select to_regclass($1)::text", [quote(target.schema, wanted)])
    if sequence and not taken:
        session.run(f"ALTER SEQUENCE {sequence} RENAME TO {quote(wanted)}")


def _constraints(target: Target, contract: Contract, columns: tuple[ColumnPlan, ...]) -> list[str]:
    """The statements that add keys and indexes to a new table."""
    add = f"ALTER TABLE {target.quoted} ADD"
    primary = contract.primary_key or tuple(c.name for c in contract.extra_columns if c.primary_key)
    statements = [f"{add} PRIMARY KEY ({_list(primary)})"] if primary else []
    unique = [key for rule, key in contract.keys() if rule == "unique-error"]
    if contract.primary_key:
        unique += [(c.name,) for c in contract.extra_columns if c.primary_key]
    statements += [f"{add} UNIQUE ({_list(key)})" for key in unique]
    for key in contract.foreign_keys:
        table = quote(*key.table.split("."))
        statements.append(f"{add} FOREIGN KEY ({_list(key.fields)}) REFERENCES {table} ({_list(key.references)})")
    loaded = {c.field.name for c in columns} | {c.name for c in contract.extra_columns}
    statements += [f"CREATE INDEX ON {target.quoted} ({_list(index)})" for index in contract.indexes if set(index) <= loaded]
    return statements


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(quote(name) for name in names)


def _fill(staging: Staging, target: Target, mode: Mode) -> str:
    """The one statement that moves the rows into an existing table, every column cast to its exact type.

    `replace` deletes and inserts in the same statement. TRUNCATE would show an empty table to older snapshots and is
    refused where foreign keys point here; two statements would break those keys in between, although their rows come
    back. The sub-select on `gone` makes the deletion happen first.
    """
    names = ", ".join(quote(c.field.name) for c in staging.columns)
    values = ", ".join(f"{quote(c.field.name)}::{c.pg_type}" for c in staging.columns)
    insert = f"INSERT INTO {target.quoted} ({names}) SELECT {values} FROM {staging.quoted}"
    if mode != "replace":
        return insert
    return f"WITH gone AS (DELETE FROM {target.quoted} RETURNING 1) {insert} WHERE (SELECT count(*) FROM gone) >= 0"
