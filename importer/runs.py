"""Owns what a user does with the ledger: list runs, look at one, forget one, and clean up behind the dead."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from .embedded import Embedded
from .errors import Conflict, DatabaseError, UsageError
from .identity import lock_number
from .ledger import LOADING, PUBLISHED
from .postgres import Session, literal, quote
from .schema import SCHEMA
from .settings import find_dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

#: Hex digits of a key in the name of its staging table, behind `stage_`.
_DIGITS = 16
#: How long to wait for a staging table that a dying session still holds.
_DROP_MILLISECONDS = 2000
_COLUMNS = """
    id::text, key, state, workbook, sheet, sha256, target_schema, target_table, mode, contract_sha256,
    plan::text as plan, counts::text as counts, staging, role, client, version,
    started_at::timestamptz(0)::text as started_at, finished_at::timestamptz(0)::text as finished_at, error
"""
_NAMES = (
    "id", "key", "state", "workbook", "sheet", "sha256", "target_schema", "target_table", "mode", "contract_sha256",
    "plan", "counts", "staging", "role", "client", "version", "started_at", "finished_at", "error",
)  # fmt: skip


@contextlib.contextmanager
def ledger_session(to: str | None) -> Iterator[Session]:
    """A session with the target server, found by the rules of `run`."""
    dsn = find_dsn(to)
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(Session(dsn or stack.enter_context(Embedded().running())))


def list_runs(session: Session) -> list[dict[str, Any]]:
    """All runs, the newest first; `state` is `running` or `died` where the ledger says `loading`."""
    if not _has_ledger(session):
        return []
    return [
        _described(session, row)
        for row in session.query(f"select {_COLUMNS} from {SCHEMA}.runs order by runs.started_at desc")
    ]


def show_run(session: Session, text: str) -> dict[str, Any]:
    """One run, with its chunks.

    Args:
        session: with the target server.
        text: its id, or the beginning of it.

    Raises:
        UsageError: there is none, or more than one.
    """
    found = []
    if _has_ledger(session):
        found = session.query(
            f"select {_COLUMNS} from {SCHEMA}.runs where starts_with(id::text, $1) order by runs.started_at desc",
            [text.lower()],
        )
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} runs begin with {text!r}", choice="an id that `importer runs` lists")
    run = _described(session, found[0])
    chunks = session.query(
        f"select number, first_row, last_row, rows, state, written_at::timestamptz(0)::text as written_at "
        f"from {SCHEMA}.chunks where run = $1::uuid order by number",
        [run["id"]],
    )
    names = ("number", "first_row", "last_row", "rows", "state", "written_at")
    return {**run, "chunks": [dict(zip(names, row, strict=True)) for row in chunks]}


def leftovers(session: Session) -> list[dict[str, Any]]:
    """Staging tables that nobody works on, with their size in bytes."""
    rows = session.query(
        """
        select c.relname::text, pg_total_relation_size(c.oid) as size from pg_class c
        where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and c.relname ~ '^stage_[0-9a-f]{16}_'
        order by 1
        """,
        [SCHEMA],
    )
    held = _held_locks(session)
    return [{"table": name, "bytes": size} for name, size in rows if _lock_of(name) not in held]


def forget(session: Session, text: str) -> dict[str, Any]:
    """Delete a run from the ledger, and its staging table; what it published stays. Returns what it was.

    Raises:
        UsageError: there is no such run.
        Conflict: it is under way.
    """
    run = show_run(session, text)
    if run["state"] == "running" or not _lock(session, lock_number(run["key"])):
        raise Conflict(f"run {run['id']} is under way", choice="stop it first")
    if run["staging"]:
        _drop(session, run["staging"])
    session.run(f"DELETE FROM {SCHEMA}.runs WHERE id = {literal(run['id'])}")
    session.commit()
    return run


def clean(session: Session) -> list[str]:
    """Drop what dead runs left; returns the names of the tables. Their next try begins from nothing."""
    return [table["table"] for table in leftovers(session) if _clean_one(session, table["table"])]


def clean_behind(session: Session, key: str, workbook: str, schema: str, table: str) -> None:
    """Drop what earlier tries of this import left, and those of the same workbook, as it was, into the same table.

    Never fails: the import is done, and `clean` finds what remains.
    """
    with contextlib.suppress(DatabaseError):
        rows = session.query(
            f"""
            select relname::text from pg_class where relnamespace = to_regnamespace('{SCHEMA}')
               and (starts_with(relname, $1) or relname in (
                   select staging from {SCHEMA}.runs where state <> 'published' and workbook = $2
                      and target_schema = $3 and target_table = $4))
            """,
            [f"stage_{key[:_DIGITS]}_", workbook, schema, table],
        )
        session.commit()
        for (name,) in rows:
            _clean_one(session, name)


def _clean_one(session: Session, name: str) -> bool:
    """Drop a staging table that nobody works on; whether it was done."""
    number = _lock_of(name)
    if not _lock(session, number):
        return False
    try:
        _drop(session, name)
        if _has_ledger(session):
            session.run(f"DELETE FROM {SCHEMA}.chunks WHERE staging = {literal(name)}")
            session.run(
                f"UPDATE {SCHEMA}.runs SET staging = NULL, state = CASE state WHEN '{LOADING}' THEN 'interrupted' "
                f"ELSE state END WHERE staging = {literal(name)} AND state <> '{PUBLISHED}'"
            )
        session.commit()
    except DatabaseError:
        # Another role's, or still held by a session that is about to die.
        session.rollback()
        return False
    finally:
        with contextlib.suppress(DatabaseError):
            session.query("select pg_advisory_unlock($1::bigint)", [number])
            session.commit()
    return True


def _drop(session: Session, name: str) -> None:
    session.run(f"SET LOCAL lock_timeout = {_DROP_MILLISECONDS}")
    session.run(f"DROP TABLE IF EXISTS {quote(SCHEMA, name)}")


def _lock(session: Session, number: int) -> bool:
    return bool(session.value("select pg_try_advisory_lock($1::bigint)", [number]))


def _lock_of(name: str) -> int:
    return lock_number(name.removeprefix("stage_"))


def _has_ledger(session: Session) -> bool:
    return session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]) is not None


def _held_locks(session: Session) -> set[int]:
    rows = session.query(
        """
        select l.classid::int8, l.objid::int8 from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
          and l.database = (select oid from pg_database where datname = current_database())
        """
    )
    unsigned = [high << 32 | low for high, low in rows]
    return {n - 2**64 if n >= 2**63 else n for n in unsigned}


def _described(session: Session, row: tuple[Any, ...]) -> dict[str, Any]:
    import json

    run = dict(zip(_NAMES, row, strict=True))
    run["plan"], run["counts"] = json.loads(run["plan"]), json.loads(run["counts"])
    if run["state"] == LOADING:
        run["state"] = "running" if lock_number(run["key"]) in _held_locks(session) else "died"
    return run


# ---- SHOWN ------------------------------------------------------------------------------------------------------


def print_runs(runs: list[dict[str, Any]], left: list[dict[str, Any]], console: Console) -> None:
    """Show runs as a table, and what dead ones left."""
    from rich.table import Table

    from .report import safe

    table = Table("run", "state", "workbook", "sheet", "target", "mode", box=None, padding=(0, 1), header_style="bold")
    table.add_column("rows", justify="right")
    for title in ("started", "by"):
        table.add_column(title)
    for run in runs:
        rows = run["counts"].get("success_count")
        table.add_row(
            run["id"][:8], run["state"], safe(run["workbook"]), safe(run["sheet"]),
            safe(f"{run['target_schema']}.{run['target_table']}"), run["mode"],
            "-" if rows is None else f"{rows:,}", run["started_at"][:19], safe(run["role"]),
        )  # fmt: skip
    console.print(table if runs else "no runs yet")
    if left:
        size = sum(each["bytes"] for each in left) / 1e6
        console.print(
            f"left behind: {len(left)} staging tables of runs that did not finish, {size:,.1f} MB; run them again to "
            "finish them, or: importer runs clean",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def print_run(run: dict[str, Any], console: Console) -> None:
    """Show all that the ledger knows of a run."""
    for name, value in run.items():
        if name not in {"chunks", "plan", "counts"} and value is not None:
            console.print(f"{name:<16}{value}", highlight=False, markup=False, soft_wrap=True)
    for name in ("plan", "counts"):
        for key, value in run[name].items():
            if key != "options" and value is not None:
                console.print(f"{key:<16}{value}", highlight=False, markup=False, soft_wrap=True)
    rows = sum(chunk["rows"] for chunk in run["chunks"])
    console.print(f"{'chunks written':<16}{len(run['chunks'])}, {rows:,} rows", highlight=False, markup=False)
