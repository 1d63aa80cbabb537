"""Owns publishing: one transaction that makes staging's rows visible in the target, all of them or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .catalog import parse_table_name
from .errors import Conflict, DatabaseError, TargetRefused
from .pgtypes import needs_cast
from .postgres import quote
from .staging import Staging, object_name, session_role

if TYPE_CHECKING:
    from .contract import Contract
    from .plan import ColumnPlan
    from .postgres import Session
    from .settings import Mode
    from .target import Target

_EXISTS = ("42P07", "42710", "23505")
_DENIED = "42501"


@dataclass(frozen=True)
class Published:
    """What publishing did to the target's rows.

    Attributes:
        inserted: rows that are new.
    """

    inserted: int


def publish(session: Session, staging: Staging, target: Target, contract: Contract, mode: Mode, rows: int) -> Published:
    """Put staging's rows into the target, in a transaction that the caller commits or rolls back.

    Args:
        session: whose open transaction it happens in.
        staging: what was loaded and verified.
        target: of the load.
        contract: what a new table is to be.
        mode: what happens to the rows that are there.
        rows: in staging.

    Raises:
        DatabaseError: the server refuses a row, a key or the privilege; the target is as it was.
        Conflict: the table was created by somebody else meanwhile.
    """
    try:
        if staging.becomes_target:
            _become(session, staging, target, contract)
            return Published(rows)
        return Published(session.run(_fill(staging, target, mode)))
    except DatabaseError as exc:
        session.rollback()
        taken = exc.sqlstate in _EXISTS and (exc.constraint or "pg_").startswith("pg_")
        if staging.becomes_target and taken:
            raise Conflict(
                f"table {target.quoted} was created by somebody else meanwhile",
                choice="run again",
                sqlstate=exc.sqlstate,
            ) from None
        if exc.sqlstate == _DENIED:
            raise TargetRefused(
                f"role {session_role(session)} may not write to {target.quoted}",
                choice="ask for CREATE on its schema, or INSERT on the table",
                sqlstate=exc.sqlstate,
            ) from None
        raise


def _become(session: Session, staging: Staging, target: Target, contract: Contract) -> None:
    """Turn the staging table into the new target: final types, name, keys, indexes. Only a cast copies rows."""
    casts = [_cast(c) for c in staging.columns if needs_cast(c.pg_type)]
    if casts:
        session.run(f"ALTER TABLE {staging.quoted} {', '.join(casts)}")
    session.run(f"ALTER TABLE {staging.quoted} SET SCHEMA {quote(target.schema)}")
    session.run(f"ALTER TABLE {quote(target.schema, staging.name)} RENAME TO {quote(target.name)}")
    for column in contract.extra_columns:
        if column.identity:
            _rename_sequence(session, target, column.name)
    for statement in _constraints(session, target, contract, staging.columns) + _default_grants(session, target):
        session.run(statement)


def _default_grants(session: Session, target: Target) -> list[str]:
    """What ALTER DEFAULT PRIVILEGES promises for new tables of the target's schema; staging was made in another one."""
    rows = session.query(
        """
        select a.privilege_type::text, a.is_grantable,
               case when a.grantee = 0 then null else pg_get_userbyid(a.grantee)::text end as role
        from pg_default_acl d
        join pg_namespace n on n.oid = d.defaclnamespace
        cross join lateral aclexplode(d.defaclacl) a
        where d.defaclobjtype = 'r' and n.nspname = $1
          and pg_get_userbyid(d.defaclrole) = current_user and a.grantee <> d.defaclrole
        """,
        [target.schema],
    )
    return [
        f"GRANT {privilege} ON {target.quoted} TO {quote(role) if role else 'PUBLIC'}"
        + (" WITH GRANT OPTION" if grantable else "")
        for privilege, grantable, role in rows
    ]


def _cast(column: ColumnPlan) -> str:
    name = quote(column.field.name)
    return f"ALTER COLUMN {name} TYPE {column.pg_type} USING {name}::{column.pg_type}"


def _rename_sequence(session: Session, target: Target, column: str) -> None:
    """Give an identity column's sequence the name it would have had; it was made under the staging table's."""
    sequence = session.value("select pg_get_serial_sequence($1, $2)", [target.quoted, column])
    label, number = "seq", 0
    while session.value(
        "select to_regclass($1)::text", [quote(target.schema, object_name(target.name, column, label))]
    ):
        number += 1
        label = f"seq{number}"
    session.run(f"ALTER SEQUENCE {sequence} RENAME TO {quote(object_name(target.name, column, label))}")


def _constraints(session: Session, target: Target, contract: Contract, columns: tuple[ColumnPlan, ...]) -> list[str]:
    """The statements that add keys and indexes to a new table."""
    add = f"ALTER TABLE {target.quoted} ADD"
    primary = contract.primary_key or tuple(c.name for c in contract.extra_columns if c.primary_key)
    statements = [f"{add} PRIMARY KEY ({_list(primary)})"] if primary else []
    unique = [key for rule, key in contract.all_keys() if rule == "unique-error"]
    if contract.primary_key:
        unique += [(c.name,) for c in contract.extra_columns if c.primary_key]
    statements += [f"{add} UNIQUE ({_list(key)})" for key in unique]
    for key in contract.foreign_keys:
        table = _referenced(session, target, key.table)
        statements.append(f"{add} FOREIGN KEY ({_list(key.fields)}) REFERENCES {table} ({_list(key.references)})")
    loaded = {c.field.name for c in columns} | {c.name for c in contract.extra_columns}
    statements += [
        f"CREATE INDEX ON {target.quoted} ({_list(index)})" for index in contract.indexes if set(index) <= loaded
    ]
    return statements


def _referenced(session: Session, target: Target, text: str) -> str:
    """The table that a foreign key names: the target itself, one beside it, else one on the search path."""
    if not text:
        return target.quoted
    schema, name = parse_table_name(text)
    if schema is None and session.value("select to_regclass($1)::text", [quote(target.schema, name)]):
        schema = target.schema
    return quote(schema, name) if schema else quote(name)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(quote(name) for name in names)


def _fill(staging: Staging, target: Target, mode: Mode) -> str:
    """The one statement that moves the rows into an existing table, every column cast to its exact type.

    `replace` deletes and inserts in the same statement. TRUNCATE would show an empty table to older snapshots and is
    refused where foreign keys point here; two statements would break those keys in between, although their rows come
    back. The sub-select on `gone` makes the deletion happen first.
    """
    # A field that the sheet has no column for is not written, so that the table's default holds.
    columns = [c for c in staging.columns if c.column]
    names = ", ".join(quote(c.field.name) for c in columns)
    values = ", ".join(f"{quote(c.field.name)}::{c.pg_type}" for c in columns)
    insert = f"INSERT INTO {target.quoted} ({names}) SELECT {values} FROM {staging.quoted}"
    if mode != "replace":
        return insert
    return f"WITH gone AS (DELETE FROM {target.quoted} RETURNING 1) {insert} WHERE (SELECT count(*) FROM gone) >= 0"
