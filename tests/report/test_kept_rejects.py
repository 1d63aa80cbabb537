"""Rejects in the ledger: written again as they were, for as long as they are kept, and after a kill at any point."""

from __future__ import annotations

import secrets
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from support import rawbook
from support.asking import other_database
from support.commandline import importer, started
from support.tables import contract, save

import importer.ledger.rejects as kept
from importer import BudgetExceeded, import_workbook
from importer.errors import CommitUnknown
from importer.postgres.session import Session
from importer.report.rejects.files import WrittenRejects

if TYPE_CHECKING:
    from conftest import Database


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Rejects of every kind of cell: in column A, and beside it."""
    header = "".join(rawbook.inline(f"{letter}1", f"H {letter}") for letter in "ABCDEFG")
    rows = [f'<row r="1">{header}</row>']
    for n, bad in enumerate(("text", "error", "formula", "good"), 2):
        cells = [
            {
                "text": rawbook.inline(f"A{n}", "=not a number"),
                "error": rawbook.error(f"A{n}", "#N/A"),
                "formula": rawbook.formula(f"A{n}", "B1+1"),
                "good": rawbook.number(f"A{n}", 1),
            }[bad],
            rawbook.number(f"B{n}", 0.1 + 0.2),
            rawbook.boolean(f"C{n}", value=True),
            rawbook.number(f"D{n}", 44_000.5, rawbook.DATE),
            rawbook.inline(f"F{n}", " ä\u2603 "),
        ]
        rows.append(f'<row r="{n}">{"".join(cells)}</row>')
    return rawbook.write_rows(tmp_path / "kinds.xlsx", "".join(rows), name="My Data")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    fields = [{"name": "h_a", "type": "integer"}, *({"name": f"h_{c}", "type": "any"} for c in "bcdefg")]
    return {"contract": contract(tmp_path / "c.json", fields=fields)}


def _cells(path: Path) -> list[Any]:
    sheets = openpyxl.load_workbook(path).worksheets
    return [
        (sheet.title, cell.coordinate, cell.data_type, cell.value, cell.number_format, cell.fill.fgColor.rgb,
         cell.comment and cell.comment.text)
        for sheet in sheets for row in sheet.iter_rows() for cell in row
    ]  # fmt: skip


def _runs(db: Database, *arguments: object, **options: Any) -> Any:
    return importer("runs", *arguments, "--to", db.server.text, **options)


def _kept(db: Database) -> list[str]:
    asked = "select distinct run::text from importer.rejects join importer.runs on id = run where target_schema ^@ '{}'"
    return [run for (run,) in db.rows(asked.format(db.schema))]


# ---- THE SAME FILE ----------------------------------------------------------------------------------------------


def test_written_again_as_it_was(db: Database, tmp_path: Path, book: Path, options: dict[str, Any]) -> None:
    report = db.load(book, table="t", **options)
    assert report.error_count == 3
    first, again = Path(str(report.rejects_file)), tmp_path / "again.xlsx"
    ran = _runs(db, report.run["id"][:8], "--rejects", again, "--json")
    assert (ran.code, ran.json["rows"], ran.json["file"]) == (0, 3, str(again))
    assert ran.json["command"] == str(report.mend_command).replace(str(first), str(again))
    assert len(_cells(again)) == len(_cells(first)) > 20
    assert _cells(again) == _cells(first)
    properties = [zipfile.ZipFile(path).read("docProps/custom.xml") for path in (first, again)]
    assert properties[0] == properties[1]
    shown = _runs(db, report.run["id"], "--rejects", again)
    assert shown.out == (
        f"3 rejected rows of run {report.run['id']}\nrejects: {again}\nfix the marked cells, then: {ran.json['command']}\n"
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_other_formats(db: Database, tmp_path: Path, book: Path, options: dict[str, Any], suffix: str) -> None:
    report = db.load(book, table="t", rejects=tmp_path / f"first{suffix}", **options)
    assert _runs(db, "show", report.run["id"], "--rejects", tmp_path / f"again{suffix}").code == 0
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"first{suffix}").read_bytes()


def test_rejects_of_rejects_keep_their_addresses(
    db: Database, tmp_path: Path, book: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In many small pieces, as large ones are kept, wherever the server has stored each."""
    monkeypatch.setattr(kept, "_PIECE_BYTES", 100)
    first = db.load(book, table="t", **options)
    second = db.load(Path(str(first.rejects_file)), rejects=tmp_path / "second.xlsx", **options)
    its = f"importer.rejects where run = '{second.run['id']}'"
    pieces, columns = f"{db.schema}.pieces", "run, part, number, content"
    db.run(f"create table {pieces} as select * from {its}", f"delete from {its}", f"insert into importer.rejects ({columns}) select {columns} from {pieces} order by number desc")  # fmt: skip
    with Session(db.dsn) as session:
        session.run("SET enable_indexscan = off")
        kept.change_rejects_part(session, second.run["id"], "about", lambda content: content)
    assert _runs(db, second.run["id"], "--rejects", tmp_path / "again.xlsx").code == 0
    assert _cells(tmp_path / "again.xlsx") == _cells(tmp_path / "second.xlsx")
    assert "A2 type-error" in str(_cells(tmp_path / "again.xlsx"))


