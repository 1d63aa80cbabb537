"""Imports as lines of JSON, from `importer plan` to `importer run --import-spec`, and standard input in a job file."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
from support.commandline import Ran, importer_here
from support.tables import save, work_folder

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with two workbooks."""
    folder = work_folder(tmp_path, monkeypatch)
    save(folder / "a.xlsx", ["id", "v"], [1, "x"])
    save(folder / "b.xlsx", ["id", "v"], [2, 5], [3, 6])
    return folder


def run_here(here: Path, *arguments: object) -> Ran:
    return importer_here(*arguments, temp=here.parent / "temp")


def read_from(monkeypatch: pytest.MonkeyPatch, content: str | bytes) -> None:
    """Have the program read this from standard input."""
    data = content.encode() if isinstance(content, str) else content
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


GOOD = '{"source": "a.xlsx"}\n'


@pytest.mark.parametrize(
    ("lines", "fact", "place"),
    [
        (GOOD + '\n{"nosource": 1}\n', "a JSON object with a 'source'", 'standard input:3: {"nosource": 1}'),
        (GOOD + "garbage\n" + GOOD, "a JSON object with a 'source'", "standard input:2: garbage"),
        (GOOD + '{"source": "a.xlsx", "table": 5}', "are texts", "standard input:2: "),
        (GOOD + '{"source": "b.xlsx", "options": {"mood": 1}}', "unknown option 'mood'", "did you mean 'mode'"),
        (GOOD + '{"source": "b.xlsx", "options": {"max_text": "x"}}', "no such value", "b.xlsx"),
        (GOOD + '{"source": "b.xlsx", "options": {"limits": {"foo": 1}}}', "no such value", "b.xlsx"),
        ("\n", "no import is given", "standard input"),
    ],
)
def test_a_line_that_describes_no_import_is_told_by_its_number(
    here: Path, monkeypatch: pytest.MonkeyPatch, lines: str, fact: str, place: str
) -> None:
    read_from(monkeypatch, lines)
    ran = run_here(here, "run", "--import-spec", "-", "--table", "t", "--to", "postgresql://localhost:1/x")
    assert ran.code == 2, ran.err
    assert fact in ran.err
    assert place in ran.err


def test_planned_imports_run_with_the_options_of_a_command(
    db: Database, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rejects go where they were planned to, whether one runs or several, or where a command says."""
    name = "\N{LINE SEPARATOR}\N{NEXT LINE}.xlsx"  # ends of lines, for Python
    save(here / name, ["id", "v"], [9, 9], ["x", 9])
    save(here / "b.xlsx", ["id", "v"], [2, 5], ["x", 6])
    how = ("--table", "t", "--types", "id=bigint", "--to", db.dsn.text)
    lines = run_here(here, "plan", name, "b.xlsx", *how, "--rejects", "planned/", "--json").out
    (here / "planned").mkdir()
    (here / "lines.txt").write_text(lines, encoding="utf-8")
    ran = run_here(here, "run", "--import-spec", "lines.txt", "--memory", "900", "--to", db.dsn.text, "--json")
    assert [each["rejects"]["file"] for each in ran.json["reports"]] == [
        str(here / "planned" / f"{stem}.rejects.xlsx") for stem in (name[:2], "b")
    ]
    read_from(monkeypatch, lines.split("\n")[1])
    one = ("run", "--import-spec", "-", "--again", "--to", db.dsn.text, "--json")
    assert run_here(here, *one, "--rejects", "other/").json["rejects"]["file"] == str(here / "other" / "b.rejects.xlsx")


def test_standard_input_of_a_job_file(db: Database, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of any format, and cannot be planned, because nothing else can read it."""
    (here / "jobs.yaml").write_text("- source: '-'\n  table: t\n- source: b.xlsx\n  table: t\n")
    (here / "list.txt").write_text("a.xlsx\n-\n")
    read_from(monkeypatch, "id;v\n7;z\n")
    ran = run_here(here, "run", "-f", "jobs.yaml", "--to", db.dsn.text, "--json")
    assert ran.code == 0, ran.err
    first = ran.json["reports"][0]
    assert (first["source"], first["workbook"]["name"]) == ("-", "stdin")
    assert db.rows("select id, v from t order by id") == [(2, "5"), (3, "6"), (7, "z")]
    for arguments, fact in (
        (("run", "-f", "list.txt"), "no name that a table could have"),
        (("plan", "-f", "jobs.yaml"), "cannot be planned"),
        (("plan", "-", "--table", "t"), "cannot be planned"),
    ):
        ran = run_here(here, *arguments, "--to", "postgresql://localhost:1/x")
        assert (ran.code, fact in ran.err) == (2, True), ran.err
