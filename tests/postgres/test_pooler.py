"""A pooler between us and the server: sessions must be kept, and one that does not keep them is found out at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import Database
from support.commandline import importer
from support.pooling import PoolMode, pooling
from support.tables import save

from importer.errors import TargetRefused
from importer.ledger.history import forget, ledger_session
from importer.ledger.locks import lock_number
from importer.postgres import libpq
from importer.postgres.session import Session
from importer.run import import_lock
from importer.runtime.progress import NoProgress
from importer.settings import Dsn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", ["a"], [1], [2])


@pytest.fixture(autouse=True)
def _unix_socket(db: Database) -> None:
    if "host=/" not in db.server.text:
        pytest.skip("the pooler of the tests speaks to a Unix socket")


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pooler_without_sessions_is_refused(
    db: Database, book: Path, mode: PoolMode, size: int, oldest_first: bool
) -> None:
    with pooling(db.server, mode, size, oldest_first=oldest_first) as url:
        with pytest.raises(TargetRefused, match="pooler.*session") as caught:
            Database(Dsn(url), db.schema, db.server).load(book, table=f"{db.schema}.t")
        assert "pool_mode = session" in str(caught.value.choice)
    assert db.rows("select to_regclass('t')") == [(None,)]


@pytest.mark.parametrize("idle", [0, 1, 2, 3])
def test_idle_connections_of_the_pool(db: Database, book: Path, idle: int) -> None:
    """Other programs left connections with the server in the pool."""
    with pooling(db.server, "transaction", 6) as url:
        others = [Session(Dsn(url)) for _ in range(idle)]
        for other in others:
            other.value("select 1")
        for other in others:
            other.close()
        with pytest.raises(TargetRefused, match="pooler"):
            Database(Dsn(url), db.schema, db.server).load(book, table=f"{db.schema}.t")


@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("transaction", 3), ("statement", 3), ("session", 5)])
def test_without_a_shared_libpq(
    db: Database, book: Path, monkeypatch: pytest.MonkeyPatch, mode: PoolMode, size: int
) -> None:
    """A second connection by the driver costs more, and shows the same."""
    monkeypatch.setattr(libpq, "_load", lambda: None)
    with pooling(db.server, mode, size) as url:
        pooled = Database(Dsn(url), db.schema, db.server)
        if mode == "session":
            assert pooled.load(book, table=f"{db.schema}.t").success_count == 2
        else:
            with pytest.raises(TargetRefused, match="pooler"):
                pooled.load(book, table=f"{db.schema}.t")


def test_pooler_with_sessions_is_used(db: Database, book: Path) -> None:
    with pooling(db.server, "session") as url:
        pooled = Database(Dsn(url), db.schema, db.server)
        assert pooled.load(book, table=f"{db.schema}.t").success_count == 2
        assert pooled.load(book, table=f"{db.schema}.t", timeout=60).outcome == "already-imported"


def test_other_commands_that_lock_refuse_it(db: Database, book: Path) -> None:
    """`runs forget` and `runs clean` take the locks of the runs that they look at."""
    db.load(book, table="t")
    with (
        pooling(db.server, "transaction") as url,
        pytest.raises(TargetRefused, match="pooler"),
        ledger_session(url) as session,
    ):
        forget(session, "0")


def test_command_says_it_at_once(db: Database, book: Path) -> None:
    with pooling(db.server, "transaction") as url:
        for _ in range(2):
            ran = importer("run", book, "--to", url, "--table", f"{db.schema}.t", cwd=book.parent)
            assert ran.code == 4
            assert "pool_mode = session" in ran.err
            assert "retrying" not in ran.err
    # No lock stays behind.
    assert db.load(book, table="t", timeout=60).success_count == 2


# ---- WAITING FOR THE LOCK ---------------------------------------------------------------------------------------


def test_wait_says_how_to_end_it(db: Database, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that a dead client's connection still holds: whom the run waits for, and what ends that."""
    monkeypatch.setattr(import_lock, "_ADVICE_SECONDS", 0.0)
    db.load(book, table="t")
    with Session(db.server) as holder:
        run = db.rows(f"select key from importer.runs where target_schema = '{db.schema}'")[0][0]
        process = holder.value("select pg_backend_pid()")
        holder.query("select pg_try_advisory_lock($1::bigint)", [lock_number(run)])
        holder.commit()
        said: list[str] = []

        class Listener(NoProgress):
            def say(self, text: str) -> None:
                said.append(text)
                if "pg_terminate_backend" in text:
                    db.rows(f"select pg_terminate_backend({process})")

        report = db.load(book, table="t", progress=Listener())
    assert report.outcome == "already-imported"
    assert [text for text in said if f"server process {process}" in text and "waiting" in text]
    assert [text for text in said if f"select pg_terminate_backend({process})" in text]
