"""The service's file: every earlier version is brought up to date with its data, anything else is refused in words."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.commandline import importer
from support.faults import small_disk
from support.serving import kill_all, numbers, serving, short_folder

from importer.errors import MachineError
from importer.serve.jobs import store_schema
from importer.serve.jobs.service_run import ServiceRun
from importer.serve.jobs.store import open_store
from importer.serve.jobs.store_schema import APPLICATION_ID, VERSION, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

#: Version 1 as it was made, and what a kill at its first start may leave of it (the number came last).
FIRST = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, created_at TEXT NOT NULL, state TEXT NOT NULL, listed TEXT NOT NULL, report TEXT);
CREATE INDEX IF NOT EXISTS runs_created ON runs (created_at, id);
CREATE INDEX IF NOT EXISTS runs_state ON runs (state);
CREATE TABLE IF NOT EXISTS owned (
    server TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL, oid INTEGER NOT NULL,
    PRIMARY KEY (server, schema, name));
PRAGMA user_version = 1;
"""
#: A run as version 1 stored it.
RUN = {
    "kind": "upload", "upload": "0" * 32, "workbook": "old.xlsx", "size": 5000, "options": {"mode": "append"}, "id": "a" * 32,
    "created_at": "2026-11-26T10:00:00.000000Z", "state": "done", "outcome": "published", "sheet": "Sheet1",
    "table": "public.old", "started_at": "2026-11-26T10:00:00.100000Z", "finished_at": "2026-11-26T10:00:01.000000Z",
    "message": "3 rows are in public.old", "error": None,
    "stats": {"total_records": 3, "success_count": 3, "error_count": 0, "duration": "0.5s", "records_per_second": 6.0},
    "rejects": None, "has_report": True, "has_rejects": False, "begun": ["public", "old"],
    "identity": ["f" * 64, "public", "old"], "writing": True,
}  # fmt: skip
SCHEMA = "select type, name, tbl_name, sql from sqlite_master order by name"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service.sqlite"


