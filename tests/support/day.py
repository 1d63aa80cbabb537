"""A day in the life: a bucket of workbooks, two broken, one late; a cluster loads most of it, and what it then is asked."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.clusters import dask_client, wait_for_locks
from support.serving import held
from support.tables import save

from importer import import_many

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database
    from distributed import Client

    from importer.batch.report import ManyReport

BOOKS = 40
#: Workbooks by their names: one that comes in the evening, one that is none, one that was cut.
LATE, TEXT, CUT = "39", "13", "31"
#: What the cluster loads in the morning; of the others, the one whose first attempt by Airflow is killed.
MORNING, KILLED = "[0-2]*.xlsx", "35"
TABLE = "held"
_COLUMNS = (
    "id bigint not null, book text, _source_file text, _source_sheet text, _source_row bigint, _run_id uuid not null"
)


class Day:
    """A bucket with workbooks, and the table that they go to; a row has the number of its workbook, or 100 more.

    Args:
        db: database of the test.
        s3: file system with the bucket.
        bucket: name of the bucket.
        folder: an empty folder.
    """

    def __init__(self, db: Database, s3: Any, bucket: str, folder: Path) -> None:
        self._db, self._s3, self._place = db, s3, f"{bucket}/in"
        self._late = folder / f"{LATE}.xlsx"
        db.run(f"create table {TABLE} ({_COLUMNS})")
        for n in range(BOOKS):
            path = save(folder / f"{n:02}.xlsx", ["id", "book"], [n, f"{n:02}"], [n + 100, f"{n:02}"])
            if path.stem == TEXT:
                path.write_text("no workbook")
            if path.stem == CUT:
                path.write_bytes(path.read_bytes()[:2000])
            if path.stem != LATE:
                s3.put(str(path), f"{self._place}/{path.name}")

    def plan(self) -> dict[str, Any]:
        """What the DAG must know."""
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self._place}/{LATE}.xlsx"
        late = {"path": str(self._late), "url": url}
        return {"folder": f"s3://{self._place}/", "table": TABLE, "late": late, "killed": f"{KILLED}.xlsx"}

    def load_most(self) -> None:
        """Load the first of them on a cluster, a worker of which is killed on the way."""
        with dask_client() as client, ThreadPoolExecutor(1) as pool:
            with held(self._db.dsn, TABLE):
                loading = pool.submit(self._load, client, MORNING)
                wait_for_locks(self._db, 2)
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            report = loading.result()
        assert (report.sums["published"], report.sums["success_count"]) == (29, 58), str(report)
        _check_told(report, TEXT)

    def load_again(self) -> None:
        """Load all once more on a cluster: it finds all done, but for those that are broken."""
        with dask_client() as client:
            report = self._load(client, "*.xlsx")
        assert (report.sums["published"], report.sums["already_imported"]) == (0, BOOKS - 2), str(report)
        _check_told(report, TEXT, CUT)

    def _load(self, client: Client, pattern: str) -> ManyReport:
        executor = client.get_executor()
        how: dict[str, Any] = {"table": TABLE, "lineage": True, "executor": executor}
        return import_many(f"s3://{self._place}/{pattern}", to=self._db.dsn.text, **how)

    def check_table(self) -> None:
        """Each row once, whoever loaded it, with where it came from; each workbook by one run."""
        names = [f"{n:02}" for n in range(BOOKS) if f"{n:02}" not in {TEXT, CUT}]
        rows = [(int(name) + more, name, f"s3://{self._place}/{name}.xlsx", row) for more, row in ((0, 2), (100, 3)) for name in names]  # fmt: skip
        found = self._db.rows(f"select id, book, _source_file, _source_row from {TABLE} order by id")
        assert found == rows
        runs = f"from importer.runs where target_schema = '{self._db.schema}' and target_table = '{TABLE}'"
        assert self._db.rows(f"select distinct _run_id::text from {TABLE} order by 1") == self._db.rows(
            f"select id::text {runs} and state = 'published' order by 1"
        )
        assert self._db.leftovers() == []


def _check_told(report: ManyReport, *broken: str) -> None:
    """Those cannot be loaded, and it is said why."""
    failed = {each.source.rsplit("/", 1)[1].removesuffix(".xlsx"): each for each in report.reports if each.error}
    assert set(failed) == set(broken), str(report)
    assert "plain text" in str(failed[TEXT])
    assert {each.exit_code for each in failed.values()} == {report.exit_code} == {3}
