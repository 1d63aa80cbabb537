"""When a sheet is loaded while it is read, and what becomes of the rows when the run then succeeds or fails."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from support.rawbook import inline, number, row, write_rows

from importer.errors import ConnectionFailed, TargetRefused
from importer.load import direct_copy
from importer.run.lease_holder import LeaseHolder
from importer.runtime.progress import Clock
from importer.runtime.retry import Deadline
from importer.settings import make_settings
from importer.stages.read import open_source, read_and_load
from importer.stages.stream import Stream
from importer.stages.workspace import RunContext, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Database

    from importer.stages.streamed_load import StreamedLoad

LAST = 500
#: Rows that are loaded while the sheet is read: the last two windows of 50 wait for its end, which tells totals apart.
LOADED = LAST - 1 - 100


@contextlib.contextmanager
def loaded(db: Database, folder: Path, **options: Any) -> Iterator[StreamedLoad | None]:
    """Read a sheet of 499 rows; a failure of the block is one of the run before it publishes."""
    rows = row(1, inline("A1", "n")) + "".join(row(n, number(f"A{n}", n)) for n in range(2, LAST + 1))
    book = write_rows(folder / "b.xlsx", rows)
    options = {"table": "t", "workers": 0, "chunk_rows": 50, **options}
    dry_run = options.pop("dry_run", False)
    settings = make_settings(book, to=db.dsn.text, **options)
    clock = Clock(deadline=Deadline(60))
    with LeaseHolder(settings, None, clock, dry_run=dry_run) as holder, open_workspace(settings) as (spooled, pool):
        run = RunContext(settings, None, clock, spooled, pool, dry_run)
        opened = open_source(settings, clock)
        holder.set_source(*opened)
        with contextlib.ExitStack() as unfinished:
            source, streamed = read_and_load(run, opened, Stream(run, holder), unfinished, lambda: None)
            assert source.rows == LAST - 1
            yield streamed


def runs(db: Database) -> list[tuple[str, bool]]:
    """State of each run, and whether its staging table is there."""
    return db.rows(
        f"""
        select state, to_regclass('importer.' || quote_ident(staging)) is not null from importer.runs
        where target_schema = '{db.schema}'
        """
    )


@pytest.mark.parametrize(
    "options",
    [{"method": "sequential"}, {"hidden": "skip"}, {"chunk_rows": 1000}],
    ids=["method", "hidden", "one chunk"],
)
def test_sheet_is_only_read(db: Database, tmp_path: Path, options: dict[str, Any]) -> None:
    with loaded(db, tmp_path, **options) as streamed:
        assert streamed is None
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert db.leftovers() == []


def test_dry_run_is_checked_while_it_is_read_but_writes_nothing(db: Database, tmp_path: Path) -> None:
    with pytest.raises(TargetRefused), loaded(db, tmp_path, dry_run=True) as streamed:
        assert streamed is not None
        assert sum(window.accepted for window in streamed.results.windows.values()) == LOADED
        assert (streamed.state.table, streamed.state.direct) == (None, None)
        raise TargetRefused("no")
    assert db.leftovers() == []


def test_block_that_ends_hands_over(db: Database, tmp_path: Path) -> None:
    with loaded(db, tmp_path) as streamed:
        assert streamed is not None
        table = streamed.state.table
    assert table is not None
    assert streamed.state.table == table
    assert db.rows(f"select count(*) from {table.quoted}") == [(LOADED,)]
    report = db.load(tmp_path / "b.xlsx", table="t", workers=0, chunk_rows=50)
    assert (report.success_count, report.run["resumed_rows"]) == (LAST - 1, LOADED)


@pytest.mark.parametrize(
    ("error", "kept"), [(ConnectionFailed("cut"), True), (KeyboardInterrupt(), True), (TargetRefused("no"), False)]
)
def test_block_that_fails_keeps_what_can_be_continued(
    db: Database, tmp_path: Path, error: BaseException, *, kept: bool
) -> None:
    with pytest.raises(type(error)), loaded(db, tmp_path) as streamed:
        assert streamed is not None
        raise error
    state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    assert runs(db) == ([(state, True)] if kept else [])
    report = db.load(tmp_path / "b.xlsx", table="t", workers=0, chunk_rows=50)
    assert report.run["resumed_rows"] == (LOADED if kept else 0)
    assert db.rows("select count(*), sum(n)::int from t") == [(LAST - 1, sum(range(2, LAST + 1)))]


def test_block_that_fails_rolls_a_direct_copy_back(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 1)
    db.run("create table t (n bigint)")
    with pytest.raises(TargetRefused), loaded(db, tmp_path) as streamed:
        assert streamed is not None
        assert streamed.state.table is None
        assert streamed.state.direct is not None
        raise TargetRefused("no")
    assert db.rows("select count(*) from t") == [(0,)]
    assert runs(db) == []
