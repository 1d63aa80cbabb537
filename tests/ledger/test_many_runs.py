"""A ledger of very many runs: an import is found in it by its key, and a list of runs ends."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from support.commandline import importer
from support.tables import save

from importer.ledger.history import count_runs, list_runs
from importer.ledger.tables import _RUNS
from importer.postgres.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", ["id"], [1])


def test_an_import_is_found_without_reading_the_ledger(db: Database, book: Path) -> None:
    db.load(book)
    with Session(db.dsn) as session:
        session.run("set enable_seqscan = off")
        asked = _RUNS.replace("$1", "'key'").replace("$2", "'t'")
        plan = "\n".join(line for (line,) in session.query(f"explain {asked}"))
    assert "runs_key" in plan, plan
    assert "Seq Scan on runs" not in plan, plan


def test_runs_are_listed_up_to_a_number_and_unfinished_ones_always(db: Database, book: Path) -> None:
    run = db.load(book).run["id"]
    columns = "workbook, sha256, sheet, target_schema, target_table, mode, plan, counts, client, version"
    dead = str(uuid.uuid4())
    db.run(
        f"insert into importer.runs (id, state, started_at, key, {columns}) "
        f"select '{dead}', 'failed', '2001-01-01', 'k', {columns} from importer.runs where id = '{run}'"
    )
    newest = db.load(save(book, ["id"], [2])).run["id"]
    with Session(db.dsn) as session:
        listed, every = list_runs(session, 1), list_runs(session)
        assert count_runs(session) == len(every) > len(listed)
    assert (listed[0]["id"], listed[-1]["id"]) == (newest, dead)
    assert run in {each["id"] for each in every} - {each["id"] for each in listed}
    shown = importer("runs", "--newest", "1", "--to", db.dsn.text)
    assert f"{len(every) - len(listed):,} older run" in shown.out
    as_json = importer("runs", "--newest", "1", "--to", db.dsn.text, "--json").json
    assert as_json["more"] == len(every) - len(listed)
    assert importer("runs", "--newest", "0", "--to", db.dsn.text, "--json").json["more"] == 0
    db.run(f"delete from importer.runs where id = '{dead}'")
