"""Contracts that a workbook suggests, in each language: loading by one needs no other option."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from openpyxl import Workbook
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.table import Table

from importer.cli.commands import cli
from importer.contract.dbt import to_dbt
from importer.contract.excel_options import with_excel
from importer.contract.loader import load_contract, parse_contract
from importer.contract.model import dump_contract
from importer.contract.odcs import to_odcs
from importer.errors import ContractError
from importer.inspection import suggest_contract
from importer.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

FULL: dict[str, Any] = {
    "fields": [
        {"name": "id", "title": "Nr", "type": "integer", "constraints": {"required": True, "minimum": 1}},
        {"name": "name", "type": "string", "constraints": {"maxLength": 20, "unique": True}, "missingValues": ["-"]},
        {"name": "kind", "type": "string", "constraints": {"enum": ["a", "b"]}},
        {"name": "born", "type": "date", "format": "%d.%m.%Y"},
        {"name": "at", "type": "datetime"},
        {"name": "price", "type": "number", "decimalChar": ",", "groupChar": ".", "bareNumber": False},
        {"name": "tags", "type": "list", "delimiter": ";"},
    ],
    "missingValues": ["", "n/a"],
    "primaryKey": ["name", "id"],
    "uniqueKeys": [["kind", "born"]],
    "fieldsMatch": "subset",
    "postgresql": {
        "schema": "s", "table": "people", "types": {"price": "numeric(12,2)"},
        "extraColumns": [{"name": "row_id", "type": "bigint", "identity": True}],
    },
    "excel": {"sheet": "May", "headerRow": 3},
}  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A title, a header in row 3 of the second sheet; a key, a full column, one with a gap, and an amount."""
    made = Workbook()
    assert made.active is not None
    made.active.append(["nothing to see"])
    sheet = made.create_sheet("Orders")
    for line in [
        ["Orders of May"], [], ["Customer", "Order No.", "Amount", "Note"],
        ["Ada", 7, 1.5, "x"], ["Ben", 8, 2.5, None], ["Ada", 9, 3.5, "y"],
    ]:  # fmt: skip
        sheet.append(line)
    path = tmp_path / "orders.xlsx"
    made.save(path)
    return path


