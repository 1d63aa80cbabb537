"""Gives users access to the ledger: lists runs, shows one, deletes one, and drops what dead runs left."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from importer.errors import Conflict, DatabaseError, TargetRefused, UsageError
from importer.postgres.embedded import EmbeddedServer
from importer.postgres.pooler import check_pooler
from importer.postgres.session import Session
from importer.postgres.sql import literal, quote
from importer.settings import find_dsn

from .locks import lock_number
from .migrations import ensure_ledger, find_ledger
from .schema import SCHEMA
from .tables import LOADING, PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Number of hex digits of the key in a staging table's name, after `stage_`.
_KEY_DIGITS = 16
#: How long to wait for a staging table that a session being terminated still holds.
_DROP_MILLISECONDS = 2000
_COLUMNS = """
    id::text, key, state, workbook, sheet, sha256, target_schema, target_table, mode, contract_sha256,
    plan::text as plan, counts::text as counts, staging, role, client, version,
    started_at::timestamptz(0)::text as started_at, finished_at::timestamptz(0)::text as finished_at, error
"""
_COLUMN_NAMES = (
    "id", "key", "state", "workbook", "sheet", "sha256", "target_schema", "target_table", "mode", "contract_sha256",
    "plan", "counts", "staging", "role", "client", "version", "started_at", "finished_at", "error",
)  # fmt: skip
#: Whether a run has a staging table.
_HAS_RUN = f"exists (select from {SCHEMA}.runs r where r.staging = c.relname)"
#: The staging tables of this role that no run has, and others.
_LEFTOVERS = f"""
select c.relname::text from pg_class c
where c.relnamespace = to_regnamespace('{SCHEMA}') and c.relkind = 'r' and c.relname ~ '^stage_[0-9a-f]{{{{16}}}}_'
  and (pg_get_userbyid(c.relowner) = current_user and not {{has_run}} {{others}})
