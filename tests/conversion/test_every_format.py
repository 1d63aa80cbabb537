"""The same table in every format: its edges, its contract, by one command with others, by https, in bounds."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from remote.conftest import make_certificate
from support.otherbooks import Error, Table, write_csv, write_ods, write_xls, write_xlsb, write_xlsx
from support.reading import read_cells, reading
from support.webserver import web_server

from importer import check_workbook, import_many, inspect_workbook, suggest_contract
from importer.errors import InputError, WorkbookRefused
from importer.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conftest import Database

WRITERS: dict[str, Callable[[Path, Sequence[Table]], Path]] = {
    "xlsx": write_xlsx, "xltx": write_xlsx, "ods": write_ods, "xls": write_xls, "xlsb": write_xlsb, "csv": write_csv,
    "tsv": write_csv,
}  # fmt: skip
DAY = dt.date(2024, 2, 29)


def write(folder: Path, form: str, rows: list[list[Any]], **options: Any) -> Path:
    """The rows in a format; a text file has '' for what is empty."""
    plain = [["" if each is None else each for each in row] for row in rows]
    table = Table(plain if form in {"csv", "tsv"} else rows, **options)
    return WRITERS[form](folder / f"from_{form}.{form}", [table])


EDGES = {
    "a title and a grand total": [
        ["Report 2024"], [], ["id", "name", "amount"], [1, "a", 1.5], [2, "b", 2.5], [3, "c", 4.0], ["Total", None, 8.0],
    ],
    "remarks": [["id", "name"], [1, "a"], [2, "b"], [3, "c"], [], ["Source: the office", None], ["* estimated", None]],
    "two header rows": [["", "2024", "2024"], ["id", "Q1", "Q2"], [1, 2.5, 3.5], [2, 4.5, 5.5], [3, 6.5, 7.5]],
    "numbers of columns": [["id", "name", "n"], [1, 2, 3], [17, "a", 5], [18, "b", 6], [19, "c", 7]],
}  # fmt: skip


@pytest.mark.parametrize("rows", EDGES.values(), ids=EDGES)
def test_edges_of_the_table_are_found_in_every_format(tmp_path: Path, rows: list[list[Any]]) -> None:
    found = {}
    for form in WRITERS:
        with reading(write(tmp_path, form, rows), header_rows=(1, 2) if rows[0][0] == "" else None) as source:
            said = [note for note in source.notes() if not note.startswith(("read as", "lines with"))]
            names = [column.name for column in source.header.columns]
            found[form] = (source.header.first_row, source.header.last_row, names, source.rows, source.blank_rows, said)
    assert {form: edges for form, edges in found.items() if edges != found["xlsx"]} == {}


def test_hidden_rows_and_columns_in_every_format_that_has_them(db: Database, tmp_path: Path) -> None:
    rows: list[list[Any]] = [["id", "secret", "n"], [1, "x", 2], [2, "y", 3], [3, "z", 4]]
    for form in ("ods", "xls", "xlsb"):
        path = write(tmp_path, form, rows, hidden_rows=frozenset([2]), hidden_columns=frozenset([1]))
        with pytest.raises(InputError, match="hidden"), reading(path, hidden="error"):
            pass
        with reading(path) as source:
            notes = {"hidden or filtered out in the sheet: 1 data row", "hidden columns: B"}
            assert notes <= set(source.notes())
        report = db.load(path, table=form, hidden="skip")
        assert (report.success_count, db.rows(f"select * from {form} order by id")) == (2, [(1, 2), (3, 4)]), form


def test_every_format_by_one_command(db: Database, tmp_path: Path) -> None:
    """Into one table, with what the imports of each say; what only has the name of a workbook does not stop them."""
    contracts = {}
    for n, form in enumerate(WRITERS):
        rows = [["id", "name", "amount", "day"], *([10 * n + k, f"row {k}", k / 4, DAY] for k in range(1, 4))]
        path = write(tmp_path, form, rows)
        contracts[form] = suggest_contract(path, workers=0)
        if form in {"ods", "xls", "xlsb"}:
            checked = check_workbook(path, to=db.dsn.text, table="t", workers=0)
            assert (checked.outcome, checked.success_count, checked.error_count) == ("checked", 3, 0), form
    fields = {form: (each["fields"], each["primaryKey"]) for form, each in contracts.items()}
    assert {form: each for form, each in fields.items() if each != fields["xlsx"]} == {}
    (tmp_path / "sap.xls").write_bytes("id\tname\tamount\tday\r\n91\trow 1\t0.25\t2024-02-29\r\n".encode("utf-16"))
    (tmp_path / "web.xls").write_text("<html><body><table><tr><td>id</td></tr></table></body></html>")
    (tmp_path / "xml.xls").write_text(
        '<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>'
    )
    report = import_many(tmp_path, to=db.dsn.text, table="t", lineage=True, workers=0)
    refused = {each.source.rpartition("/")[2]: str(each) for each in report.reports if each.outcome == "failed"}
    assert (report.exit_code, report.sums["published"], sorted(refused)) == (3, 8, ["web.xls", "xml.xls"])
    assert "an HTML page" in str(report)
    assert "an XML Spreadsheet 2003" in str(report)
    wanted = [
        (10 * n + k, f"row {k}", k / 4, DAY, f"from_{form}.{form}", k + 1)
        for n, form in enumerate(WRITERS)
        for k in range(1, 4)
    ]
    rows = db.rows("select id, name, amount, day, _source_file, _source_row from t order by id")
    assert rows == [*wanted, (91, "row 1", 0.25, DAY, "sap.xls", 2)]
    again = import_many(tmp_path / "from_xls.xls", to=db.dsn.text, table="t", lineage=True, workers=0)
    assert [each.outcome for each in again.reports] == ["already-imported"]


def test_every_format_by_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path / "c.pem")
    rows: list[list[Any]] = [["id", "name"], [1, "a"], [2, "b"]]
    with web_server(certificate) as web:
        for form in WRITERS:
            web.files[f"/in/b.{form}"] = write(tmp_path, form, rows).read_bytes()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        for form in WRITERS:
            source = inspect_workbook(web.url(f"/in/b.{form}"), workers=0).source
            assert ([column.header for column in source.header.columns], source.rows) == (["id", "name"], 2), form


@pytest.mark.parametrize("form", ["ods", "xls", "xlsb"])
def test_memory_and_sizes_are_bounded_in_every_format(tmp_path: Path, form: str) -> None:
    """A sheet that spreads too far, and one whose texts unpack to more than is allowed, end with a way out."""
    path = write(tmp_path, form, [["id", "text"], *([n, f"{n:060}"] for n in range(2000))])
    if form != "xls":  # no zip
        with (
            pytest.raises(WorkbookRefused, match="over the limit of 9,000") as caught,
            reading(path, limits=Limits(part_bytes=9_000)),
        ):
            pass
        assert caught.value.exit_code == 3
    with pytest.raises(InputError, match="the process that read the workbook") as died:
        inspect_workbook(path, workers=1, limits=Limits(memory_bytes=1 << 20))
    assert (died.value.exit_code, path.name in str(died.value.place)) == (3, True)


@pytest.mark.parametrize("form", WRITERS)
def test_time_is_bounded_in_every_format(tmp_path: Path, form: str) -> None:
    """A millionth of a second, in which nothing is read."""
    path = write(tmp_path, form, [["id", "text"], [1, "x"]])
    with pytest.raises(InputError, match="took longer than 1e-06 s") as late:
        inspect_workbook(path, workers=1, limits=Limits(task_seconds=1e-6))
    assert (late.value.exit_code, path.name in str(late.value.place)) == (3, True)


def test_error_values_and_formulas_in_every_format(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["id", "n"], [1, Error("#N/A")], [2, Error("#DIV/0!")], [3, 5]]
    kinds = {}
    for form in ("xlsx", "ods", "xls", "xlsb"):
        with reading(write(tmp_path, form, rows)) as source:
            kinds[form] = dict(source.facts[1].kinds)
    assert all(each == {"error": 2, "number": 1} for each in kinds.values()), kinds


MOMENT = dt.datetime.fromisoformat("2024-02-29T10:11:12.500")
KINDS: list[list[Any]] = [
    ["id", "text", "day", "at", "clock", "took", "ok", "n", "bad", "missing"],
    [1, " two\nlines ", DAY, MOMENT, dt.time(10, 11, 12), dt.timedelta(hours=30, seconds=5), True, 0.1, Error("#N/A"), None],
    [2, "007", dt.date(1999, 12, 31), MOMENT, dt.time(0, 0, 1), dt.timedelta(hours=2), False, 1e-300, 5, None],
    [3, "=1+1", None, None, None, None, None, 123456789012345678, "x", None],
]  # fmt: skip


@pytest.mark.parametrize("epoch_1904", [False, True], ids=["1900", "1904"])
def test_rejects_have_the_cells_of_the_file_in_every_format(db: Database, tmp_path: Path, epoch_1904: bool) -> None:
    """All rows lack a value: their rejects, an .xlsx, hold the same kinds and values, whatever days are counted from."""
    fields = [{"name": name, "type": "any"} for name in KINDS[0][:-1]]
    contract = {"fields": [*fields, {"name": "missing", "type": "any", "constraints": {"required": True}}]}
    for form in ("xls", "xlsb") if epoch_1904 else ("ods", "xls", "xlsb"):
        path = tmp_path / f"b.{form}"
        table = [Table(KINDS)]
        if form == "xls":
            write_xls(path, table, epoch_1904=epoch_1904)
        elif form == "xlsb":
            write_xlsb(path, table, epoch_1904=epoch_1904)
        else:
            write_ods(path, table)
        report = db.load(path, table=form, contract=contract)
        assert (report.success_count, report.error_count) == (0, 3)
        with reading(path) as source:
            wanted = {
                (row, source.header.columns[at].name): cell for (row, at), cell in read_cells(source).items() if row > 1
            }
        with reading(tmp_path / "b.rejects.xlsx") as source:
            names = {each.index: each.name for each in source.header.columns}
            found = {(row, names[at]): cell for (row, at), cell in read_cells(source).items() if row > 1}
        found = {at: cell for at, cell in found.items() if at[1] in KINDS[0]}
        assert {at: (cell, found.get(at)) for at, cell in wanted.items() if found.get(at) != cell} == {}, form
        assert len(found) == len(wanted)
