"""A database of its own for a test about privileges, with roles that log in, and a count of what ran with another's rights."""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.asking import held_session

from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@dataclass(frozen=True)
class Roles:
    """A database and roles that may log in to it.

    Attributes:
        dsn: of the database, as superuser.
        name: of the database.
    """

    dsn: Dsn
    name: str

    def role(self, name: str) -> str:
        """The full name of one of the test's roles; roles belong to the whole server."""
        return f"{name}_{self.name}"

    def dsn_of(self, name: str) -> Dsn:
        return Dsn(re.sub(r"//[^@/]*@", f"//{self.role(name)}@", self.dsn.text))

    def run(self, *statements: str, by: str | None = None) -> None:
        """Run statements in one session; `{name}` stands for one of the roles."""
        with held_session(self.dsn_of(by) if by else self.dsn, autocommit=True) as session:
            session.run("reset search_path")
            for statement in statements:
                session.run(self._named(statement))

    def rows(self, sql: str, by: str | None = None) -> list[tuple[Any, ...]]:
        with held_session(self.dsn_of(by) if by else self.dsn) as session:
            return session.query(self._named(sql))

    def named(self, sql: str) -> str:
        """A statement with the full names of roles, as messages quote them."""
        return re.sub(r"\{([a-z]\w*)\}", lambda found: f'"{self.role(found[1])}"', sql)

    def _named(self, sql: str) -> str:
        return re.sub(r"\{([a-z]\w*)\}", lambda found: self.role(found[1]), sql)

    def trap(self, role: str = "mallory", schema: str = "traps") -> None:
        """Make `traps.sprung`, where functions of that role note who runs them, and `traps.spring()`, a trigger of it."""
        self.run(
            f"create schema {schema} authorization {{{role}}}",
            f"grant usage on schema {schema} to public",
        )
        self.run(
            f"create table {schema}.sprung (who text)",
            f"grant insert, select on {schema}.sprung to public",
            f"""create function {schema}.spring() returns trigger language plpgsql as $$
                begin insert into {schema}.sprung values (current_user); return new; end $$""",
            f"""create function {schema}.note(anyelement) returns anyelement language plpgsql as $$
                begin insert into {schema}.sprung values (current_user); return $1; end $$""",
            f"""create function {schema}.fixed(anyelement) returns anyelement language plpgsql immutable as $$
                begin perform nextval('{schema}.calls'); return $1; end $$""",
            f"create sequence {schema}.calls",
            f"grant usage on {schema}.calls to public",
            by=role,
        )

    def sprung(self, schema: str = "traps") -> list[str]:
        """Which roles ran the other role's code since `reset`, that one left out; `?` for code that cannot tell."""
        found = self.rows(
            f"select who from {schema}.sprung union select '?' from {schema}.calls where is_called order by 1"
        )
        return [who for (who,) in found if "mallory" not in who]

    def reset(self, schema: str = "traps") -> None:
        """Forget who ran that code."""
        self.run(f"delete from {schema}.sprung", f"alter sequence {schema}.calls restart")


@contextlib.contextmanager
def database_with_roles(server: Dsn, *names: str) -> Iterator[Roles]:
    """A fresh database, and login roles with no privileges but those of PUBLIC."""
    name = f"r_{secrets.token_hex(6)}"
    made = Roles(Dsn(re.sub(r"/postgres\b(?=\?|$)", f"/{name}", server.text)), name)
    assert made.dsn != server
    with held_session(server, autocommit=True) as session:
        session.run(f"CREATE DATABASE {name}")
        for role in names:
            session.run(f"CREATE ROLE {made.role(role)} LOGIN")
    try:
        yield made
    finally:
        with held_session(server, autocommit=True) as session:
            session.run(f"DROP DATABASE {name} WITH (FORCE)")
            left = session.query(f"select rolname::text from pg_roles where rolname like '%\\_{name}'")
            if left:
                session.run(f"DROP ROLE {', '.join(role for (role,) in left)}")
