"""Determines the kinds of cells: which cells of a column are texts, numbers, booleans, dates, errors.

A window whose columns hold one kind each takes one load. Otherwise the columns are loaded as text, number and boolean,
and the engine's list of cells that could not be coerced gives the kind of the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.frame import VALUE_KINDS
from importer.excel import sheet_xml as sheetxml

from .engine import Cells, Engine, engine_errors, mixed_kind_errors

if TYPE_CHECKING:
    from importer.number_formats.date_serials import DateSystem

_DATE_DETAIL = re.compile(r"value: (\S+), datetime_type: (\w+)")
_QUOTED = re.compile(r'\("(.*)"\)', re.DOTALL)
_ERROR_VALUES = {
    "Div0": "#DIV/0!",
    "NA": "#N/A",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}


def read_columns(sheet: Engine, rows: bytes, epoch: DateSystem, numbers: frozenset[int] = frozenset()) -> Cells:
    """Load some rows as arrays by sheet column and kind.

    Args:
        sheet: the engine on these rows.
        rows: XML of the rows.
        epoch: date system of the workbook.
        numbers: columns that are known to hold only numbers.

    Raises:
        InputError: the engine refuses the rows.
    """
    with engine_errors():
        try:
            columns = _load_unmixed(sheet, epoch, numbers)
        except mixed_kind_errors():
            columns = None
        return columns if columns is not None else _load_mixed(sheet, rows, epoch, numbers)


def _load_unmixed(sheet: Engine, epoch: DateSystem, numbers: frozenset[int]) -> Cells | None:
    """Load columns that hold one kind each; return None if a date needs a closer look.

    With `strict` coercion over all rows the engine refuses every mixture that it would have to coerce, except the cells
    that it lists as errors.
    """
    as_float = dict.fromkeys(sorted(numbers), "float") or None
    arrays, errors, dtypes = sheet.load(schema_sample_rows=None, dtype_coercion="strict", dtypes=as_float)
    columns: Cells = {}
    for c, array in arrays.items():
        kind = {"float": "number", "int": "number", "string": "text", "date": "datetime"}.get(dtypes[c], dtypes[c])
        if kind == "datetime":
            stamps = array.cast(pl.Datetime("ms"))
            if epoch.has_invalid(stamps):
                return None
            columns[c] = epoch.split(stamps.cast(VALUE_KINDS["datetime"]))
        elif kind == "duration" and epoch.has_too_long(array):
            return None
        elif kind in VALUE_KINDS:
            columns[c] = {kind: array.cast(VALUE_KINDS[kind])}
    _add_error_cells(columns, errors, epoch, texts=None)
    return columns


def _load_mixed(sheet: Engine, rows: bytes, epoch: DateSystem, known: frozenset[int]) -> Cells:
    """Load columns that hold several kinds.

    Loaded as boolean, only booleans and numbers are non-null, and the error list gives kind and value of all other
    cells. Of the non-null ones, booleans are those whose text is `true` or `false`. Columns that hold only texts are
    left out of that load: their error list would contain every cell.
    """
    texts, text_errors, _ = sheet.load(dtypes="string")
    pure = (sheetxml.text_columns(rows) - known) & set(texts)
    columns: Cells = {c: {"text": texts[c]} for c in pure}
    _add_error_cells(columns, [e for e in text_errors if e[1] in pure], epoch, texts=None)
    rest = [c for c in texts if c not in pure | known]
    if rest or known:
        numbers, _, _ = sheet.load(dtypes={c: "string" if c in pure else "float" for c in texts})
        columns |= {c: {"number": numbers[c]} for c in known & set(texts)}
    if rest:
        booleans, errors, _ = sheet.load(dtypes={c: "boolean" if c in rest else "string" for c in texts})
        columns |= _separate_booleans(rest, booleans, numbers, texts)
        _add_error_cells(columns, [e for e in errors if e[1] in set(rest)], epoch, texts=texts)
    return columns


def _separate_booleans(
    which: list[int], booleans: dict[int, pl.Series], numbers: dict[int, pl.Series], texts: dict[int, pl.Series]
) -> Cells:
    """Separate booleans from numbers in the columns `which`, in one query, because there may be thousands."""
    given = {"b": booleans, "n": numbers, "t": texts}
    frame = pl.DataFrame([arrays[c].alias(f"{kind}{c}") for kind, arrays in given.items() for c in which])
    asked = []
    for c in which:
        coerced = pl.col(f"b{c}").is_not_null()
        is_boolean = pl.col(f"t{c}").is_in(["true", "false"]).fill_null(value=False)
        asked += [
            pl.when(coerced & is_boolean).then(pl.col(f"b{c}")).alias(f"b{c}"),
            pl.when(coerced & ~is_boolean).then(pl.col(f"n{c}")).alias(f"n{c}"),
        ]
    found = frame.select(asked)
    return {c: {"boolean": found[f"b{c}"], "number": found[f"n{c}"]} for c in which}


def _add_error_cells(
    columns: Cells, errors: list[tuple[int, int, str]], epoch: DateSystem, texts: dict[int, pl.Series] | None
) -> None:
    """Add the cells of the engine's error list to the arrays of their kinds.

    Args:
        columns: arrays to extend, by column and kind; changed in place.
        errors: cells as (index, column, detail); the detail contains Rust's debug form of the cell.
        epoch: date system of the workbook.
        texts: exact texts by column, or None if only blanks and NA words can occur (their debug form is exact).
    """
    found: dict[tuple[int, str], dict[int, Any]] = {}
    for index, column, detail in errors:
        kind, value = _parse_detail(detail, epoch)
        if kind == "text" and texts is not None:
            value = texts[column][index]
        found.setdefault((column, kind), {})[index] = value
    for (column, kind), cells in found.items():
        kinds = columns.setdefault(column, {})
        height = max(len(s) for s in kinds.values()) if kinds else len(texts[column]) if texts else max(cells) + 1
        values = kinds[kind].to_list() if kind in kinds else [None] * height
        for index, value in cells.items():
            values[index] = value
        kinds[kind] = pl.Series(values, dtype=VALUE_KINDS.get(kind, pl.String))


def _parse_detail(detail: str, epoch: DateSystem) -> tuple[str, Any]:
    """Parse kind and value of a cell from `Expected float but got 'DateTime(ExcelDateTime { value: 1.5, …`."""
    shown = detail.partition("got '")[2].removesuffix("'")
    name, _, rest = shown.partition("(")
    if name == "Error":
        code = rest.rstrip("')")
        return "error", _ERROR_VALUES.get(code, f"#{code.upper()}")
    if name == "DateTime" and (match := _DATE_DETAIL.search(rest)):
        return epoch.value(float(match[1]), elapsed=match[2] == "TimeDelta")
    quoted = _QUOTED.search(shown)
    text = quoted[1] if quoted else rest.rstrip("')")
    if name == "String":
        return "text", text
    return "unreadable", text