"""


@contextlib.contextmanager
def ledger_session(to: str | None) -> Iterator[Session]:
    """Open a session with the target server, which is found by the rules of the command `run`.

    Raises:
        TargetRefused: a pooler in between does not keep sessions.
    """
    dsn = find_dsn(to)
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(Session(dsn or stack.enter_context(EmbeddedServer().running())))
        if dsn:
            check_pooler(session, dsn)
        yield session


def set_up(session: Session) -> None:
    """Create the ledger if it is missing, or bring it up to date.

    Raises:
        TargetRefused: the role may not, or the ledger that is there cannot be trusted.
    """
    if not find_ledger(session, writes=True):
        ensure_ledger(session, None)
    session.commit()


def list_runs(session: Session, most: int | None = None) -> list[dict[str, Any]]:
    """Return runs, newest first; where the ledger says `loading`, `state` is `running` or `died`.

    Args:
        session: session with the target server.
        most: how many of the newest to return, besides all that are not published; None: all.
    """
    if not find_ledger(session):
        return []
    newest = f"(select id from {SCHEMA}.runs order by started_at desc limit {most})"
    chosen = "true" if most is None else f"state <> '{PUBLISHED}' or id in {newest}"
    asked = f"select {_COLUMNS} from {SCHEMA}.runs where {chosen} order by runs.started_at desc"
    return [_describe_run(session, row) for row in session.query(asked)]


def count_runs(session: Session) -> int:
    """Return how many runs the ledger has."""
    return int(session.value(f"select count(*) from {SCHEMA}.runs")) if find_ledger(session) else 0


def show_run(session: Session, text: str) -> dict[str, Any]:
    """Return one run, with its chunks.

    Args:
        session: session with the target server.
        text: the run's id, or the beginning of it.

    Raises:
        UsageError: no run matches, or more than one.
    """
    found = []
    if find_ledger(session):
        found = session.query(
            f"select {_COLUMNS} from {SCHEMA}.runs where starts_with(id::text, $1) order by runs.started_at desc",
            [text.lower()],
        )
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} runs begin with {text!r}", choice="an id that `importer runs` lists")
    run = _describe_run(session, found[0])
    chunks = session.query(
        f"select number, first_row, last_row, rows, state, written_at::timestamptz(0)::text as written_at "
        f"from {SCHEMA}.chunks where run = $1::uuid order by number",
        [run["id"]],
    )
    names = ("number", "first_row", "last_row", "rows", "state", "written_at")
    return {**run, "chunks": [dict(zip(names, row, strict=True)) for row in chunks]}


def leftovers(session: Session) -> list[dict[str, Any]]:
    """Return the staging tables that no live run uses, each as `table` and `bytes`."""
    rows = session.query(
        """
        select c.relname::text, pg_total_relation_size(c.oid) as size from pg_class c
        where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and c.relname ~ '^stage_[0-9a-f]{16}_'
        order by 1
        """,
        [SCHEMA],
    )
    held = _held_locks(session)
    return [{"table": name, "bytes": size} for name, size in rows if _lock_number_of(name) not in held]


def forget(session: Session, text: str) -> dict[str, Any]:
    """Delete a run from the ledger and drop its staging table; return the run. What it published stays.

    Raises:
        UsageError: no run matches, or more than one.
        Conflict: the run is under way.
    """
    run = show_run(session, text)
    find_ledger(session, writes=True)
    if run["state"] == "running" or not _lock(session, _lock_number_of(run["key"])):
        raise Conflict(f"run {run['id']} is under way", choice="stop it first")
    if session.run(f"DELETE FROM {SCHEMA}.runs WHERE id = {literal(run['id'])}") != 1:
        session.rollback()
        raise TargetRefused(
            f"run {run['id']} is one of role {run['role']}",
            choice="only that role and the ledger's owner may forget it",
        )
    if run["staging"]:
        drop_staging_table(session, run["staging"], run["role"])
    session.commit()
    return run


def clean(session: Session) -> list[str]:
    """Drop the staging tables of dead runs and return their names; these runs then start from scratch."""
    find_ledger(session, writes=True)
    return [table["table"] for table in leftovers(session) if _drop_leftover(session, table["table"])]


def clean_after_import(session: Session, key: str, workbook: str, schema: str, table: str) -> None:
    """Drop staging tables left by earlier attempts of this import.

    Those of unfinished runs of a workbook of the same name, whatever its content, into the same table are dropped, too,
    and those of killed checks. Database errors are ignored: the import is done, and `clean` finds what remains.

    Args:
        session: session with the target server.
        key: key of the import.
        workbook: file name of the workbook.
        schema: schema of the target table.
        table: name of the target table.
    """
    of_attempts = f"""
        or starts_with(c.relname, $1) or c.relname in (
            select staging from {SCHEMA}.runs where state <> '{PUBLISHED}' and workbook = $2
               and target_schema = $3 and target_table = $4 and role = current_user)"""
    asked = [f"stage_{key[:_KEY_DIGITS]}_", session.encoding.escape(workbook), schema, table]
    with contextlib.suppress(DatabaseError):
        _drop_leftovers(session, session.query(_LEFTOVERS.format(has_run=_HAS_RUN, others=of_attempts), asked))


def clean_after_check(session: Session) -> None:
    """Drop the staging tables of this role that no run of the ledger has: those of killed checks. See `clean`."""
    with contextlib.suppress(DatabaseError):
        has_run = _HAS_RUN if _has_ledger(session) else "false"
        _drop_leftovers(session, session.query(_LEFTOVERS.format(has_run=has_run, others="")))


def _drop_leftovers(session: Session, found: list[tuple[str]]) -> None:
    session.commit()
    for (name,) in found:
        _drop_leftover(session, name)


def _drop_leftover(session: Session, name: str) -> bool:
    """Drop a staging table unless a live run uses it, and return whether it was dropped."""
    number = _lock_number_of(name)
    if not _lock(session, number):
        return False
    try:
        drop_staging_table(session, name)
        if _has_ledger(session):
            session.run(f"DELETE FROM {SCHEMA}.chunks WHERE staging = {literal(name)}")
            session.run(
                f"UPDATE {SCHEMA}.runs SET staging = NULL, staging_oid = NULL, "
                f"state = CASE state WHEN '{LOADING}' THEN 'interrupted' "
                f"ELSE state END WHERE staging = {literal(name)} AND state <> '{PUBLISHED}'"
            )
        session.commit()
    except DatabaseError:
        # The table belongs to another role, or a session being terminated still holds it.
        session.rollback()
        return False
    finally:
        with contextlib.suppress(DatabaseError):
            session.query("select pg_advisory_unlock($1::bigint)", [number])
            session.commit()
    return True


def drop_staging_table(session: Session, name: str, role: str | None = None) -> None:
    """Drop a staging table, if there is one of that name. Does not commit.

    The name may come from a row that another role wrote, so anything else of that name stays.

    Args:
        session: session with the target server.
        name: name of the table.
        role: the role that it must belong to; None for any role.
    """
    session.run(f"SET LOCAL lock_timeout = {_DROP_MILLISECONDS}")
    found = session.value(
        """
        select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind = 'r' and c.relname ~ '^stage_[0-9a-f]{16}_[0-9a-f]+$'
          and ($3 = '' or pg_get_userbyid(c.relowner) = $3)
        """,
        [SCHEMA, name, role or ""],
    )
    if found:
        session.run(f"DROP TABLE IF EXISTS {quote(SCHEMA, name)}")


def _lock(session: Session, number: int) -> bool:
    return bool(session.value("select pg_try_advisory_lock($1::bigint)", [number]))


def _lock_number_of(name: str) -> int:
    """Return the lock of a key or a staging table, or 0 where another role wrote what is no key."""
    key = name.removeprefix("stage_")
    return lock_number(key) if re.match(r"[0-9a-f]{16}", key) else 0


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


def _describe_run(session: Session, row: tuple[Any, ...]) -> dict[str, Any]:
    import json

    run = dict(zip(_COLUMN_NAMES, row, strict=True))
    for name in ("plan", "counts"):
        stored = json.loads(run[name])
        run[name] = stored if isinstance(stored, dict) else {}  # others may have written something else
    if run["state"] == LOADING:
        run["state"] = "running" if _lock_number_of(run["key"]) in _held_locks(session) else "died"
    return run


# ---- SHOWN ------------------------------------------------------------------------------------------------------
