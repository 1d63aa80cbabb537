"""The three methods of writing, with any number of workers and any size of chunk: the same table, the same refusals."""

from __future__ import annotations

import contextlib
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from support.tables import contract, save

from importer.errors import DatabaseError, UsageError
from importer.ledger.tables import Chunk
from importer.load.copy import CopyTarget, WriteTask, write_chunk
from importer.load.worker_session import close_session

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.run.staging_state import StagingState

METHODS = ("batch", "concurrent", "sequential")
FIELDS = [
    {"name": "n", "type": "integer", "constraints": {"required": True}}, {"name": "f", "type": "number"},
        {"name": "s"}, {"name": "b", "type": "boolean"}, {"name": "d", "type": "date"},
    {"name": "ts", "type": "datetime"}, {"name": "tz", "type": "datetime"}, {"name": "t", "type": "time"},
        {"name": "i", "type": "duration"}, {"name": "u"}, {"name": "j", "type": "array"}, {"name": "m",
        "type": "number"},
]  # fmt: skip
TYPES = {"tz": "timestamptz", "u": "uuid", "m": "numeric(10,3)", "n": "smallint", "f": "real"}


def _line(n: int) -> list[Any]:
    if n % 7 == 3:
        return [n, *[None] * 11]
    stamp = datetime(2020, 1, 1) + timedelta(days=n, seconds=n)
    uuid = f"a0eebc99-9c0b-4ef8-bb6d-{n:012}"
    return [
        n if n % 10 else "bad",
        n / 4,
        f"é {n}\n",
        n % 2 == 0,
        datetime(2020, 1, 1) + timedelta(n),
        stamp,
        stamp,
        time(n % 24),
        timedelta(hours=n),
        uuid,
        f"[{n}]",
        n / 8,
    ]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(
        tmp_path_factory.mktemp("methods") / "t.xlsx", [f["name"] for f in FIELDS], *[_line(n) for n in range(60)]
    )


@pytest.fixture
def described(tmp_path: Path) -> Path:
    return contract(tmp_path / "c.json", fields=FIELDS, postgresql={"types": TYPES})


COMBINATIONS: list[dict[str, Any]] = [
    *[{"method": method} for method in METHODS],
    *[{"method": method, "workers": workers, "chunk_rows": 7} for method in METHODS for workers in (0, 1, 2)],
    {"chunk_rows": 1, "workers": 0}, {"chunk_rows": 1_000_000}, {"method": "sequential", "workers": 2,
        "chunk_rows": 59},
]  # fmt: skip


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
def test_same_table_whatever_the_method(db: Database, book: Path, described: Path, options: dict[str, Any]) -> None:
    report = db.load(book, contract=described, rejects=described.with_suffix(".csv"), **options)
    assert (report.success_count, report.error_count) == (55, 5)
    assert report.method["name"] == options.get("method", "batch")
    found = db.rows(
        "select n, f, s, b, d, ts, tz at time zone 'UTC', t, i = make_interval(hours => n), "
        "u::text, j::text, m::float8 from t order by n"
    )
    expected = [_line(n) for n in range(60) if n % 10 or n % 7 == 3]
    assert [row[:1] + row[1:4] for row in found] == [(r[0], r[1], r[2], r[3]) for r in expected]
    assert [row[4:8] for row in found] == [(r[4] and r[4].date(), r[5], r[6], r[7]) for r in expected]
    assert [row[8:] for row in found] == [(None if r[8] is None else True, r[9], r[10], r[11]) for r in expected]
    assert db.leftovers() == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [0, 2])
