"""What a caller does at certain points of a run; what it is shown of the progress has no part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.rawbook import inline, row, write_rows

from importer import pipeline
from importer.errors import LimitExceeded, TargetRefused
from importer.load import direct_copy
from importer.run.lease_holder import LeaseHolder
from importer.settings import Limits, make_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.settings import Settings


@pytest.fixture
def book(tmp_path: Path) -> Path:
    rows = row(1, inline("A1", "h")) + "".join(row(n, inline(f"A{n}", f"x{n}")) for n in range(2, 500))
    return write_rows(tmp_path / "b.xlsx", rows)


def settings(db: Database, book: Path, **changed: object) -> Settings:
    return make_settings(book, to=db.dsn.text, table="t", workers=1, chunk_rows=100, **changed)


@dataclass
class Publishing:
    """Counts the calls, and what another session sees of the table in each."""

    db: Database
    seen: list[list[tuple[object, ...]]]

    def __call__(self) -> None:
        self.seen.append(self.db.rows("select count(*) from t"))


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_hook_runs_once_before_rows_are_visible(
    db: Database, book: Path, monkeypatch: pytest.MonkeyPatch, *, direct: bool, dry_run: bool
) -> None:
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 1 if direct else 1 << 60)
    db.run("create table t (h text)")
    publishing = Publishing(db, [])
    report = pipeline.run(settings(db, book), dry_run=dry_run, hooks=pipeline.Hooks(publishing))
    assert report.success_count == 498
    assert publishing.seen == [[(0,)]]
    assert db.rows("select count(*) from t") == [(0 if dry_run else 498,)]


def test_hook_that_refuses_leaves_nothing(db: Database, book: Path) -> None:
    def refuse() -> None:
        raise TargetRefused("not this table")

    with pytest.raises(TargetRefused, match="not this table"):
        pipeline.run(settings(db, book), hooks=pipeline.Hooks(refuse))
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert pipeline.run(settings(db, book)).outcome == "published"


@pytest.mark.parametrize("method", ["batch", "concurrent"])
def test_rows_are_limited_while_they_are_read(db: Database, book: Path, method: str) -> None:
    """The book has 499 rows, read in windows of 100; "batch" loads the later ones while it reads."""
    with pytest.raises(LimitExceeded, match="the sheet has more than 498 rows") as caught:
        pipeline.run(settings(db, book, method=method, limits=Limits(rows=498)))
    assert caught.value.choice == "split it"
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert pipeline.run(settings(db, book, method=method, limits=Limits(rows=499))).success_count == 498


def test_sheet_is_not_read_to_its_end_if_it_was_imported(
    db: Database, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check between windows says so, not the progress, whose ticks end nothing."""
    assert pipeline.run(settings(db, book)).outcome == "published"
    original, calls = LeaseHolder.stop_if_imported, []

    def stop_if_imported(holder: LeaseHolder) -> None:
        calls.append(1)
        if len(calls) == 2:
            holder.get()  # the answer of the ledger is there by now
        original(holder)

    monkeypatch.setattr(LeaseHolder, "stop_if_imported", stop_if_imported)
    report = pipeline.run(settings(db, book, method="concurrent"))
    assert (report.outcome, len(calls)) == ("already-imported", 2)
    assert "plan" not in report.timings
