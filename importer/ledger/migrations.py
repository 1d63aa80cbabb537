"""Owns the versions of the ledger: creates its tables, and brings those of an earlier version up to date.

A new ledger goes through all steps, an old one through those that it lacks: in one transaction, under one lock. To add
a step, append a function to `STEPS` and describe in `structure` what the tables are after it. The steps before it stay
as they are, because there are ledgers that have taken them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from importer.errors import Conflict, DatabaseError, TargetRefused

from .schema import DENIED, SCHEMA, create_in_schema, session_role
from .structure import INDEXES, TABLES, check_structure, damaged_error, foreign_schema
from .trust import check_before_upgrade, check_trust, restrict_to_own_rows
from .unchanged import is_checked, ledger_state, remember_checked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from importer.postgres.session import Session

    Step = Callable[[Session], None]

#: How long a step waits for a run that is writing to the ledger. Below the second after which PostgreSQL looks for
#: deadlocks, so that a step gives up before that run can be the victim of one.
_LOCK_MILLISECONDS = 500
#: SQLSTATE class of errors in what there is: a name that is missing, or taken.
_NO_SUCH_OR_EXISTS = "42"
_COMMENT = "importer ledger, version {}"


def _create_tables(session: Session) -> None:
    for statement in (
        f"""
        CREATE TABLE {SCHEMA}.runs (
            id uuid PRIMARY KEY, key text NOT NULL,
            state text NOT NULL CHECK (state IN ('loading', 'published', 'failed', 'interrupted')),
            workbook text NOT NULL, sha256 text NOT NULL, sheet text NOT NULL,
            target_schema text NOT NULL, target_table text NOT NULL, target_oid oid,
            mode text NOT NULL, contract_sha256 text, plan jsonb NOT NULL, counts jsonb NOT NULL,
            staging text, shape text, xids text,
            role text NOT NULL DEFAULT current_user, client text NOT NULL, version text NOT NULL,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz, error text)
        """,
        f"CREATE UNIQUE INDEX runs_open ON {SCHEMA}.runs (key) WHERE state <> 'published'",
        f"CREATE INDEX runs_key ON {SCHEMA}.runs (key)",
        f"""
        CREATE TABLE {SCHEMA}.chunks (
            run uuid NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE, staging text NOT NULL, number int NOT NULL,
            first_row int NOT NULL, last_row int NOT NULL, rows bigint NOT NULL, checksum text NOT NULL,
            state text NOT NULL DEFAULT 'written' CHECK (state = 'written'),
            written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (staging, number))
        """,
        f"CREATE INDEX chunks_run ON {SCHEMA}.chunks (run)",
        # The administrator decides who may use the schema; within it all runs share the ledger.
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.runs, {SCHEMA}.chunks TO PUBLIC",
    ):
        session.run(statement)


def _restrict_roles(session: Session) -> None:
    """Let every role change its own rows only, so that none can publish, continue or end a run of another.

    Keys have the role in them, so that no row of another role is in the way. The oid tells a staging table from a later
    one of the same name; a run that is unfinished by now has none, and begins from the first row again.
    """
    for statement in (
        f"ALTER TABLE {SCHEMA}.runs ADD COLUMN staging_oid oid",
        f"ALTER TABLE {SCHEMA}.chunks ADD COLUMN role text NOT NULL DEFAULT current_user",
        f"UPDATE {SCHEMA}.chunks SET role = r.role FROM {SCHEMA}.runs r WHERE r.id = run AND r.role <> chunks.role",
        f"DROP INDEX {SCHEMA}.runs_open",
        f"CREATE UNIQUE INDEX runs_open ON {SCHEMA}.runs (key, role) WHERE state <> 'published'",
        f"ALTER TABLE {SCHEMA}.chunks DROP CONSTRAINT chunks_pkey, ADD PRIMARY KEY (run, staging, number)",
        *restrict_to_own_rows("runs"),
        *restrict_to_own_rows("chunks"),
    ):
        session.run(statement)


def _add_rejects(session: Session) -> None:
    """Add the table of rejects, for the roles that use the ledger."""
    for statement in (
        f"""
        CREATE TABLE {SCHEMA}.rejects (
            run uuid NOT NULL REFERENCES {SCHEMA}.runs ON DELETE CASCADE, part text NOT NULL, number int NOT NULL,
            content bytea NOT NULL, role text NOT NULL DEFAULT current_user,
            PRIMARY KEY (run, part, number))
        """,
        # It is compressed already.
        f"ALTER TABLE {SCHEMA}.rejects ALTER COLUMN content SET STORAGE EXTERNAL",
        *restrict_to_own_rows("rejects"),
        *_same_grants(session, "chunks", "rejects"),
    ):
        session.run(statement)


def _same_grants(session: Session, old: str, new: str) -> list[str]:
    """Return the statements that grant on a new table what other roles were granted on an old one."""
    found = session.query(
        """
        select pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)),
               pg_catalog.string_agg(a.privilege_type, ', ')
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        cross join lateral pg_catalog.aclexplode(c.relacl) a
        where n.nspname = $1 and c.relname = $2 and a.grantee not in (0, c.relowner)
          and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
        group by 1 order by 1
        """,
        [SCHEMA, old],
    )
    return [f"GRANT {privileges} ON {SCHEMA}.{new} TO {role}" for role, privileges in found]


#: Step n brings a ledger from version n - 1 to version n; step 1 makes it. The statements of the version before must
#: still be valid after a step, because a run of that version may be under way.
STEPS: tuple[Step, ...] = (
    _create_tables,  # 1
    _restrict_roles,  # 2
    _add_rejects,  # 3
)  # fmt: skip
VERSION = len(STEPS)


def ensure_ledger(session: Session, comment: str | None, steps: Sequence[Step] = STEPS, *, writes: bool = True) -> None:
    """Create the ledger if it is missing, bring it up to date, and check it. Commits what it changed.

    The check holds locks on the tables, which the caller's next commit releases. A session of many imports checks a
    ledger that it writes to once, until its definition changes.

    Args:
        session: session with the target server.
        comment: comment of table `runs`, which has the version; None if there is none.
        steps: the steps that lead to the version wanted.
        writes: whether rows will be written, not only read.

    Raises:
        TargetRefused: the role may not create or change the tables, a newer version made them, they are no ledger, or
            not one that can be trusted.
        Conflict: a run is writing to a ledger that must be changed.
    """
    if comment != _COMMENT.format(len(steps)):
        create_in_schema(session, lambda: _take_steps(session, steps), lambda: _permission_error(session, len(steps)))
    state = ledger_state(session)
    if writes and is_checked(session, state):
        return
    check_structure(session)
    check_trust(session, writes=writes)
    if writes:
        remember_checked(session, state)


def find_ledger(session: Session, *, writes: bool = False) -> bool:
    """Return whether there is a ledger; an earlier version of it is brought up to date.

    Args:
        session: session with the target server.
        writes: whether rows will be written, not only read.

    Raises:
        TargetRefused: as in `ensure_ledger`.
        Conflict: as in `ensure_ledger`.
    """
    found = _find_version(session, VERSION)
    if found:
        ensure_ledger(session, _COMMENT.format(found), writes=writes)
    return found > 0


def _take_steps(session: Session, steps: Sequence[Step]) -> None:
    # One session takes the steps; one that waited for the lock finds them taken.
    session.run("SELECT pg_advisory_xact_lock(hashtext('importer ledger'))")
    found = _find_version(session, len(steps))
    if found == len(steps):
        return
    session.run(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
    try:
        check_before_upgrade(session)
        for step in steps[found:]:
            step(session)
        session.run(f"COMMENT ON TABLE {SCHEMA}.runs IS '{_COMMENT.format(len(steps))}'")
    except Conflict as exc:
        raise Conflict(
            f"the ledger in schema {SCHEMA!r} cannot be brought to version {len(steps)} now, "
            "because another run is writing to it",
            choice="try again when that run has ended",
            sqlstate=exc.sqlstate,
        ) from None
    except DatabaseError as exc:
        # Of an earlier version, something is missing or there already: a step was taken by half, or undone by half.
        if not found or exc.sqlstate == DENIED or not (exc.sqlstate or "").startswith(_NO_SUCH_OR_EXISTS):
            raise
        session.rollback()
        fault = f"it cannot be brought from version {found} to version {len(steps)}: {exc.fact}"
        raise damaged_error(session, fault) from None


def _find_version(session: Session, newest: int) -> int:
    """Return the version of the ledger, 0 if there is none.

    Raises:
        TargetRefused: it is newer than the newest that is known, or something else has the names of its tables.
    """
    found = session.query(
        """
        select c.relname::text, c.relkind::text, pg_catalog.obj_description(c.oid, 'pg_class')
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = any(pg_catalog.string_to_array($2, ',')) order by c.relname <> 'runs', 1
        """,
        [SCHEMA, ",".join((*TABLES, *INDEXES))],
    )
    if not found:
        return 0
    name, kind, comment = found[0]
    written = re.fullmatch(_COMMENT.format(r"(\d+)"), comment or "") if name == "runs" else None
    if written is None:
        raise foreign_schema(session, name, kind, _COMMENT.format(newest))
    version = int(written[1])
    if version > newest:
        raise TargetRefused(
            f"the ledger in schema {SCHEMA!r} is that of a newer version of this program: it has version {version}, "
            f"and this program knows up to {newest}",
            choice="use that version",
        )
    return version


def _permission_error(session: Session, version: int) -> TargetRefused | None:
    """Return the error about a ledger that this role may not change, None if there is none; after a rollback."""
    owner = session.value(
        "select pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) from pg_catalog.pg_class c "
        "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = 'runs'",
        [SCHEMA],
    )
    if owner is None:
        return None
    return TargetRefused(
        f"role {session_role(session)} may not bring the ledger in schema {SCHEMA!r} from version "
        f"{_find_version(session, version)} to version {version}",
        choice=f"run `importer runs` once as role {owner}, which owns it, or as a superuser",
        sqlstate="42501",
    )