@contextlib.contextmanager
def _sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def _earlier(path: Path, version: int) -> None:
    """A file of an earlier version with a run and a table in it."""
    with _sqlite(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(FIRST)
        for number in range(1, version):
            db.executescript(store_schema.STEPS[number] + f"PRAGMA user_version = {number + 1}")
        row = (RUN["id"], RUN["created_at"], RUN["state"], json.dumps(RUN), json.dumps({"outcome": "published"}))
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO owned VALUES ('here', 'public', 'old', 4711)")


def _refused(path: Path) -> MachineError:
    """The refusal; the file is afterwards, byte by byte, what it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(MachineError) as caught:
        open_database(path)
    assert caught.value.place == str(path)
    assert caught.value.choice
    assert before == (path.read_bytes() if path.is_file() else None)
    return caught.value


def _facts(path: Path) -> list[Any]:
    with _sqlite(path) as db:
        found = [db.execute(sql).fetchall() for sql in (SCHEMA, "pragma user_version", "pragma application_id")]
    return [[tuple(" ".join(f.split()) if isinstance(f, str) else f for f in row) for row in rows] for rows in found]


# ---- EARLIER VERSIONS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_earlier_version_becomes_this_one_with_its_data(tmp_path: Path, path: Path, version: int) -> None:
    open_database(tmp_path / "new.sqlite").close()
    _earlier(path, version)
    with open_store(path, "here") as store:
        assert ServiceRun.load(store.page(9, None, None)[0]).stored() == RUN
        assert (store.report("a" * 32), store.owned()) == ({"outcome": "published"}, [("public", "old", 4711)])
    assert _facts(path) == _facts(tmp_path / "new.sqlite")
    assert _facts(path)[1:] == [[(VERSION,)], [(APPLICATION_ID,)]]
    open_database(path).close()


@pytest.mark.parametrize("statements", range(5))
def test_file_of_one_killed_at_its_first_start(path: Path, statements: int) -> None:
    with _sqlite(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for statement in FIRST.split(";\n")[:statements]:
            db.execute(statement)
    with open_store(path, "here") as store:
        assert (store.page(9, None, None), store.owned()) == ([], [])
        store.save(RUN)
    assert _facts(path)[1] == [(VERSION,)]


def test_failed_step_leaves_the_version_that_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _earlier(path, VERSION)
    before = _facts(path)
    with monkeypatch.context() as patch:
        patch.setattr(
            store_schema, "STEPS", (*store_schema.STEPS, "CREATE TABLE more (n); INSERT INTO nowhere VALUES (1);")
        )
        patch.setattr(store_schema, "VERSION", VERSION + 1)
        with pytest.raises(MachineError, match="no such table: nowhere"):
            open_database(path)
    assert _facts(path) == before


def test_file_of_an_earlier_version_is_served(db: Database) -> None:
    with short_folder() as folder:
        _earlier(folder / "service.sqlite", 1)
        with serving(db.dsn, folder) as service:
            (run,) = service.json("/runs")["runs"]
            assert (run["id"], run["workbook"], run["state"]) == (RUN["id"], "old.xlsx", "done")
            assert service.upload(numbers(1, 3), "more.xlsx").status_code == 200
            assert len(service.json("/runs")["runs"]) == 2


# ---- WHAT IS NO FILE OF THIS VERSION ----------------------------------------------------------------------------


def _damage(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def _whole(path: Path) -> None:
    """A file with a hundred runs, all of it in the file itself."""
    with open_store(path, "here") as store:
        for number in range(100):
            store.save(RUN | {"id": f"{number:032}"}, {"text": "x" * 500})


@pytest.mark.parametrize("damage", [
    lambda path: _damage(path, 0, b"no SQLite at all"),
    lambda path: _damage(path, 100, bytes(300)),
    lambda path: _damage(path, 4096 * 3, bytes(4096 * 4)),
    lambda path: path.write_bytes(path.read_bytes()[: 4096 * 5 + 100]),
    lambda path: path.write_bytes(path.read_bytes()[:4096]),
    lambda path: path.write_bytes(path.read_bytes()[:50]),
    lambda path: path.write_text("not a database\n" * 1000),
], ids=["header", "schema", "pages", "half a page", "one page", "fifty bytes", "text"])  # fmt: skip
def test_damaged_file_is_refused(path: Path, damage: Any) -> None:
    _whole(path)
    damage(path)
    error = _refused(path)
    assert "the service's file is damaged: " in error.fact
    for word in ("backup", "service.sqlite-wal", "reports and rejects", "rows in the database are not touched"):
        assert word in str(error.choice)


@pytest.mark.parametrize(("sql", "said"), [
    ("UPDATE runs SET listed = substr(listed, 1, 50)", "run " + "a" * 32 + " cannot be read"),
    ("UPDATE runs SET listed = '[]'", "run " + "a" * 32 + " cannot be read"),
    ("UPDATE runs SET listed = json_remove(listed, '$.upload')", "run " + "a" * 32 + " cannot be read"),
    ("UPDATE runs SET listed = x'ff00'", "run " + "a" * 32 + " cannot be read"),
    ("UPDATE runs SET listed = CAST(x'ff00' AS TEXT)", "Could not decode to UTF-8"),
    ("DROP TABLE owned", "table owned is missing"),
    ("ALTER TABLE runs DROP COLUMN report", "table runs has no column report"),
    ("DROP TABLE owned; DROP TABLE runs", "table runs is missing"),
])  # fmt: skip
@pytest.mark.parametrize("version", [1, VERSION])
def test_file_with_other_content_is_refused(path: Path, sql: str, said: str, version: int) -> None:
    _earlier(path, version)
    with _sqlite(path) as db:
        db.executescript(sql)
    assert f"the service's file is damaged: {said}" in _refused(path).fact


@pytest.mark.parametrize("folder", ["runs", "uploads"])
def test_empty_file_beside_results_is_refused(path: Path, folder: str) -> None:
    """It would be taken for a new one, and what is known by nobody is removed. In a new folder it does no harm."""
    path.touch()
    open_database(path).close()
    path.write_bytes(b"")
    (path.parent / folder / "abc").mkdir(parents=True)
    assert "it is empty" in _refused(path).fact


@pytest.mark.parametrize("prepare", [
    "CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT); CREATE TABLE runs (id TEXT)",
    "CREATE VIEW runs AS SELECT 1 AS id; CREATE TABLE notes (n)",
    "PRAGMA application_id = 1196444487; CREATE TABLE gpkg_contents (n)",
    "PRAGMA application_id = 1196444487",
    "PRAGMA user_version = 77; CREATE TABLE runs (id TEXT)",
])  # fmt: skip
def test_file_of_another_program_is_refused(path: Path, prepare: str) -> None:
    with _sqlite(path) as db:
        db.executescript(prepare)
    assert "belongs to another program" in _refused(path).fact


def test_newer_version_is_refused(path: Path) -> None:
    _earlier(path, VERSION)
    with _sqlite(path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    error = _refused(path)
    assert f"it has version {VERSION + 1}, and this program knows up to {VERSION}" in error.fact
    assert "use that version" in str(error.choice)


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to(path.parent / "other")], ids=["folder", "link"]
)
def test_something_else_in_its_place_is_refused(path: Path, make: Any) -> None:
    make(path)
    assert "something that is not a file" in _refused(path).fact


@pytest.mark.parametrize("version", [0, 1, VERSION])
def test_file_held_by_another_program_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(store_schema, "_BUSY_SECONDS", 0.1)
    if version:
        _earlier(path, version)
    with _sqlite(path) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MachineError, match="held by another program") as caught:
            open_database(path)
        assert caught.value.place == str(path)
        holder.execute("ROLLBACK")
    open_database(path).close()


@pytest.mark.parametrize("version", [1, VERSION])
def test_file_that_cannot_be_written_is_refused(version: int) -> None:
    with small_disk("4M") as place:
        path = place / "service.sqlite"
        _earlier(path, version)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with pytest.raises(MachineError, match="cannot be used") as caught:
            open_database(path)
    assert caught.value.place == str(path)


def test_full_disk_is_refused() -> None:
    with small_disk("1M") as place:
        (place / "fill").write_bytes(bytes((1 << 20) - 8192))
        with pytest.raises(MachineError, match="cannot be used"):
            open_database(place / "service.sqlite")


def test_command_ends_with_a_message(db: Database) -> None:
    """No traceback, and the way out leads out: without the file the service begins a new list."""
    with short_folder() as folder:
        with serving(db.dsn, folder) as service:
            assert service.upload(numbers(1, 3)).status_code == 200
            kill_all(service.running)
        file = folder / "service.sqlite"
        with _sqlite(file) as store:
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _damage(file, 0, bytes(4096))
        ran = importer("serve", "--port", 0, "--to", db.dsn.text, "--folder", folder)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.startswith("importer: the service's file is damaged: file is not a database\n")
        assert f"  where: {file}\n" in ran.err
        assert "Traceback" not in ran.err
        for path in folder.glob("service.sqlite*"):
            path.unlink()
        with serving(db.dsn, folder) as service:
            assert service.json("/runs")["runs"] == []
    assert db.rows("select count(*)::int from data") == [(3,)]