def written(book: Path, *options: str) -> str:
    done = CliRunner().invoke(cli, ["contract", str(book), "--sheet", "Orders", "--workers", "0", *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_suggestion_has_what_the_rows_follow_and_where_they_are(book: Path) -> None:
    suggested = json.loads(written(book))
    assert suggested["excel"] == {"sheet": "Orders", "headerRow": 3}
    assert suggested["primaryKey"] == ["order_no"]
    by_name = {f["name"]: f.get("constraints", {}) for f in suggested["fields"]}
    assert by_name == {"customer": {"required": True}, "order_no": {}, "amount": {"required": True}, "note": {}}


@pytest.mark.parametrize("form", ["table-schema", "yaml", "odcs"])
def test_suggestion_loads_without_another_option(db: Database, book: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / ("c.json" if form == "table-schema" else "c.yaml")
    path.write_text(written(book, "--format", form))
    db.run("DROP TABLE IF EXISTS orders")
    report = db.load(book, contract=path)
    assert (report.sheet, report.header_rows, report.error_count) == ("Orders", (3, 3), 0)
    assert report.target["table"] == "orders"
    assert db.rows("select * from orders order by order_no")[0] == ("Ada", 7, 1.5, "x")
    assert db.rows(
        "select attname::text from pg_attribute where attrelid = 'orders'::regclass and attnotnull and attnum > 0"
    ) == [("customer",), ("order_no",), ("amount",)]


def test_suggestion_has_the_piece_that_was_read(db: Database, tmp_path: Path) -> None:
    """A range or a name as it was given; of several tables the one that was read, with rows that come next month."""
    path = tmp_path / "p.xlsx"
    made = Workbook()
    for line in (
        ["id", "n", None, "code", "rate"],
        *[[i, i, None, f"c{i}" if i < 4 else None, i / 8 if i < 4 else None] for i in range(1, 7)],
    ):
        made.active.append(line)
    made.active.append(["Total", 21])
    other = made.create_sheet("Other")
    for line in (["title"], ["k", "v"], [1, 2], [3, 4]):
        other.append(line)
    other.add_table(Table(displayName="tblKeys", ref="A2:B4"))
    made.defined_names["Keys"] = DefinedName("Keys", attr_text="Other!$A$2:$B$4")
    made.save(path)
    for options, excel, rows in (
        ({}, {"sheet": "Sheet", "range": "A1:B", "headerRow": 1}, 6),
        ({"range": "A1:B4"}, {"sheet": "Sheet", "range": "A1:B4", "headerRow": 1}, 3),
        ({"range": "keys"}, {"sheet": "Other", "range": "keys"}, 2),
        ({"excel_table": "TBLKEYS"}, {"sheet": "Other", "excelTable": "tblKeys"}, 2),
        ({"range": "A1:B", "footer": "keep", "last_row": 8, "merged": "fill"},
         {"sheet": "Sheet", "range": "A1:B", "headerRow": 1, "lastRow": 8, "footer": "keep", "merged": "fill"}, 7),
    ):  # fmt: skip
        suggested = suggest_contract(path, workers=0, **options)
        assert suggested["excel"] == excel
        (tmp_path / "c.json").write_text(json.dumps(suggested))
        db.run("drop table if exists p")
        assert db.load(path, table="p", contract=tmp_path / "c.json", workers=0).total_records == rows


def test_piece_of_the_command_line_is_not_that_of_the_contract() -> None:
    said = {"sheet": "May", "range": "A4:B9", "headerRow": 4, "footer": "keep"}
    for piece, sheet in (({"range": "C1:D9"}, "May"), ({"range": "June!Keys"}, None), ({"excel_table": "T"}, None)):
        found = with_excel(Settings(workbook="x.xlsx", **piece), said)  # type: ignore[arg-type]
        assert (found.sheet, found.header_rows, found.footer) == (sheet, None, "keep")
        assert (found.range, found.excel_table) == (piece.get("range"), piece.get("excel_table"))


def test_options_of_the_command_line_come_first() -> None:
    given = Settings(workbook="x.xlsx", sheet="June")  # type: ignore[arg-type]
    found = with_excel(given, {"sheet": "May", "headerRow": "2-3", "x-mine": 1})
    assert (found.sheet, found.header_rows) == ("June", (2, 3))


def test_odcs_and_back(tmp_path: Path) -> None:
    contract = parse_contract(FULL)
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(to_odcs(dump_contract(contract), "t")))
    back = load_contract(path)
    # What is required by the key is said of the property; types of all columns are said.
    assert [f.name for f in back.fields if f.required] == ["id", "name"]
    assert back.primary_key == contract.primary_key
    assert (back.schema, back.table, back.types["price"]) == ("s", "people", "numeric(12,2)")
    assert back.excel == contract.excel
    for mine, theirs in zip(contract.fields, back.fields, strict=True):
        assert (mine.type, mine.title, mine.format, mine.options) == (
            theirs.type, theirs.title, theirs.format, theirs.options
        )  # fmt: skip
        assert {**mine.constraints, "required": 0} == {**theirs.constraints, "required": 0}
    assert (back.missing_values, back.unique_keys, back.fields_match) == (
        contract.missing_values, contract.unique_keys, contract.fields_match
    )  # fmt: skip
    assert back.extra_columns == contract.extra_columns


ODCS = """
apiVersion: v3.1.0
kind: DataContract
id: 1
version: 1.0.0
status: active
description: {purpose: what no loader reads}
schema:
  - name: orders
    properties:
      - {name: nr, businessName: Order No., logicalType: integer, primaryKey: true, physicalType: int}
      - {name: day, logicalType: date, required: true, logicalTypeOptions: {format: dd.MM.yyyy}}
      - {name: seen, logicalType: timestamp, physicalType: TIMESTAMP_NTZ}
      - {name: mail, logicalType: string, unique: true, logicalTypeOptions: {maxLength: 9, format: email}}
"""


def test_odcs_of_others(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(ODCS)
    contract = load_contract(path)
    assert [(f.name, f.type, f.format) for f in contract.fields] == [
        ("nr", "integer", "default"), ("day", "date", "%d.%m.%Y"), ("seen", "datetime", "default"),
        ("mail", "string", "email"),
    ]  # fmt: skip
    assert contract.fields[3].constraints == {"unique": True, "maxLength": 9}
    assert (contract.table, contract.primary_key, contract.types) == ("orders", ("nr",), {"nr": "int"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("v3.1.0", "v2.2.2", "v2.2.2"),
        ("logicalType: timestamp", "logicalType: moment", "moment"),
        ("dd.MM.yyyy", "ww.yyyy", "'ww'"),
        ("  - name: orders\n", "  - {name: a}\n  - name: b\n", "2 tables"),
        ("    properties:", "    propertys:", "no properties"),
    ],
)
def test_odcs_that_cannot_be_read(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    assert old in ODCS
    path.write_text(ODCS.replace(old, new))
    with pytest.raises(ContractError, match=said) as caught:
        load_contract(path)
    assert "c.yaml" in str(caught.value.place)


def test_wrong_property_of_odcs_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(ODCS.replace("maxLength: 9", "maxLength: -9"))
    with pytest.raises(ContractError, match="maxLength") as caught:
        load_contract(path)
    assert f"{path}:14:9" in str(caught.value.place)


def test_dbt_source_has_types_and_tests() -> None:
    (source,) = to_dbt(dump_contract(parse_contract(FULL)), "t")["sources"]
    (table,) = source["tables"]
    assert (source["schema"], table["name"]) == ("s", "people")
    assert table["meta"] == {"unique_keys": [["name", "id"], ["kind", "born"]]}
    columns = {c["name"]: c for c in table["columns"]}
    assert columns["price"] == {"name": "price", "data_type": "numeric(12,2)"}
    assert columns["name"]["data_tests"] == ["not_null", "unique"]
    assert columns["kind"]["data_tests"] == [{"accepted_values": {"values": ["a", "b"], "quote": True}}]
    assert columns["row_id"]["data_type"] == "bigint"


def test_dbt_from_the_command_line(book: Path) -> None:
    (table,) = yaml.safe_load(written(book, "--format", "dbt"))["sources"][0]["tables"]
    assert table["name"] == "orders"
    assert table["columns"][1] == {
        "name": "order_no", "description": "Order No.", "data_type": "bigint", "data_tests": ["not_null", "unique"]
    }  # fmt: skip
