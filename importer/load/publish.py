"""Publishes a load: makes all rows of staging visible in the target, in one transaction, or none of them.

The caller owns that transaction: nothing here commits it or rolls it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import TargetChanged, TargetRefused
from importer.ledger.schema import session_role
from importer.plan.lineage import COLUMNS
from importer.postgres.catalog import Table, find_schema, parse_table_name, read_table
from importer.postgres.sql import quote, quoted_list
from importer.postgres.types import needs_cast

from .add_columns import added_columns_sql
from .insert_bisect import PublishResult, fill
from .privileges import DENIED, missing_grants, note_on_hidden_rows, privileges_error
from .staging import Staging, object_name, target_column_definitions

if TYPE_CHECKING:
    from importer.contract.model import Contract
    from importer.errors import DatabaseError
    from importer.plan.make_plan import PlannedLoad
    from importer.plan.model import ColumnPlan
    from importer.plan.target import Target
    from importer.postgres.session import Session
    from importer.settings import Mode

_DUPLICATE_CODES = ("42P07", "42710", "23505")


def publish(
    session: Session, staging: Staging, target: Target, load: PlannedLoad, mode: Mode, rows: int
) -> PublishResult:
    """Put staging's rows into the target, in a transaction that the caller commits or rolls back.

    After an error the caller rolls back; then `explain_refusal` returns what the error means for the user.

    Args:
        session: session whose open transaction is used.
        staging: the staging table, loaded and verified.
        target: the table that the load goes to.
        load: the contract, which describes a new table; the key of an upsert; the lineage columns, if any.
        mode: what happens to rows that exist in the table.
        rows: number of rows in staging.

    Raises:
        DatabaseError: the server refuses; the transaction has failed.
    """
    contract, lineage = load.contract, load.lineage
    if staging.becomes_target:
        _rename_to_target(session, staging, target, contract)
        return PublishResult(rows, 0, 0, 0, ())
    table = target.table or _create_target(session, staging, target, contract, COLUMNS if lineage else {})
    if (statement := added_columns_sql(target, load.plan)) is not None:
        session.run(statement)
        table = read_table(session, target.schema, target.name)
    from .insert_select import make_insert

    extra = lineage.values(staging.row_column) if lineage and staging.row_column else {}
    result = fill(session, staging, table, make_insert(staging, table, mode, load.plan.key, extra), rows)
    hides = mode == "replace" and table.may_refuse_rows
    return replace(result, notes=note_on_hidden_rows(session, target)) if hides else result


def explain_refusal(
    error: DatabaseError, session: Session, target: Target, load: PlannedLoad | None = None, mode: Mode = "append"
) -> DatabaseError:
    """Return the error to raise for one that `publish` raised: what it means for the user, or the error itself.

    Args:
        error: error that `publish` raised.
        session: the session, after its owner rolled the failed transaction back.
        target: the table that the load goes to.
        load: contract and plan of the load, if columns were to be added.
        mode: mode of the load, which says what privileges it needs.

    Returns:
        TargetChanged: another session created the table in the meantime.
        TargetRefused: the role lacks a privilege, or a type has the name of the new table.
        DatabaseError: the error itself, in all other cases.
    """
    taken = error.sqlstate in _DUPLICATE_CODES and (error.constraint or "pg_").startswith("pg_")
    if target.table is None and taken:
        if session.value("select to_regclass($1) is null and to_regtype($1) is not null", [target.quoted]):
            return TargetRefused(
                f"a type is named {target.quoted}, as that of the rows of the new table would be",
                choice="--table with another name",
                sqlstate=error.sqlstate,
            )
        return TargetChanged(
            f"table {target.quoted} was created by another session in the meantime",
            choice="run again",
            sqlstate=error.sqlstate,
        )
    if error.sqlstate != DENIED:
        return error
    statement = added_columns_sql(target, load.plan) if load is not None else None
    if statement is not None:
        return TargetRefused(
            f"role {session_role(session)} may not add columns to {target.quoted}",
            choice=f"ask its owner for: {statement};  or --drift ignore-extra",
            sqlstate=error.sqlstate,
        )
    return _explain_denial(error, session, target, load, mode)


def _explain_denial(
    error: DatabaseError, session: Session, target: Target, load: PlannedLoad | None, mode: Mode
) -> DatabaseError:
    """Return the error with the GRANTs that are missing; with what the server says if others are."""
    columns = [c.field.name for c in load.plan.columns if c.column] if load is not None else None
    statements = missing_grants(session, target, mode, columns)
    if load is not None and not statements:
        statements = _reference_grants(session, target, load)
    if statements:
        return privileges_error(session, target, statements)
    error.fact = f"{error.fact}, as role {session_role(session)} wrote to {target.quoted}"
    return error


def _reference_grants(session: Session, target: Target, load: PlannedLoad) -> list[str]:
    """Return the GRANTs on the tables that a new table's foreign keys refer to."""
    keys = load.contract.foreign_keys if target.table is None else ()
    tables = dict.fromkeys(_referenced_table(session, target, key.table) for key in keys if key.table)
    asked = "select has_any_column_privilege(to_regclass($1), 'references')"
    return [
        f"GRANT REFERENCES ON {table} TO {session_role(session)}"
        for table in tables
        if session.value(asked, [table]) is False
    ]


