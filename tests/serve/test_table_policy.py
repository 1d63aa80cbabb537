"""Which tables callers may load into: the service's own, and by the ledger those that the command line loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.tables import save

from importer.postgres.session import Session
from importer.serve.child.table_policy import TablePolicy, oid_of
from importer.serve.config import Config
from importer.settings import Dsn

if TYPE_CHECKING:
    from conftest import Database


def test_tables_of_the_ledger_are_own_where_it_counts(db: Database, tmp_path: Path) -> None:
    report = db.load(save(tmp_path / "a.xlsx", ["n"], [1]), table="loaded")
    schema = report.target["schema"]
    db.run("create table strange (n bigint)")
    with Session(db.dsn) as session:
        loaded, strange = (oid_of(session, schema, name) for name in ("loaded", "strange"))
        own = TablePolicy((), frozenset(), ledger=True).with_ledger(session)
        assert own.allows(schema, "loaded", loaded)
        assert not own.allows(schema, "strange", strange)
        assert own.allows(schema, "new", None)
        for policy in (TablePolicy((), frozenset()), TablePolicy(("other",), frozenset(), ledger=True)):
            assert not policy.with_ledger(session).allows(schema, "loaded", loaded)
        session.run(f"update importer.runs set role = 'somebody' where target_oid = {loaded}")
        assert not own.with_ledger(session).allows(schema, "loaded", loaded)


@pytest.mark.parametrize(
    ("given", "owns"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"dsn": Dsn("postgresql://h/d")}, False),
        ({"host": "0.0.0.0", "token": "a" * 40}, False),
        ({"allow_hosts": ("proxy.example",)}, False),
    ],
)
def test_only_the_embedded_database_of_a_private_service(tmp_path: Path, given: dict[str, object], owns: bool) -> None:
    assert Config(folder=Path("/tmp/s"), **given).owns_ledger is owns  # type: ignore[arg-type]
