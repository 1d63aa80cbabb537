"""Contracts: loaded from three languages, checked in full, matched with headers, written out and read back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from importer.contract.loader import load_contract, parse_contract
from importer.contract.model import Contract, dump_contract
from importer.errors import ContractError
from importer.inspection import inspect_workbook
from importer.plan.model import match_fields
from importer.reading.header import SheetColumn
from importer.table.labels import to_identifier

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

FULL: dict[str, Any] = {
    "fields": [
        {"name": "id", "title": "Nr", "type": "integer", "constraints": {"required": True, "minimum": 1}},
        {
            "name": "name",
            "type": "string",
            "constraints": {"maxLength": 20, "pattern": "\\p{Lu}.*"},
            "missingValues": ["-"],
        },
        {"name": "born", "type": "date", "format": "%d.%m.%Y"},
        {"name": "price", "type": "number", "decimalChar": ",", "groupChar": ".", "bareNumber": False},
        {"name": "shop", "type": "integer"},
    ],
    "missingValues": ["", "n/a"],
    "primaryKey": ["id"],
    "uniqueKeys": [["name", "born"]],
    "foreignKeys": [{"fields": ["shop"], "reference": {"resource": "shops", "fields": ["id"]}}],
    "fieldsMatch": "subset",
    "postgresql": {
        "schema": "s",
        "table": "people",
        "types": {"price": "numeric(12,2)"},
        "extraColumns": [
            {"name": "row_id", "type": "bigint", "identity": True},
            {"name": "at", "type": "timestamptz", "notNull": True, "default": "now()"},
            {"name": "state", "type": "text", "default": "new (draft)"},
        ],
        "indexes": [["name"], ["born", "at"]],
    },
}
YAML = """
fields:
  - {name: day, type: date, constraints: {minimum: 2020-01-01, maximum: "2020-12-31"}}
  - {name: ok, type: boolean, trueValues: ["yes"], falseValues: ["no"]}