def test_rows_that_the_database_refused_are_kept(db: Database, tmp_path: Path) -> None:
    db.run("create table t (n bigint check (n < 3))")
    report = db.load(save(tmp_path / "t.xlsx", ["n"], [1], [5]))
    assert _runs(db, report.run["id"], "--rejects", tmp_path / "again.xlsx").code == 0
    assert _cells(tmp_path / "again.xlsx") == _cells(Path(str(report.rejects_file)))


# ---- HOW LONG ---------------------------------------------------------------------------------------------------


def test_until_the_next_run_of_the_table(db: Database, tmp_path: Path) -> None:
    # Another table of that name, in another schema, is another table.
    schema = f"{db.schema}_other"
    db.run("create table t (n bigint)", f"create schema {schema}", f"create table {schema}.t (n bigint)")
    one = db.load(save(tmp_path / "one.xlsx", ["n"], ["x"]), table="t").run["id"]
    other = db.load(save(tmp_path / "other.xlsx", ["n"], ["x"]), table=f"{schema}.t").run["id"]
    with pytest.raises(BudgetExceeded):
        db.load(save(tmp_path / "over.xlsx", ["n"], ["y"]), table="t", max_rejects=0)
    db.load(tmp_path / "over.xlsx", table="t", dry_run=True)
    assert sorted(_kept(db)) == sorted([one, other])
    two = db.load(save(tmp_path / "two.xlsx", ["n"], ["z"]), table="t").run["id"]
    assert sorted(_kept(db)) == sorted([two, other])
    db.load(save(tmp_path / "three.xlsx", ["n"], [1]), table="t")
    assert _kept(db) == [other]
    ran = _runs(db, two, "--rejects", tmp_path / "r.csv")
    assert ran.code == 2
    assert "keeps no rejects" in ran.err
    assert str(tmp_path / "two.rejects.xlsx") in ran.err
    _runs(db, "forget", other)
    assert _kept(db) == []
    db.run(f"drop schema {schema} cascade")


def test_until_they_are_pruned(db: Database, tmp_path: Path) -> None:
    """In a database of its own, because all are."""
    name = f"p_{secrets.token_hex(6)}"
    db.run(f"create database {name}")
    to = other_database(db.server.text, name)
    try:
        assert importer("runs", "prune", "--to", to, "--json").json == {"pruned": {"runs": 0, "bytes": 0}}
        described = contract(tmp_path / "c.json", fields=[{"name": "n", "type": "integer"}])
        path = save(tmp_path / "t.xlsx", ["n"], ["x"])
        run = import_workbook(path, to=to, contract=described, rejects=tmp_path / "r.csv").run["id"]
        pruned = importer("runs", "prune", "--to", to, "--json").json["pruned"]
        assert pruned["runs"] == 1
        assert pruned["bytes"] > 500
        assert importer("runs", "prune", "--to", to).out == "pruned: rejects of 0 runs, 0.0 MB\n"
        assert importer("runs", run, "--rejects", tmp_path / "again.csv", "--to", to).code == 2
        assert importer("runs", run, "--to", to).code == 0
    finally:
        db.run(f"drop database {name} with (force)")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("r.txt", 2, "cannot write rejects as '.txt'"), ("c.json/r.csv", 4, "the rejects cannot be written\n")],
)
def test_file_that_cannot_be_written(
    db: Database, tmp_path: Path, book: Path, options: dict[str, Any], name: str, code: int, message: str
) -> None:
    report = db.load(book, table="t", **options)
    ran = _runs(db, report.run["id"], "--rejects", tmp_path / name)
    assert ran.code == code
    assert message in ran.err


