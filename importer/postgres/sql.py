"""Quotes names and values for SQL, and decides where names without a schema are searched.

A function or operator of another role that fits the arguments better than the server's own is called instead of it, and
so runs with the rights of whoever imports. Therefore our sessions search `pg_catalog` alone, and all other names are
qualified. The user's own path still decides what a name without a schema means (`--table orders`, a contract's types):
it is read when the session begins. It is also set while rows are written to the target, because triggers, defaults and
domains of that table may rely on it; those statements have every name qualified, operators too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

from importer.errors import TargetRefused

#: Temporary objects come last; without a mention they would come first.
OWN_PATH = "pg_catalog, pg_temp"


class _Session(Protocol):
    """What is needed of a `session.Session`."""

    user_path: str

    def run(self, sql: str) -> int: ...


def quote(*names: str) -> str:
    """Return names as one quoted, dotted identifier.

    Raises:
        TargetRefused: a name is empty, too long or has a NUL character.
    """
    for name in names:
        if not name or "\0" in name or len(name.encode()) > 63:  # noqa: PLR2004 - NAMEDATALEN - 1
            raise TargetRefused(f"{name!r} cannot be the name of a table or column", choice="1-63 bytes")
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def quoted_list(names: Iterable[str]) -> str:
    """Return names quoted and separated by commas."""
    return ", ".join(quote(name) for name in names)


def literal(text: str) -> str:
    """Return a text as a quoted SQL literal."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def sql_value(value: Any) -> str:
    """Return a value as SQL: NULL, a number, a quoted text, or JSON for anything else."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    return literal(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def set_target_path(session: _Session, *, own_first: bool = False) -> None:
    """Set the user's search path, for statements that write to the target.

    It holds until `set_own_path` or the end of the transaction.

    Args:
        session: session with the target server.
        own_first: whether to search `pg_catalog` first, for statements that the driver makes.
    """
    path = ", ".join(filter(None, ["pg_catalog" if own_first else "", session.user_path.strip()]))
    session.run(path_sql(path))


def set_own_path(session: _Session) -> None:
    """Set our search path again, until the end of the transaction."""
    session.run(path_sql(OWN_PATH))


def path_sql(path: str) -> str:
    """Return the query that sets a search path until the end of the transaction; it needs no search path itself."""
    return f"SELECT pg_catalog.set_config('search_path', {literal(path)}, true)"
