"""Decides which tables callers may load into: those that match a pattern, or those that are the service's own.

Its own are those that it created; where nobody else can call it and the database is the embedded one, also those that
the command line loaded, by the ledger.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from importer.ledger.schema import SCHEMA
from importer.postgres.sql import quote
from importer.serve.models.child import OwnedTable

from .redaction import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from importer.contract.model import Contract
    from importer.plan.target import Target
    from importer.postgres.session import Session

    TableLookup = Callable[[str, str], tuple[frozenset[OwnedTable], bool]]


#: Seconds that a run waits for another one that may be creating its table, and between two questions about it.
_WAIT_SECONDS, _POLL_SECONDS = 10.0, 0.1


@dataclass(frozen=True)
class TablePolicy:
    """The rule for the tables that callers may load into.

    Attributes:
        patterns: shell patterns of allowed tables, `schema.table`, or `table` for any schema; empty: only new tables
            and those that the service created are allowed.
        owned: tables that the service created.
        ledger: whether tables that this role published into, by the ledger, are its own, too.
        published: the oids of those.
    """

    patterns: tuple[str, ...]
    owned: frozenset[OwnedTable]
    ledger: bool = False
    published: frozenset[int] = frozenset()

    def with_ledger(self, session: Session) -> TablePolicy:
        """Return the policy that knows what the ledger says by now."""
        return replace(self, published=_published(session)) if self.ledger and not self.patterns else self

    def allows(self, schema: str, name: str, oid: int | None) -> bool:
        """Return whether rows may be loaded into a table; oid: None if the table does not exist yet."""
        if self.patterns:
            return any(fnmatchcase(f"{schema}.{name}" if "." in p else name, p) for p in self.patterns)
        return oid is None or OwnedTable(schema, name, oid) in self.owned or oid in self.published

    def check(
        self,
        session: Session,
        target: Target,
        ask: TableLookup,
        *,
        sha256: str | None = None,
        begun: Sequence[str] = (),
    ) -> None:
        """Refuse a target that is not allowed.

        Args:
            session: session with the target database.
            target: target of the load.
            ask: returns the tables that the service created by now, and whether another run may be creating this one.
            sha256: SHA-256 of the workbook, in hex.
            begun: schema and name of the table that this run set out to create in an earlier attempt, or empty.

        Raises:
            NotAllowed: the target is not allowed.
        """
        schema, name, now, pending = target.schema, target.name, self.with_ledger(session), True
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            oid = oid_of(session, schema, name)
            if now.allows(schema, name, oid):
                return
            if oid is not None and [*begun] == [schema, name] and sha256 and was_published(session, oid, sha256):
                return
            if self.patterns or not pending or time.monotonic() > end:
                raise NotAllowed(
                    f"loading into {quote(schema, name)} is not allowed here", choice=self._choice(f"{schema}.{name}")
                )
            owned, pending = ask(schema, name)
            now = replace(now, owned=owned)
            time.sleep(_POLL_SECONDS if pending else 0)

    def check_references(self, session: Session, contract: Contract | None) -> None:
        """Refuse foreign keys to tables that are not allowed: their errors would reveal which keys those tables hold.

        Raises:
            NotAllowed: the contract has such a foreign key.
        """
        from importer.postgres.catalog import find_table, parse_table_name

        known = self.with_ledger(session)
        for key in contract.foreign_keys if contract else ():
            schema, table = find_table(session, *parse_table_name(key.table))
            if table is not None and not known.allows(schema, table.name, oid_of(session, schema, table.name)):
                raise NotAllowed(f"the contract refers to {quote(schema, table.name)}, which is not allowed here")

    def _choice(self, table: str) -> str:
        if self.patterns:
            return f"use a table that matches {' or '.join(self.patterns)}"
        return f"use another name; or the operator starts the service with --allow-tables {shlex.quote(table)}"


def oid_of(session: Session, schema: str, name: str) -> int | None:
    """Return the oid of a table, or None if it does not exist."""
    found = session.value("select to_regclass($1)::oid::int8", [quote(schema, name)])
    return None if found is None else int(found)


def _published(session: Session) -> frozenset[int]:
    """Return the oids of the tables that this role published into, as the ledger records."""
    if session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]) is None:
        return frozenset()
    rows = session.query(
        f"select distinct target_oid::int8 from {SCHEMA}.runs where state = 'published' and role = current_user "
        "and target_oid is not null"
    )
    return frozenset(int(oid) for (oid,) in rows)


def was_published(session: Session, oid: int, sha256: str) -> bool:
    """Return whether the ledger records that this role published the workbook into the table."""
    if session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]) is None:
        return False
    return (
        session.value(
            f"select 1 from {SCHEMA}.runs where state = 'published' and target_oid::int8 = $1 and sha256 = $2 "
            "and role = current_user limit 1",
            [oid, sha256],
        )
        is not None
    )
