"""The command line for many workbooks: reports, exit codes, job files, plans, standard input, and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from support.commandline import Ran, assert_clean, importer, importer_here, started
from support.tables import save, work_folder

from importer.postgres.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


#: The program, with Ctrl-C: whoever runs the tests may have that ignored, as in a job in the background.
CTRL_C = (
    sys.executable,
    "-c",
    "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from importer.__main__ import main; main()",
)
WAITING = "select count(*) from pg_locks l where not granted and relation = 'held'::regclass"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with two workbooks and one that is none."""
    folder = work_folder(tmp_path, monkeypatch)
    save(folder / "a.xlsx", ["id", "v"], [1, "x"])
    save(folder / "b.xlsx", ["id", "v"], [2, 5], [3, 6])
    (folder / "c.xlsx").write_text("no workbook")
    return folder


def run_here(here: Path, *arguments: object) -> Ran:
    return importer_here(*arguments, temp=here.parent / "temp")


def test_the_report_has_a_line_for_each_and_the_sums(db: Database, here: Path) -> None:
    ran = run_here(here, "run", "*.xlsx", "--table", "t", "--to", db.dsn.text)
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ok", "ok", "failed"]
    assert lines[-1].startswith("3 imports: 2 published, 1 failed; 3 rows loaded, 0 rejected, in ")
    assert any(line.startswith("note: column 'v' is loaded as text") for line in lines)
    shown = run_here(here, "run", "*.xlsx", "--table", "t", "--to", db.dsn.text, "--json").json
    assert (shown["exit_code"], shown["sums"]["already_imported"], shown["sums"]["failed"]) == (3, 2, 1)
    assert [r["outcome"] for r in shown["reports"]] == ["already-imported", "already-imported", "failed"]
    assert shown["reports"][2]["error"]["type"] == "WorkbookRefused"
    quiet = run_here(here, "run", "*.xlsx", "--table", "t", "--to", db.dsn.text, "--quiet")
    assert (quiet.code, quiet.out) == (3, "")
    assert quiet.err.count("\n") == 1
    assert "c.xlsx" in quiet.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none-*.xlsx"], "matches no workbook"),
        (["a.xlsx", "b.xlsx", "--rejects", "r.csv"], "do not fit into one .csv"),
        (["a.xlsx", "b.xlsx", "--rejects", "b.xlsx"], "would overwrite the workbook"),
        (["a.xlsx", "b.xlsx", "--timeline", "t.svg"], "chart of one import"),
        (["a.xlsx", "--sheets", "all", "--sheet", "S"], "cannot be combined"),
        (["a.xlsx", "b.xlsx", "--mode", "create", "--table", "t"], "2 imports would each create"),
        (["-"], "no name that a table could have"),
        (["--import-spec", "{}"], "an import is a JSON object"),
        (["a.xlsx", "--table", "{stam}"], "unknown placeholder"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_runs(
    here: Path, arguments: list[str], message: str
) -> None:
    ran = run_here(here, "run", *arguments, "--to", "postgresql://localhost:1/x")
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "Missing argument 'WORKBOOK…'"), (["a.xlsx", "-f", "j.yaml"], "cannot be combined")]
)
def test_what_to_import_is_said_once(here: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(click.ClickException, match=message):
        run_here(here, "run", *arguments)


def test_job_file(db: Database, here: Path) -> None:
    jobs = here / "jobs.yaml"
    jobs.write_text(
        "table: '{stem}_1'\nmode: create\nimports:\n- source: a.xlsx\n- sources: [b.xlsx]\n  table: own\n"
        "  header-row: 1\n  columns: [id]\n  types: {id: integer}\n"
    )
    ran = run_here(here, "run", "-f", jobs, "--to", db.dsn.text)
    assert ran.code == 0, ran.err + ran.out
    assert db.rows("select (select v from a_1), (select sum(id)::int from own)") == [("x", 5)]
    for text, place, message in (
        ("- source: a.xlsx\n  tabel: t\n", "jobs.yaml:2:3", "did you mean 'table'?"),
        ("- source: a.xlsx\n  mode: apend\n", "jobs.yaml:2:3", "'apend' is not one of"),
        ("- source: a.xlsx\n  lineage: 5\n", "jobs.yaml:2:3", "neither true nor false"),
        ("- table: t\n", "jobs.yaml:1", "needs a 'source'"),
        ("- a.xlsx\n- source: none*.xlsx\n", "jobs.yaml:2", "matches no workbook"),
        ("5\n", "jobs.yaml", "is a list of imports"),
        ("- [\n", "jobs.yaml", "the job file is not well-formed"),
    ):
        jobs.write_text(text)
        ran = run_here(here, "run", "-f", jobs, "--to", db.dsn.text)
        assert ran.code == 2
        assert place in ran.err
        assert message in ran.err


def test_job_file_as_people_write_it(db: Database, here: Path) -> None:
    """YAML takes a bare `null` for no name at all; PowerShell writes UTF-16; TOML is a language of contracts, too."""
    for name, text, encoding in (
        ("a.yaml", "- source: a.xlsx\n  null: [x]\n  table: t\n", "utf-8"),
        ("b.toml", '[[imports]]\nsource = "b.xlsx"\ntable = "t"\n', "utf-8"),
        ("c.txt", "# of a shell\r\n a.xlsx \r\nb.xlsx", "utf-16"),
    ):
        (here / name).write_text(text, encoding)
    for arguments, loaded in ((["a.yaml"], [(1, None)]), (["b.toml"], [(1, None), (2, "5"), (3, "6")])):
        ran = run_here(here, "run", "-f", *arguments, "--to", db.dsn.text)
        assert ran.code == 0, ran.err + ran.out
        assert db.rows("select id, v from t order by id") == loaded
    assert run_here(here, "plan", "-f", "c.txt", "--table", "t", "--to", db.dsn.text).out.count(".xlsx") == 2


def test_list_file_and_imports_of_a_plan_by_a_pipe(db: Database, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "list.txt").write_text("\ufeff# months\na.xlsx\n\n  b.xlsx \n", encoding="utf-8")
    planned = run_here(here, "plan", "-f", "list.txt", "--table", "t", "--to", db.dsn.text, "--json").out
    assert planned.count("\n") == 2
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(planned.encode())))
    ran = run_here(here, "run", "--import-spec", "-", "--to", db.dsn.text, "--json")
    assert (ran.code, ran.json["sums"]["published"]) == (0, 2), ran.err
    (here / "one.json").write_text(planned.splitlines()[1])
    ran = run_here(here, "run", "--import-spec", "one.json", "--to", db.dsn.text, "--json")
    assert ran.json["outcome"] == "already-imported"
    (here / "list.txt").write_text("# nothing\n")
    ran = run_here(here, "run", "-f", "list.txt", "--to", db.dsn.text)
    assert (ran.code, "the list of workbooks is empty" in ran.err) == (2, True)