def test_into_an_existing_table(db: Database, book: Path, described: Path, method: str, workers: int) -> None:
    db.run(
        "create table t (id bigint generated always as identity, n int, s varchar(10), tz timestamptz, "
        "u uuid, m numeric, j jsonb)"
    )
    report = db.load(
        book,
        method=method,
        workers=workers,
        columns=["n", "s", "tz", "u", "m", "j"],
        chunk_rows=20,
        rejects=described.with_suffix(".csv"),
    )
    assert report.success_count == 55
    assert db.rows("select count(*), count(distinct id), sum(n), count(s), count(u), sum(m)::float8 from t") == [
        (55, 55, sum(n for n in range(60) if n % 10 or n % 7 == 3),
        *[sum(n % 10 > 0 and n % 7 != 3 for n in range(60))] * 2,
        sum(n / 8 for n in range(60) if n % 10 and n % 7 != 3))
    ]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_chunks_without_accepted_rows(db: Database, tmp_path: Path, method: str) -> None:
    lines = [["x"] if 10 <= n < 30 else [n] for n in range(40)]
    described = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}])
    report = db.load(save(tmp_path / "t.xlsx", ["n"], *lines), contract=described, method=method, chunk_rows=5)
    assert (report.success_count, report.error_count) == (20, 20)
    assert db.rows("select count(*), sum(n)::int from t") == [(20, sum(range(10)) + sum(range(30, 40)))]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lines", [[], [["x"], ["y"]]], ids=["no rows", "none accepted"])
def test_nothing_to_write(db: Database, tmp_path: Path, method: str, lines: list[list[Any]]) -> None:
    described = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}])
    report = db.load(save(tmp_path / "t.xlsx", ["n"], *lines), contract=described, method=method)
    assert (report.success_count, report.error_count) == (0, len(lines))
    assert db.rows("select count(*) from t") == [(0,)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", [0, 2])
def test_refusal_while_writing(
    db: Database, book: Path, described: Path, method: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staging itself refuses a row: the error of the worker is the error of the run."""
    import importer.stages.load as story

    real = story.open_staging

    @contextlib.contextmanager
    def guarded(state: StagingState, *rest: Any, **options: Any) -> Any:
        with real(state, *rest, **options) as (staging, done):
            state.lease.session.run(f"alter table {staging.quoted} add constraint guard check (n <> 33)")
            state.lease.session.commit()
            yield staging, done

    monkeypatch.setattr(story, "open_staging", guarded)
    with pytest.raises(DatabaseError, match="guard") as caught:
        db.load(book, method=method, workers=workers, contract=described, chunk_rows=20)
    assert (caught.value.sqlstate, caught.value.constraint) == ("23514", "guard")
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert db.leftovers() == []


@pytest.mark.parametrize("method", METHODS)
def test_chunk_goes_in_by_itself(db: Database, tmp_path: Path, method: Any) -> None:
    db.run('create table "My Chunk" (a bigint, "b c" text, made int default 5)')
    path = tmp_path / "chunk.arrow"
    pl.DataFrame({"_row": [2, 3], "a": [1, None], "b c": ["x", "é"]}).write_ipc(path)
    task = WriteTask(CopyTarget(db.dsn, db.schema, "My Chunk", method), Chunk(4, 2, 3, 2, ""), path)
    try:
        assert write_chunk(task) == (4, 2)
    finally:
        close_session()
    assert db.rows('select * from "My Chunk" order by "b c"') == [(1, "x", 5), (None, "é", 5)]


@pytest.mark.parametrize("method", ["batch", "concurrent"])
def test_kept_session_survives_a_refusal(db: Database, tmp_path: Path, method: Any) -> None:
    db.run("create table t (a bigint check (a > 0))")
    good, bad = tmp_path / "good.arrow", tmp_path / "bad.arrow"
    pl.DataFrame({"_row": [2], "a": [1]}).write_ipc(good)
    pl.DataFrame({"_row": [2], "a": [-1]}).write_ipc(bad)
    target = CopyTarget(db.dsn, db.schema, "t", method)
    try:
        with pytest.raises(DatabaseError, match="t_a_check"):
            write_chunk(WriteTask(target, Chunk(1, 2, 2, 1, ""), bad))
        assert write_chunk(WriteTask(target, Chunk(2, 2, 2, 1, ""), good)) == (2, 1)
    finally:
        close_session()
    assert db.rows("select a from t") == [(1,)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "fast"}, "method"),
        ({"workers": -1}, "workers"),
        ({"chunk_rows": 0}, "--chunk-rows"),
        ({"mode": "upsertt"}, "mode"),
    ],
)
def test_settings_that_cannot_be_meant(db: Database, book: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        db.load(book, **options)
