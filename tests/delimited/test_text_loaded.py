"""Text files in the database: the same table as from the workbook, rejects with their lines, exactly once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from support.commandline import importer
from support.rawbook import inline, number, row, write_rows

from importer import BudgetExceeded

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


def test_same_rows_as_from_a_workbook(db: Database, tmp_path: Path) -> None:
    cells = [(n, f"text {n}", n / 4, "2024-02-29") for n in range(1, 300)]
    header = row(1, *(inline(f"{c}1", name) for c, name in zip("ABCD", ("id", "name", "price", "day"), strict=True)))
    body = "".join(
        row(n + 1, number(f"A{n + 1}", n), inline(f"B{n + 1}", t), number(f"C{n + 1}", p), inline(f"D{n + 1}", d))
        for n, t, p, d in cells
    )
    book = write_rows(tmp_path / "b.xlsx", header + body)
    text = tmp_path / "t.csv"
    text.write_text("id,name,price,day\n" + "".join(f"{n},{t},{p},{d}\n" for n, t, p, d in cells))
    db.load(book, table="b", types="day=date")
    report = db.load(text, table="t", chunk_rows=40)
    assert report.success_count == 299
    assert db.rows("select * from t order by id") == db.rows("select * from b order by id")
    assert db.rows("select * from t where id = 2") == [(2, "text 2", 0.5, date(2024, 2, 29))]
    assert db.load(text.rename(tmp_path / "other.csv"), table="t").outcome == "already-imported"


def test_rejects_have_their_lines_and_load_when_mended(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'id;price;note\n1;1,50;"a\nb"\n2;x;c\n3;4;d;e\n4;5;f\0\n5;6,25;g\n')
    contract = tmp_path / "c.json"
    contract.write_text(
        '{"fields": [{"name": "id", "type": "integer"}, {"name": "price", "type": "number", "decimalChar": ","},'
        ' {"name": "note", "type": "string"}], "excel": {"delimiter": ";", "encoding": "utf-8"}}'
    )
    report = db.load(path, table="t", contract=contract)
    assert db.rows("select id, price, note from t order by id") == [(1, 1.5, "a\nb"), (5, 6.25, "g")]
    assert sorted(group.cells for group in report.reasons) == ["B4", "C5", "C6"]
    assert {rule.example: rule.key for rule in report.rules}["CSV!C5"] == "note|extra-cell"
    with pytest.raises(BudgetExceeded):
        db.load(path, table="u", contract=contract, max_rejects=1)


def test_ids_stay_and_a_late_text_changes_the_type(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    lines = [f"{n}\t{n:03}\t1234567890123456{n % 10}\t1.0\n" for n in range(1, 200)]
    path.write_text("a\tb\tc\td\n" + "".join(lines) + "200\t1\t1\t1.x\n")
    db.load(path, table="t", chunk_rows=20)
    types = "select data_type from information_schema.columns where table_name = 't' order by ordinal_position"
    assert db.rows(types) == [("bigint",), ("text",), ("bigint",), ("text",)]
    assert db.rows("select * from t where a = 7") == [(7, "007", 12345678901234567, "1.0")]


def test_commands_and_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b,c\n1;2,x\n")
    ran = importer("inspect", "t.csv", cwd=tmp_path)
    assert (ran.code, "delimiter is not clear" in ran.err, "--delimiter" in ran.err) == (3, True, True)
    ran = importer("inspect", "t.csv", "--delimiter", "semicolon", "--encoding", "cp1252", "--json", cwd=tmp_path)
    assert [c["header"] for c in ran.json["columns"]] == ["a", "b,c"]
    assert "read as text: cp1252, separated by ';'" in ran.json["notes"]
    assert ran.json["reading"] == {"engine": "polars", "decoded": 4, "by_engine": 0, "judged": 4}
    ran = importer("contract", "t.csv", "--delimiter", ";", cwd=tmp_path)
    assert ran.json["excel"] == {"sheet": "CSV", "headerRow": 1, "encoding": "utf-8", "delimiter": ";"}
    assert importer("inspect", "t.csv", "--delimiter", "ab", cwd=tmp_path).code == 2


def test_quotes_that_quote_nothing_are_found_while_rows_are_written(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before is written again, of a file that is cut quote by quote."""
    monkeypatch.setattr("importer.reading.text_windows.window_bytes", lambda *_: 200_000)
    monkeypatch.setattr("importer.delimited.transcode.BLOCK_BYTES", 100_000)
    path = tmp_path / "t.csv"
    lines = [f'{n},"text ""{n}"", {"x" * 60}"\n' for n in range(30_000)]
    path.write_text("".join(["id,text\n", *lines[:20_000], '-1,5" by 6"\n', *lines[20_000:]]))
    report = db.load(path, table="t", workers=2)
    assert report.success_count == 30_001
    assert "quotes that quote nothing: 1, read as they are, the first in line 20002" in "\n".join(report.notes)
    assert "so the whole file was read again, quote by quote" in "\n".join(report.notes)
    assert report.reading == {"engine": "polars", "decoded": 60_004, "by_engine": 0, "judged": 60_004}
    assert db.rows("select count(*), count(distinct id), sum(id)::bigint from t") == [(30_001, 30_001, 449_984_999)]
    assert db.rows("select text from t where id in (-1, 7) order by id") == [('5" by 6"',), (f'text "7", {"x" * 60}',)]
