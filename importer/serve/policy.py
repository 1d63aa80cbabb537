"""Owns which tables callers may load into: those that match a pattern, or those that the service created."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from ..postgres import quote
from ..schema import SCHEMA
from .outward import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..contract import Contract
    from ..postgres import Session
    from ..target import Target

    Ask = Callable[[str, str], tuple[frozenset["Owned"], bool]]


#: How long a run waits to be told that another one created its table, and between two questions, in seconds.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 10.0, 0.1


class Owned(NamedTuple):
    """A table that the service created; with its oid, because another may get its name."""

    schema: str
    name: str
    oid: int


@dataclass(frozen=True)
class Policy:
    """What callers may do to tables.

    Attributes:
        patterns: as in a shell, `schema.table`, or `table` of any schema; empty: tables that the service created,
            and new ones.
        owned: the tables that the service created.
    """

    patterns: tuple[str, ...]
    owned: frozenset[Owned]

    def allows(self, schema: str, name: str, oid: int | None) -> bool:
        """Whether rows may go into a table; its oid is None where there is none yet."""
        if self.patterns:
            return any(fnmatchcase(f"{schema}.{name}" if "." in p else name, p) for p in self.patterns)
        return oid is None or Owned(schema, name, oid) in self.owned

    def check(
        self, session: Session, target: Target, ask: Ask, *, sha256: str | None = None, begun: Sequence[str] = ()
    ) -> None:
        """Refuse a target that is not allowed.

        Args:
            session: any.
            target: of the load.
            ask: for the tables that the service created by now, and whether another run may be creating this one.
            sha256: of the workbook.
            begun: schema and name of the table that this run set out to create, when it was begun before.

        Raises:
            NotAllowed: it is not.
        """
        schema, name, now, pending = target.schema, target.name, self, True
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            oid = oid_of(session, schema, name)
            if now.allows(schema, name, oid):
                return
            if oid is not None and [*begun] == [schema, name] and sha256 and published_here(session, oid, sha256):
                return
            if self.patterns or not pending or time.monotonic() > end:
                raise NotAllowed(f"table {quote(schema, name)} is not one to load into here", choice=self._choice())
            owned, pending = ask(schema, name)
            now = replace(self, owned=owned)
            time.sleep(_PAUSE_SECONDS if pending else 0)

    def check_references(self, session: Session, contract: Contract | None) -> None:
        """Refuse foreign keys to tables that are not allowed: they tell which keys those have.

        Raises:
            NotAllowed: there is one.
        """
        from ..catalog import find_table, parse_table_name

        for key in contract.foreign_keys if contract else ():
            schema, table = find_table(session, *parse_table_name(key.table))
            if table is not None and not self.allows(schema, table.name, oid_of(session, schema, table.name)):
                raise NotAllowed(f"the contract refers to {quote(schema, table.name)}, which is not one to use here")

    def _choice(self) -> str:
        if self.patterns:
            return f"a table that matches {' or '.join(self.patterns)}"
        return "another name; the operator can allow more with allow_tables"


def oid_of(session: Session, schema: str, name: str) -> int | None:
    """The oid of a table, or None where there is none."""
    found = session.value("select to_regclass($1)::oid::int8", [quote(schema, name)])
    return None if found is None else int(found)


def published_here(session: Session, oid: int, sha256: str) -> bool:
    """Whether the ledger says that the table was filled with that workbook."""
    if session.value("select to_regclass($1)::text", [f"{SCHEMA}.runs"]) is None:
        return False
    asked = f"select 1 from {SCHEMA}.runs where state = 'published' and target_oid::int8 = $1 and sha256 = $2 limit 1"
    return session.value(asked, [oid, sha256]) is not None