def test_other_roles_do_not_see_values_of_cells(
    db: Database, tmp_path: Path, book: Path, options: dict[str, Any]
) -> None:
    report = db.load(book, table="t", **options)
    role = f"r_{db.schema}"
    db.run(f"create role {role}", f"grant usage on schema importer to {role}", f"grant select on all tables in schema importer to {role}")  # fmt: skip
    try:
        to = f"{db.dsn.text}%20-crole%3D{role}"
        ran = importer("runs", report.run["id"], "--rejects", tmp_path / "r.csv", "--to", to)
    finally:
        db.run(f"drop owned by {role}", f"drop role {role}")
    assert (ran.code, "keeps no rejects" in ran.err) == (2, True)
    assert not (tmp_path / "r.csv").exists()


# ---- KILLED AFTER THE COMMIT ------------------------------------------------------------------------------------

#: A run of the command line that is killed at its call of a function.
KILLED = """
import os, signal, sys
import importer.report.rejects.kept as kept, importer.report.rejects.files as files
owner = files.WrittenRejects if sys.argv[1] == "place" else kept
setattr(owner, sys.argv[1], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
sys.argv[1:2] = []
from importer.__main__ import main
main()
"""


def _kill_at(function: str, arguments: list[str], folder: Path) -> None:
    with started(sys.executable, "-c", KILLED, function, *arguments, cwd=folder) as running:
        assert running.finish().code == -9


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("function", ["place", "record_rejects_file"])
@pytest.mark.parametrize("named", [None, "r.csv"])
def test_killed_before_the_file_has_its_name(db: Database, tmp_path: Path, function: str, named: str | None) -> None:
    """The next run writes the file, where the killed one had not, and loads nothing twice."""
    folder, name = tmp_path / "work", named or "t.rejects.csv"
    folder.mkdir()
    if named:
        (folder / named).write_text("of an earlier run")
    db.run("create table t (n bigint)")
    book = save(tmp_path / "t.xlsx", ["n"], [1], ["bad"])
    arguments = [
        "run",
        str(book),
        "--to",
        db.dsn.text,
        "--json",
        "--workers",
        "0",
        *(["--rejects", name] if named else []),
    ]
    _kill_at(function, arguments, folder)
    assert db.rows("select n from t") == [(1,)]
    # Another workbook is loaded into the table meanwhile.
    db.load(save(tmp_path / "u.xlsx", ["n"], [2]), table="t")
    ran = importer(*arguments, cwd=folder)
    assert (ran.code, ran.json["outcome"], ran.json["stats"]["error_count"]) == (1, "already-imported", 1)
    file = folder / (named or "t.rejects.xlsx")
    assert ran.json["rejects"]["file"] == str(file)
    assert "could name its rejects file" in str(ran.json["notes"])
    assert "bad" in (file.read_text() if named else str(_cells(file)))
    assert _names(folder) == [file.name]
    assert db.rows("select n from t order by 1") == [(1,), (2,)]
    again = importer(*arguments, cwd=folder)
    assert again.json["rejects"]["file"] == str(file)
    assert "could name its rejects file" not in str(again.json["notes"])
    assert _names(folder) == [file.name]


