"""A day in the life: a bucket of workbooks, two of them broken, one late, on a cluster that loses a worker; and once more."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.clusters import dask_client, wait_for_locks
from support.serving import held
from support.tables import save

from importer import import_many

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

    from importer.batch.report import ManyReport

pytest.importorskip("distributed")
BOOKS = 40
LATE, TEXT, CUT = "07", "13", "21"


def put_books(s3: Any, bucket: str, folder: Path) -> Path:
    """Put all but the late workbook into the bucket; return the path of that one. A row is the number of its workbook."""
    for n in range(BOOKS):
        path = save(folder / f"{n:02}.xlsx", ["id", "book"], [n, f"{n:02}"], [n + 100, f"{n:02}"])
        if path.stem == TEXT:
            path.write_text("no workbook")
        if path.stem == CUT:
            path.write_bytes(path.read_bytes()[:2000])
        if path.stem != LATE:
            s3.put(str(path), f"{bucket}/in/{path.name}")
    return folder / f"{LATE}.xlsx"


@pytest.mark.timeout(600)
def test_a_day(db: Database, s3: Any, bucket: str, tmp_path: Path) -> None:
    late = put_books(s3, bucket, tmp_path)
    db.run(
        "create table held (id bigint not null, book text, _source_file text, _source_sheet text, _source_row bigint, _run_id uuid)"
    )
    with dask_client() as client, ThreadPoolExecutor(1) as pool:

        def load() -> ManyReport:
            how = {"table": "held", "lineage": True, "executor": client.get_executor(pure=False)}
            return import_many(f"s3://{bucket}/in/*.xlsx", to=db.dsn.text, **how)

        with held(db.dsn, "held"):
            morning = pool.submit(load)
            wait_for_locks(db, 2)
            s3.put(str(late), f"{bucket}/in/{late.name}")
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        check_told(morning.result())
        evening = load()
    check_told(evening)
    assert (evening.sums["published"], evening.sums["already_imported"]) == (1, BOOKS - 3)
    names = [f"{n:02}" for n in range(BOOKS) if f"{n:02}" not in {TEXT, CUT}]
    rows = [(int(name) + more, name, f"{name}.xlsx", row) for more, row in ((0, 2), (100, 3)) for name in names]
    found = db.rows("select id, book, regexp_replace(_source_file, '.*/', ''), _source_row from held order by id")
    assert found == rows
    assert db.rows("select count(distinct _run_id) from held") == [(len(names),)]
    assert db.leftovers() == []


def check_told(report: ManyReport) -> None:
    """Two cannot be loaded, and it is said why."""
    failed = {each.source.rsplit("/", 1)[1]: each for each in report.reports if each.error is not None}
    assert set(failed) == {f"{TEXT}.xlsx", f"{CUT}.xlsx"}, str(report)
    assert "plain text" in str(failed[f"{TEXT}.xlsx"])
    assert {each.exit_code for each in failed.values()} == {3}
    assert report.exit_code == 3
