"""Columns that are shown as amounts are proposed to be `numeric(p,s)`, where that holds every number exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openpyxl

from importer.inspection import inspect_workbook, suggest_contract

if TYPE_CHECKING:
    from pathlib import Path

AMOUNTS = [1.25, 12.5, 1999.99, 0, -3]
#: Header: format of the numbers, the numbers, the type that is proposed.
CASES: dict[str, tuple[str, list[Any], str | None]] = {
    "two": ("0.00", AMOUNTS, "numeric(15,2)"),
    "groups": ("#,##0.00", AMOUNTS, "numeric(15,2)"),
    "three": ("0.000", [1.125, 2.5, 3.25, 4, 5], "numeric(15,3)"),
    "one": ("0.0", AMOUNTS, None),
    "whole": ("0", [1, 2, 3, 4, 5], None),
    "general": ("General", AMOUNTS, None),
    "euro": ('#,##0.00 "€"', AMOUNTS, "numeric(15,2)"),
    "dollar": ("[$$-409]#,##0.00;[Red]-[$$-409]#,##0.00", AMOUNTS, "numeric(15,2)"),
    "yen": ("[$¥-411]#,##0", [100, 250, 3, 4, 5], "numeric(15,2)"),
    "accounting": ('_-* #,##0.00 "kr"_-', AMOUNTS, "numeric(15,2)"),
    "percent": ("0%", [0.25, 0.5, 1, 0.07, 0], "numeric(15,2)"),
    "percent with decimals": ("0.00%", [0.1234, 0.5, 1, 0.07, 0], "numeric(15,4)"),
    "sums of floats": ("0.00", [0.1 + 0.2, 1.1 * 3, 2, 3, 4], "numeric(15,2)"),
    "more digits than are shown": ("0.00", [1.25, 1.255, 2, 3, 4], None),
    "more digits in percent": ("0%", [0.25, 0.255, 1, 0.5, 0], None),
    "too large": ("0.00", [1e13, 1, 2, 3, 4], None),
    "scientific": ("0.00E+00", AMOUNTS, None),
    "padded": ("00000", [1, 2, 3, 4, 5], None),
    "other kinds": ("0.00", [1.25, "n/a", 2, 3, 4], None),
    "a text and formats": ("0.00", ["x", "y", "z", "u", "v"], None),
}  # fmt: skip


def book(folder: Path) -> Path:
    made = openpyxl.Workbook()
    for column, (header, (form, values, _)) in enumerate(CASES.items(), 1):
        made.active.cell(1, column, header)
        for row, value in enumerate(values, 2):
            made.active.cell(row, column, value).number_format = form
    made.active.cell(2, len(CASES) + 1, 1.5).number_format = "0.00"
    made.active.cell(1, len(CASES) + 1, "mixed formats")
    made.active.cell(3, len(CASES) + 1, 1.125)
    made.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def test_types_of_amounts(tmp_path: Path) -> None:
    path = book(tmp_path)
    for engine in ("builtin", "calamine"):
        contract = suggest_contract(path, workers=0, engine=engine)
        named = {field["name"]: field["title"] for field in contract["fields"]}
        found = {named[name]: kind for name, kind in contract["postgresql"]["types"].items()}
        assert found == {header: kind for header, (_, _, kind) in CASES.items() if kind}
        types = {field["title"]: field["type"] for field in contract["fields"]}
        assert {types[header] for header in found} == {"number"}


def test_an_inspection_says_what_keeps_decimals_and_types_that_somebody_gives_stay(tmp_path: Path) -> None:
    path = book(tmp_path)
    found = inspect_workbook(path, workers=0).to_dict()
    (note,) = (note for note in found["notes"] if "amounts" in note)
    assert note.startswith("shown as amounts or with decimals: two, groups, three, euro, dollar, yen, ")
    assert note.endswith("; --types two='numeric(15,2)' keeps exact decimals")
    contract = suggest_contract(path, workers=0, types={"two": "number", "euro": "numeric(12,2)"})
    assert contract["postgresql"]["types"]["euro"] == "numeric(12,2)"
    assert "two" not in contract["postgresql"]["types"]