def test_killed_and_its_file_mended_before_the_next_run(db: Database, tmp_path: Path) -> None:
    """What a user made of the file is not overwritten."""
    db.run("create table t (n bigint)")
    arguments = [
        "run",
        str(save(tmp_path / "t.xlsx", ["n"], ["bad"])),
        "--to",
        db.dsn.text,
        "--json",
        "--rejects",
        "r.csv",
    ]
    _kill_at("record_rejects_file", [*arguments, "--workers", "0"], tmp_path)
    (tmp_path / "r.csv").write_text("mended")
    ran = importer(*arguments, cwd=tmp_path)
    assert (tmp_path / "r.csv").read_text() == "mended"
    assert ran.json["rejects"]["file"] == str(tmp_path / "r-2.csv")
    assert "bad" in (tmp_path / "r-2.csv").read_text()
    # They are kept as before.
    assert _runs(db, ran.json["run"]["id"], "--rejects", tmp_path / "again.csv").code == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "r-2.csv").read_bytes()


def test_killed_twice_before_the_file_has_its_name(db: Database, tmp_path: Path) -> None:
    """The file of the second run, which was killed before it could record the name, is the only one."""
    folder = tmp_path / "work"
    folder.mkdir()
    db.run("create table t (n bigint)")
    book = save(tmp_path / "t.xlsx", ["n"], [1], ["bad"])
    arguments = ["run", str(book), "--to", db.dsn.text, "--json", "--workers", "0"]
    _kill_at("place", arguments, folder)
    _kill_at("record_rejects_file", arguments, folder)
    ran = importer(*arguments, cwd=folder)
    assert ran.json["rejects"]["file"] == str(folder / "t.rejects.xlsx")
    assert _names(folder) == ["t.rejects.xlsx"]
    assert db.rows("select n from t") == [(1,)]


def test_interrupted_before_the_file_has_its_name(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are published, and nobody is told that they are not."""
    db.run("create table t (n bigint)")
    book = save(tmp_path / "t.xlsx", ["n"], [1], ["bad"])

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(CommitUnknown) as caught:
        patched.setattr(WrittenRejects, "place", interrupt)
        db.load(book)
    assert "run the same command again" in str(caught.value.choice)
    report = db.load(book)
    assert (report.outcome, report.rejects_file) == ("already-imported", str(tmp_path / "t.rejects.xlsx"))
    assert "bad" in str(_cells(tmp_path / "t.rejects.xlsx"))
    assert db.rows("select n from t") == [(1,)]


def test_file_of_a_killed_run_that_cannot_be_written_either(db: Database, tmp_path: Path) -> None:
    """The import is done all the same."""
    db.run("create table t (n bigint)")
    arguments = ["run", str(save(tmp_path / "t.xlsx", ["n"], ["bad"])), "--to", db.dsn.text, "--json"]
    _kill_at("place", [*arguments, "--workers", "0"], tmp_path)
    ran = importer(*arguments, "--rejects", "t.xlsx/r.csv", cwd=tmp_path)
    assert (ran.code, ran.json["outcome"], ran.json["rejects"]["file"]) == (1, "already-imported", None)
    assert "--rejects FILE" in str(ran.json["notes"])


def test_folder_that_is_gone_after_the_commit(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are published, and the report says where the rejects are."""
    from importer.stages import commit as stage

    commit, folder = stage.commit_published, tmp_path / "work"
    db.run("create table t (n bigint)")

    def commit_and_remove(*arguments: Any) -> None:
        commit(*arguments)
        shutil.rmtree(folder)

    monkeypatch.setattr(stage, "commit_published", commit_and_remove)
    report = db.load(save(tmp_path / "t.xlsx", ["n"], [1], ["bad"]), rejects=folder / "r.csv")
    assert (report.outcome, report.error_count, report.rejects_file) == ("published", 1, None)
    assert f"importer runs {report.run['id']} --rejects FILE" in str(report.notes[0])
    assert _runs(db, report.run["id"], "--rejects", tmp_path / "again.csv").code == 0
    assert "bad" in (tmp_path / "again.csv").read_text()