def _rename_to_target(session: Session, staging: Staging, target: Target, contract: Contract) -> None:
    """Turn the staging table into the new target: final types, name, keys, indexes. Only casts rewrite the rows."""
    casts = [_cast_clause(c) for c in staging.columns if needs_cast(c.pg_type)]
    if casts:
        session.run(f"ALTER TABLE {staging.quoted} {', '.join(casts)}")
    session.run(f"ALTER TABLE {staging.quoted} SET SCHEMA {quote(target.schema)}")
    session.run(f"ALTER TABLE {quote(target.schema, staging.name)} RENAME TO {quote(target.name)}")
    for column in contract.extra_columns:
        if column.identity:
            _rename_sequence(session, target, column.name)
    for statement in _constraints(session, target, contract, staging.columns) + _default_grants(session, target):
        session.run(statement)


def _create_target(
    session: Session, staging: Staging, target: Target, contract: Contract, further: dict[str, str]
) -> Table:
    """Create the new target with its keys and indexes.

    It may refuse rows, so they are inserted as into any existing table.
    """
    columns = target_column_definitions(target, contract, [(c, c.pg_type.sql) for c in staging.columns])
    columns += [f"{quote(name)} {pg_type}" for name, pg_type in further.items()]
    session.run(f"CREATE TABLE {target.quoted} ({', '.join(columns)})")
    for statement in _constraints(session, target, contract, staging.columns):
        session.run(statement)
    return read_table(session, target.schema, target.name)


def _default_grants(session: Session, target: Target) -> list[str]:
    """Return the GRANTs that ALTER DEFAULT PRIVILEGES defines for new tables in the target's schema.

    PostgreSQL did not apply them, because staging was created in another schema.
    """
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


def _cast_clause(column: ColumnPlan) -> str:
    name = quote(column.field.name)
    return f"ALTER COLUMN {name} TYPE {column.pg_type.sql} USING {name}::{column.pg_type.sql}"


def _rename_sequence(session: Session, target: Target, column: str) -> None:
    """Rename an identity column's sequence, which is named after the staging table, as if created with the target."""
    sequence = session.value("select pg_get_serial_sequence($1, $2)", [target.quoted, column])
    label, number = "seq", 0
    while session.value(
        "select to_regclass($1)::text", [quote(target.schema, object_name(target.name, column, label))]
    ):
        number += 1
        label = f"seq{number}"
    session.run(f"ALTER SEQUENCE {sequence} RENAME TO {quote(object_name(target.name, column, label))}")


def _constraints(session: Session, target: Target, contract: Contract, columns: tuple[ColumnPlan, ...]) -> list[str]:
    """Return the statements that add keys and indexes to a new table."""
    add = f"ALTER TABLE {target.quoted} ADD"
    primary = contract.primary_key or tuple(c.name for c in contract.extra_columns if c.primary_key)
    statements = [f"{add} PRIMARY KEY ({quoted_list(primary)})"] if primary else []
    unique = [key for rule, key in contract.all_keys() if rule == "unique-error"]
    if contract.primary_key:
        unique += [(c.name,) for c in contract.extra_columns if c.primary_key]
    statements += [f"{add} UNIQUE ({quoted_list(key)})" for key in unique]
    for key in contract.foreign_keys:
        table = _referenced_table(session, target, key.table)
        statements.append(
            f"{add} FOREIGN KEY ({quoted_list(key.fields)}) REFERENCES {table} ({quoted_list(key.references)})"
        )
    loaded = {c.field.name for c in columns} | {c.name for c in contract.extra_columns}
    statements += [
        f"CREATE INDEX ON {target.quoted} ({quoted_list(index)})" for index in contract.indexes if set(index) <= loaded
    ]
    return statements


def _referenced_table(session: Session, target: Target, text: str) -> str:
    """Return the quoted table that a foreign key refers to.

    That is the target itself (no name), a table in the target's schema, else one on the user's search path.
    """
    if not text:
        return target.quoted
    schema, name = parse_table_name(text)
    if schema is None and not session.value("select to_regclass($1)::text", [quote(target.schema, name)]):
        schema = find_schema(session, name)
    return quote(schema or target.schema, name)