def test_a_plan_does_nothing_and_its_lines_run_anywhere(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned() -> list[dict[str, Any]]:
        ran = run_here(here, "plan", here, "--table", "t", "--to", db.dsn.text, "--json")
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    first = planned()
    assert [each["state"] for each in first] == ["new", "new", "refused"]
    assert "plain text" in first[2]["error"]["message"]
    assert len(first[0]["sha256"]) == 64
    assert first[0]["size"] == (here / "a.xlsx").stat().st_size
    assert db.rows("select to_regclass('t')::text") == [(None,)]
    assert db.dsn.text not in json.dumps(first)
    monkeypatch.chdir(here.parent)
    for line in first[:2][::-1]:
        ran = run_here(here, "run", "--import-spec", json.dumps(line), "--to", db.dsn.text)
        assert ran.code == 0, ran.err
    assert db.rows("select id, v from t order by id") == [(1, "x"), (2, "5"), (3, "6")]
    assert [each["state"] for each in planned()] == ["imported", "imported", "refused"]
    # The command for all knows them, too.
    monkeypatch.chdir(here)
    ran = run_here(here, "run", "a.xlsx", "b.xlsx", "--table", "t", "--to", db.dsn.text, "--json")
    assert ran.json["sums"]["already_imported"] == 2


def test_standard_input(db: Database, here: Path) -> None:
    command = [sys.executable, "-m", "importer", "run", "-", "--table", "t", "--to", db.dsn.text, "--json"]
    with (here / "b.xlsx").open("rb") as file:
        ran = subprocess.run(command, stdin=file, capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["workbook"]["name"] == "stdin"
    assert db.rows("select count(*) from t") == [(2,)]


def test_rejects_of_standard_input_beside_other_workbooks_are_kept(db: Database, here: Path) -> None:
    db.run("create table t (id bigint, v bigint)")
    command = [sys.executable, "-m", "importer", "run", "-", "b.xlsx", "--table", "t", "--to", db.dsn.text, "--json"]
    with (here / "a.xlsx").open("rb") as file:
        ran = subprocess.run(command, stdin=file, capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 1, ran.stderr
    first = json.loads(ran.stdout)["reports"][0]
    assert (first["source"], first["rejects"]["file"]) == ("-", str(here / "stdin.rejects.xlsx"))
    assert (here / "stdin.rejects.xlsx").is_file()


def test_one_plain_workbook_imports_nothing_of_this(db: Database, here: Path) -> None:
    code = "import sys; from importer.__main__ import main\ntry: main()\nfinally: print(*[m for m in sys.modules if m.startswith('importer.batch')])"
    arguments = ["run", "a.xlsx", "--table", "t", "--to", db.dsn.text, "--quiet"]
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert ran.stdout.split() == ["importer.batch", "importer.batch.api"], ran.stderr


def test_ctrl_c_ends_an_import_that_waits_for_a_lock(db: Database, here: Path) -> None:
    """Also after polars took over Ctrl-C, which it does as soon as it computes something."""
    assert run_here(here, "run", "a.xlsx", "--table", "held", "--to", db.dsn.text).code == 0
    with Session(db.dsn) as session:
        session.run(f"LOCK TABLE {db.schema}.held IN EXCLUSIVE MODE")
        command = (*CTRL_C, "run", "b.xlsx", "--table", "held", "--to", db.dsn.text, "--json")
        with started(*command, cwd=here) as running:
            running.wait_for(lambda: db.rows(WAITING) == [(1,)])
            running.process.send_signal(signal.SIGINT)
            ran = running.finish(20)
    assert (ran.code, ran.json["error"]["type"]) == (130, "Interrupted")
    assert_clean(ran)


def test_ctrl_c_tells_what_was_done_and_a_rerun_does_the_rest(db: Database, here: Path) -> None:
    (here / "c.xlsx").unlink()
    save(here / "c.xlsx", ["id", "v"], [4, "y"])
    assert run_here(here, "run", "a.xlsx", "--table", "held", "--to", db.dsn.text).code == 0
    arguments = ["*.xlsx", "--table", "held", "--to", db.dsn.text]
    with Session(db.dsn) as session:
        session.run(f"LOCK TABLE {db.schema}.held IN EXCLUSIVE MODE")
        command = (*CTRL_C, "run", *arguments, "--workers", "2", "--json")
        with started(*command, cwd=here) as running:
            running.wait_for(lambda: db.rows(WAITING) == [(2,)])
            running.process.send_signal(signal.SIGINT)
            ran = running.finish()
    assert ran.code == 130
    shown = ran.json
    assert [r["outcome"] for r in shown["reports"]] == ["already-imported", "interrupted", "interrupted"]
    assert shown["sums"]["interrupted"] == 2
    assert_clean(ran)
    again = importer("run", *arguments, "--json", cwd=here)
    assert (again.code, again.json["sums"]["published"], again.json["sums"]["already_imported"]) == (0, 2, 1)
    assert db.rows("select count(*), count(distinct id) from held") == [(4, 4)]
    assert_clean(again)
