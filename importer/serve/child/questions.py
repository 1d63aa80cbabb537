"""Executes the commands of a child that need no workbook: list tables and contracts, ping, forget a run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from importer.contract.loader import load_contract
from importer.contract.model import dump_contract
from importer.errors import ImporterError, TargetRefused
from importer.ledger.history import forget, list_runs
from importer.postgres.catalog import read_table
from importer.postgres.session import Session
from importer.postgres.sql import quote
from importer.serve.models.child import ContractsAnswer, ForgetAnswer, Nothing, OwnedTable
from importer.serve.models.service import ContractField, ReadContract, TableColumnInfo, TableInfo, TableKey, Tables
from importer.settings import Dsn

from .redaction import redact
from .table_policy import TablePolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.serve.models.child import ContractsCommand, ForgetCommand, PingCommand, TablesCommand

    from .channel import Channel

_MAX_TABLES = 200
_TABLES_QUERY = """
select n.nspname::text, c.relname::text, c.oid::int8, case when c.reltuples >= 0 then c.reltuples::int8 end
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('information_schema', 'importer')
  and n.nspname !~ '^pg_' and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'INSERT')
order by 1, 2
"""


def tables(command: TablesCommand, _channel: Channel) -> Tables:
    """Return the tables that callers may load into, at most `_MAX_TABLES`."""
    with Session(Dsn(command.dsn)) as session:
        policy = TablePolicy(command.patterns, frozenset(command.owned), command.ledger).with_ledger(session)
        rows = [row for row in session.query(_TABLES_QUERY) if policy.allows(*row[:3])]
        found = [
            _table(session, schema, name, rows_, created=OwnedTable(schema, name, oid) in policy.owned)
            for schema, name, oid, rows_ in rows[:_MAX_TABLES]
        ]
    return Tables(tables=[table for table in found if table], truncated=len(rows) > _MAX_TABLES)


def _table(session: Session, schema: str, name: str, rows: int | None, *, created: bool) -> TableInfo | None:
    try:
        table = read_table(session, schema, name)
    except TargetRefused:
        return None  # dropped in the meantime
    key = {column for primary, columns in table.keys if primary for column in columns}
    columns = [
        TableColumnInfo(
            name=c.name, type=str(c.pg_type), key=c.name in key,
            required=c.not_null and not c.has_default and not c.filled_by_database,
            fillable=not c.filled_by_database, has_default=c.has_default,
        )
        for c in table.columns
    ]  # fmt: skip
    return TableInfo(
        table=f"{schema}.{name}", schema=schema, name=name, quoted=quote(schema, name), rows=rows,
        created_here=created, columns=columns,
        keys=[TableKey(primary=primary, columns=list(columns)) for primary, columns in table.keys],
    )  # fmt: skip


def ping(command: PingCommand, _channel: Channel) -> Nothing:
    """Return an empty answer if the database answers."""
    with Session(Dsn(command.dsn)) as session:
        session.value("select 1")
    return Nothing()


def forget_run(command: ForgetCommand, _channel: Channel) -> ForgetAnswer:
    """Drop what unfinished runs of a workbook into a table left in the ledger and in staging; return their ids."""
    forgotten = []
    with Session(Dsn(command.dsn)) as session:
        for run in list_runs(session):
            same = [run["sha256"], run["target_schema"], run["target_table"]] == command.identity
            if same and run["state"] not in {"published", "running"}:
                with contextlib.suppress(ImporterError):
                    forgotten.append(forget(session, run["id"])["id"])
    return ForgetAnswer(forgotten=forgotten)


def contracts(command: ContractsCommand, _channel: Channel) -> ContractsAnswer:
    """Return the contracts in the files; those that cannot be used have the reason in `error`."""
    found = [_contract(name, Path(path), command.hidden) for name, path in sorted(command.files.items())]
    return ContractsAnswer(contracts=found)


def _contract(name: str, path: Path, hidden: Sequence[str]) -> ReadContract:
    try:
        contract = load_contract(path)
    except ImporterError as exc:
        reason = redact(f"{exc.fact}{f' ({exc.place})' if exc.place else ''}", hidden)
        return ReadContract(name=name, table=None, fields=[], primary_key=[], error=reason)
    fields = [ContractField(name=f.name, title=f.title, type=f.type, required=f.required) for f in contract.fields]
    place = [part for part in (contract.schema, contract.table) if part]
    return ReadContract(
        name=name, table=".".join(place) if contract.table else None, fields=fields,
        primary_key=list(contract.primary_key), error=None, descriptor=dump_contract(contract),
    )  # fmt: skip