missingValues: ["", {value: "-", label: none}]
primaryKey: day
"""
TOML = """
missingValues = ["", "-"]
primaryKey = "day"
[[fields]]
name = "day"
type = "date"
constraints = { minimum = 2020-01-01, maximum = "2020-12-31" }
[[fields]]
name = "ok"
type = "boolean"
trueValues = ["yes"]
falseValues = ["no"]
"""


def _field(**keys: Any) -> dict[str, Any]:
    return {"fields": [{"name": "x", **keys}]}


def _with(**keys: Any) -> dict[str, Any]:
    return {"fields": [{"name": "x"}], **keys}


def _extra(**keys: Any) -> dict[str, Any]:
    return _with(postgresql={"extraColumns": [{"name": "e", **keys}]})


def test_load_yaml_and_toml_alike(tmp_path: Path) -> None:
    loaded = []
    for name, text in (("c.yaml", YAML), ("c.yml", YAML), ("c.toml", TOML)):
        (tmp_path / name).write_text(text)
        loaded.append(load_contract(tmp_path / name))
    assert [c.missing_values for c in loaded] == [("", "-")] * 3
    assert [c.primary_key for c in loaded] == [("day",)] * 3
    assert loaded[0] == loaded[1]
    assert [f.name for f in loaded[2].fields] == ["day", "ok"]
    assert loaded[0].fields[1] == loaded[2].fields[1]


def test_load_json_with_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(FULL), encoding="utf-8-sig")
    assert load_contract(tmp_path / "c.json") == parse_contract(FULL)


def test_dump_reads_back_equal() -> None:
    contract = parse_contract(FULL)
    assert contract.foreign_keys[0].table == "shops"
    assert contract.extra_columns[1].default == "now()"
    assert parse_contract(json.loads(json.dumps(dump_contract(contract)))) == contract


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=15)
fields = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "date", "boolean", "any", "duration"])},
    optional={
        "title": names,
        "missingValues": st.lists(names, max_size=3),
        "constraints": st.fixed_dictionaries({}, optional={"required": st.booleans(), "unique": st.booleans()}),
    },
)


@given(
    st.dictionaries(names, fields, min_size=1, max_size=5),
    st.sampled_from(["exact", "equal", "subset", "superset", "partial"]),
    st.lists(names, max_size=3),
)
def test_dump_of_any_contract_reads_back_equal(described: dict[str, Any], match: str, missing: list[str]) -> None:
    descriptor = {
        "fields": [{"name": n, **d} for n, d in described.items()],
        "fieldsMatch": [match],
        "missingValues": missing,
    }
    contract = parse_contract(descriptor)
    assert parse_contract(dump_contract(contract)) == contract
    assert contract.fields_match == match


WRONG: list[tuple[Any, str]] = [
    (None, "fields"), ([], "fields"), ({}, "fields"), ({"fields": {"a": 1}}, "fields"), ({"fields": []}, "fields"),
        ({"fields": [5]}, "field 1"), ({"fields": [{"type": "string"}]}, "field 1"),
    ({"fields": [{"name": ""}]}, "field 1"), ({"fields": [{"name": 5}]}, "field 1"),
        ({"fields": [{"name": "a" * 64}]}, "1-63 bytes"), ({"fields": [{"name": "a\0"}]}, "name of a column"),
    ({"fields": [{"name": "a"}, {"name": "a"}]}, "two fields are named 'a'"),
    (_field(type="text"), "unknown type 'text'"), (_field(type=["string"]), "unknown type"), (_field(type=None),
        "unknown type"), (_field(title=5), "title"),
    (_field(format="mail"), "no format 'mail'"), (_field(format=["default"]), "no format"), (_field(type="number",
        format="any"), "no format 'any'"), (_field(type="date", format={}), "no format"),
    (_field(type="date", format="dd.mm.yyyy"), "does not determine a day"), (_field(type="date", format="%m/%Y"),
        "does not determine a day"), (_field(type="date", format="%Q"), "%Q"),
    (_field(type="date", format="%Y-%m-%d %H:%M"), "time of day"), (_field(type="time", format="%H"),
        "hours and minutes"), (_field(type="datetime", format="%Y-%m-%dT%H:%M%z"), "%z"),
    (_field(type="datetime", format="%Y-%m-%d %H:%M:%S,%f"), "dot"), (_field(type="datetime", format="%Y-%m-%d %H"),
        "minutes"), (_field(type="date", format="%"), "not supported"),
    (_field(constraints=[]), "constraints"), (_field(constraints="required"), "constraints"),
        (_field(constraints=None), "constraints"), (_field(constraints={"need": True}), "unknown constraint 'need'"),
    (_field(constraints={"required": "yes"}), "required must be true or false"), (_field(constraints={"unique": 1}),
        "unique must be true or false"), (_field(constraints={"minLength": "5"}), "minLength '5'"),
    (_field(constraints={"minLength": True}), "minLength"), (_field(constraints={"maxLength": -1}), "maxLength -1"),
        (_field(type="integer", constraints={"maxLength": 5}), "maxLength 5"),
    (_field(constraints={"minimum": 5}), "minimum does not fit"), (_field(type="integer",
        constraints={"minimum": "x"}), "'x' is not a value of type integer"),
    (_field(type="number", constraints={"maximum": {"a": 1}}), "not a value"), (_field(type="number",
        constraints={"maximum": 10**400}), "not a value"), (_field(type="date",
        constraints={"minimum": "2020-13-01"}), "2020-13-01"),
    (_field(type="integer", constraints={"minimum": True}), "not a value"), (_field(type="integer",
        constraints={"enum": [1, None]}), "not a value"), (_field(constraints={"enum": "a"}), "enum"),
        (_field(constraints={"enum": []}), "enum"),
    (_field(constraints={"pattern": "("}), "pattern"), (_field(constraints={"pattern": "a)|(b"}), "pattern"),
        (_field(constraints={"pattern": 5}), "pattern 5"), (_field(constraints={"pattern": "[a-z-[aeiou]]"}),
        "inside [...]"),
    (_field(constraints={"pattern": "(?:" * 20000}), "pattern"), (_field(constraints={"pattern": "[a&&b]"}),
        "&& inside"),
    (_field(type="object", constraints={"jsonSchema": []}), "jsonSchema"), (_field(constraints={"jsonSchema": {}}),
        "jsonSchema"), (_field(type="object", constraints={"jsonSchema": {"type": 5}}), "jsonSchema"),
    (_field(type="object", constraints={"jsonSchema": {"$ref": "http://localhost:1/x"}}), "not followed"),
        (_field(type="object", constraints={"jsonSchema": {"$ref": "ftp://localhost:1/x"}}), "not followed"),
    (_field(missingValues="-"), "missingValues"), (_field(missingValues=[1]), "missingValues"),
        (_with(missingValues="n/a"), "missingValues"), (_with(missingValues=[{"label": "x"}]), "missingValues"),
    (_field(type="number", decimalChar=""), "decimalChar"), (_field(type="number", decimalChar=5), "decimalChar"),
        (_field(type="number", groupChar="."), "groupChar"), (_field(type="number", groupChar=",,"), "groupChar"),
    (_field(type="number", bareNumber="no"), "bareNumber"), (_field(type="boolean", trueValues="yes"), "trueValues"),
        (_field(type="boolean", falseValues=[0]), "falseValues"),
    (_field(type="boolean", trueValues=["x"], falseValues=["x"]), "both"), (_field(type="list", delimiter=""),
        "delimiter"), (_field(type="list", itemType="thing"), "itemType"), (_field(type="list", itemType=[1]),
        "itemType"),
    (_field(categories="a"), "categories"), (_field(categories=[]), "categories"), (_field(type="integer",
        categories=["a"]), "'a' is not a value"),
    (_with(primaryKey="y"), "'y'"), (_with(primaryKey=5), "primaryKey"), (_with(primaryKey=[["x"]]), "primaryKey"),
        (_with(primaryKey=["x", "x"]), "twice"), (_with(uniqueKeys="x"), "uniqueKeys"),
    (_with(uniqueKeys=[[]]), "uniqueKeys"), (_with(uniqueKeys={"x": 1}), "uniqueKeys"), (_with(foreignKeys={}),
        "foreignKeys"), (_with(foreignKeys=[5]), "foreignKeys"), (_with(foreignKeys=[{"fields": "x"}]), "foreignKeys"),
    (_with(foreignKeys=[{"fields": "x", "reference": []}]), "foreignKeys"),
        (_with(foreignKeys=[{"fields": "x", "reference": {"resource": 5, "fields": "y"}}]), "resource"),
    (_with(foreignKeys=[{"fields": "x", "reference": {"resource": "t", "fields": ["a", "b"]}}]), "as many"),
        (_with(fieldsMatch="all"), "fieldsMatch"), (_with(fieldsMatch={}), "fieldsMatch"), (_with(fieldsMatch=[]),
        "fieldsMatch"),
    (_with(postgresql=[]), "postgresql"), (_with(postgresql="t"), "postgresql"), (_with(postgresql={"tabel": "t"}),
        "'tabel'"), (_with(postgresql={"table": 5}), "postgresql.table"), (_with(postgresql={"table": ""}),
        "postgresql.table"),
    (_with(postgresql={"schema": "a" * 64}), "postgresql.schema"), (_with(postgresql={"types": ["int"]}),
        "postgresql.types"), (_with(postgresql={"types": {"y": "int"}}), "'y'"),
        (_with(postgresql={"types": {"x": 5}}), "'x'"),
    (_with(postgresql={"types": {"x": "int); drop table y; --"}}), "not a PostgreSQL type"),
        (_with(postgresql={"indexes": "x"}), "indexes"), (_with(postgresql={"indexes": [[]]}), "indexes"),
        (_with(postgresql={"indexes": [["y"]]}), "'y'"),
    (_with(postgresql={"extraColumns": {}}), "extraColumns"), (_with(postgresql={"extraColumns": [5]}),
        "extraColumns"), (_with(postgresql={"extraColumns": [{"name": "x"}]}), "'x'"), (_extra(type="int; x"), "'e'"),
        (_extra(type=5), "'e'"),
    (_extra(default="pg_sleep(9)"), "pg_sleep"), (_extra(default=["now()"]), "default"), (_extra(default={"a": 1}),
        "default"), (_extra(default=float("nan")), "default"), (_extra(identity="yes"), "identity"),
        (_extra(identity=True), "identity"),
    (_extra(nullable=True), "'nullable'"), (_with(postgresql={"extraColumns": [{"name": "e"}, {"name": "e"}]}), "'e'"),
]  # fmt: skip


@pytest.mark.parametrize(("descriptor", "named"), WRONG, ids=[f"{n}-{named}" for n, (_, named) in enumerate(WRONG)])
def test_wrong_contract_is_told_with_its_place(descriptor: Any, named: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(descriptor)
    assert named in str(caught.value)
    assert caught.value.exit_code == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *[("fields", 0, key) for key in ("name", "title", "type", "format", "constraints", "missingValues", "decimalChar",
    "groupChar", "bareNumber", "trueValues", "delimiter", "itemType", "categories")],
    *[("fields", 0, "constraints", key) for key in ("required", "unique", "minLength", "maximum", "pattern", "enum",
    "jsonSchema")],
    *[(key,) for key in ("fields", "missingValues", "primaryKey", "uniqueKeys", "foreignKeys", "fieldsMatch",
    "postgresql")],
    *[("postgresql", key) for key in ("schema", "table", "types", "extraColumns", "indexes")],
    *[("postgresql", "extraColumns", 0, key) for key in ("name", "type", "default", "identity", "notNull")],
    *[("foreignKeys", 0, key) for key in ("fields", "reference")],
]  # fmt: skip


@given(
    st.sampled_from(PLACES),
    json_values,
    st.sampled_from(["string", "number", "integer", "boolean", "list", "object", "date"]),
)
def test_any_value_anywhere_is_a_contract_or_an_error(place: tuple[Any, ...], value: Any, kind: str) -> None:
    descriptor = json.loads(json.dumps(FULL))
    descriptor["fields"][0] = {"name": "id", "type": kind, "constraints": {}}
    here = descriptor
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    try:
        contract = parse_contract(descriptor)
    except ContractError as exc:
        told: object = str(exc)
    else:
        told = isinstance(contract, Contract)
    assert told


FILES = [
    ("c.json", "{", "not well-formed"),
    ("c.json", "[" * 100_000, "not well-formed"),
    ("c.yaml", "a: [", "not well-formed"),
    ("c.toml", "a =", "not well-formed"),
    ("c.json", b"\xff\xfe\xfa", "cannot read"),
]


@pytest.mark.parametrize(("name", "content", "said"), FILES)
def test_unreadable_file(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ContractError, match=said) as caught:
        load_contract(path)
    assert name in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no contract file"):
        load_contract(tmp_path / "c.json")


# ---- MATCHING ---------------------------------------------------------------------------------------------------


def _columns(*headers: str) -> list[SheetColumn]:
    return [SheetColumn(i, h, to_identifier(h)) for i, h in enumerate(headers)]


def _matched(descriptor: dict[str, Any], *headers: str, lenient: bool = False) -> dict[str, str | None]:
    found, _ = match_fields(parse_contract(descriptor), _columns(*headers), lenient=lenient)
    return {name: column.header if column else None for name, column in found.items()}


def test_match_title_before_name_before_normalised_name() -> None:
    fields = [{"name": "name"}, {"name": "x", "title": "Name"}, {"name": "Größe cm"}]
    assert _matched({"fields": fields}, "größe (cm)", "Name", "name") == {
        "name": "name",
        "x": "Name",
        "Größe cm": "größe (cm)",
    }


def test_match_title_without_case_and_space() -> None:
    assert _matched({"fields": [{"name": "a", "title": "First  Name"}]}, "FIRST name") == {"a": "FIRST name"}


def test_match_repeated_titles_in_order() -> None:
    fields = [{"name": "a", "title": "T"}, {"name": "b", "title": "T"}]
    found, _ = match_fields(parse_contract({"fields": fields}), _columns("T", "T"), lenient=False)
    assert [column.index for column in found.values() if column] == [0, 1]


AB = [{"name": "a"}, {"name": "b"}]
MATCHES: list[tuple[str, tuple[str, ...], dict[str, str | None] | str]] = [
    ("exact", ("a", "b"), {"a": "a", "b": "b"}), ("exact", ("b", "a"), "incorrect-label"), ("exact", ("a",),
        "missing-label"), ("exact", ("a", "b", "c"), "extra-label"),
    ("equal", ("b", "a"), {"a": "a", "b": "b"}), ("equal", ("a",), "missing-label"), ("equal", ("a", "b", "c"),
        "extra-label"),
    ("subset", ("c", "b", "a"), {"a": "a", "b": "b"}), ("subset", ("a", "c"), "missing-label"),
    ("superset", ("b",), {"a": None, "b": "b"}), ("superset", ("b", "c"), "extra-label"), ("superset", ("c",),
        "missing-label"),
    ("partial", ("b", "c"), {"a": None, "b": "b"}), ("partial", ("c",), "missing-label"),
]  # fmt: skip


@pytest.mark.parametrize(("match", "headers", "expected"), MATCHES)
def test_fields_match(match: str, headers: tuple[str, ...], expected: dict[str, str | None] | str) -> None:
    descriptor = {"fields": AB, "fieldsMatch": match}
    if isinstance(expected, str):
        with pytest.raises(ContractError, match=expected):
            _matched(descriptor, *headers)
    else:
        assert _matched(descriptor, *headers) == expected


# ---- INFERRED ---------------------------------------------------------------------------------------------------


def test_contract_of_the_inferred_types_loads_the_same_table(db: Database, tmp_path: Path) -> None:
    from datetime import datetime, time, timedelta

    book = Workbook()
    sheet = book.active
    sheet.append(
        ["Name", "Whole number", "Fraction", "Day", "Stamp", "Clock", "Length", "Yes", "Mixed", "Name", None, "Empty"]
    )
    sheet.append(
        ["007", 1, 0.1, datetime(2020, 1, 1), datetime(2020, 1, 1, 1), time(1), timedelta(hours=30), True, 1, "x", "y"]
    )
    sheet.append([" a ", 2, 2, datetime(2020, 1, 2), datetime(2020, 1, 2), time(2), timedelta(1), False, "1", "z", "w"])
    path = tmp_path / "all kinds.xlsx"
    book.save(path)
    (tmp_path / "c.json").write_text(json.dumps(dump_contract(inspect_workbook(path).contract)))
    plain = db.load(path, table="plain")
    by_contract = db.load(path, table="described", contract=tmp_path / "c.json")
    assert (plain.success_count, by_contract.success_count) == (2, 2)
    shape = (
        "select column_name::text, data_type::text, is_nullable::text from information_schema.columns "
        "where table_schema = '{}' and table_name = '{}' order by ordinal_position"
    )
    assert db.rows(shape.format(db.schema, "plain")) == db.rows(shape.format(db.schema, "described"))
    assert db.rows("select * from plain order by 1") == db.rows("select * from described order by 1")
    assert [r[:3] for r in db.rows("select * from plain order by 2")] == [("007", 1, 0.1), (" a ", 2, 2.0)]
