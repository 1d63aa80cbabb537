"""Reads and judges a sheet in the test's own process, without a database, and looks at what every cell became."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells import spool
from importer.cells.field import Field
from importer.cells.frame import ROW
from importer.contract.loader import parse_contract
from importer.contract.model import Contract, dump_contract
from importer.plan.infer import infer_contract
from importer.plan.model import LoadPlan, match_fields
from importer.plan.target import Target, plan_columns
from importer.runtime.progress import Clock
from importer.settings import Settings
from importer.stages.read import read_source
from importer.validation.check_window import CheckedWindow, check_rows
from importer.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.randomsheets import Cell, Sheet

    from importer.reading.sheet_source import SheetSource

ReadCells = dict[tuple[int, int], tuple[str, Any]]


@contextmanager
def reading(path: Path, **options: Any) -> Iterator[SheetSource]:
    """A sheet read in this process."""
    settings = Settings(workbook=path, workers=0, **options)
    with tempfile.TemporaryDirectory() as name, Pool(0, settings.limits, Path(name) / "log") as pool:
        yield read_source(settings, pool, Path(name), Clock())


def read_cells(source: SheetSource) -> ReadCells:
    """Every cell as (kind, value) by (row, column); fails when a cell has two kinds, or a row occurs twice."""
    found: ReadCells = {}
    for window in source.windows:
        frame = spool.read(window.path)
        assert frame[ROW].is_unique().all()
        assert frame[ROW].is_sorted()
        for line in frame.iter_rows(named=True):
            for name, value in line.items():
                if value is None or name.startswith("_"):
                    continue
                column, kind = name.split(".")
                address = (line[ROW], int(column))
                assert address not in found, f"{address} is {found[address]} and {kind}"
                found[address] = (kind, value)
    return found


@dataclass(frozen=True)
class Judged:
    """What became of a sheet: the contract used, and the frames of all windows together."""

    contract: Contract
    accepted: list[dict[str, Any]]
    rejected: set[int]
    errors: set[tuple[int, int]]
    counts: dict[int, Any]


def judge(source: SheetSource, how: str) -> Judged:
    """The sheet judged with inference (`inferred`), its suggested contract (`suggested`), or `strings` alone."""
    columns = list(source.header.columns)
    contract = infer_contract(columns, source.facts)
    if how == "suggested":
        contract = parse_contract(dump_contract(contract))
    if how == "strings":
        contract = Contract(tuple(Field(c.name, "string", title=c.header) for c in columns))
    found, left = match_fields(contract, columns, lenient=False)
    plan = LoadPlan(plan_columns(contract, Target("public", "t", None), found, {}), tuple(left), (), "UTC", "reject")
    checked = [_check(source, window.path, plan) for window in source.windows if window.rows]
    counts: dict[int, Any] = {}
    for part in checked:
        for column, count in part.counts.items():
            counts[column] = count if column not in counts else counts[column] + count
    return Judged(
        contract,
        accepted=[row for part in checked for row in part.accepted.iter_rows(named=True)],
        rejected={row for part in checked for row in (part.rejected[ROW] if len(part.rejected) else [])},
        errors={(row, column) for part in checked for row, column in part.errors.select(ROW, "column").iter_rows()},
        counts=counts,
    )


def _check(source: SheetSource, path: Path, plan: LoadPlan) -> CheckedWindow:
    return check_rows(source.data.of(spool.read(path)), plan, [])


def same_read(cell: Cell, kind: str, value: Any) -> bool:
    """Whether what was read is the cell."""
    if cell.kind != kind or cell.value is None:
        return cell.kind == kind
    if kind == "number":
        return repr(float(value)) == repr(float(cell.value))
    return type(value) is type(cell.value) and value == cell.value


def same_loaded(cell: Cell, value: Any) -> bool:
    """Whether a table's value is the cell; numbers and dates in a text column must read back as the same ones."""
    if cell.kind == "text":
        return value == (cell.value or None)
    if isinstance(value, str):
        return _from_text(cell.kind, value) == cell.value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if cell.kind == "time" and isinstance(value, timedelta):
        value = (datetime.min + value).time()
    return (
        type(value) is type(cell.value) and value == cell.value if cell.kind != "number" else float(value) == cell.value
    )


def _from_text(kind: str, text: str) -> Any:
    match kind:
        case "number":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text]
        case "datetime":
            return datetime.fromisoformat(text)
        case "time":
            return time.fromisoformat(text)
        case "duration":
            sign, hours, minutes, seconds = re.fullmatch(r"(-?)(\d+):(\d\d):(\d\d(?:\.\d{3})?)", text).groups()
            size = timedelta(hours=int(hours), minutes=int(minutes), milliseconds=round(float(seconds) * 1000))
            return -size if sign else size
    raise AssertionError(kind)


def check_read(sheet: Sheet, source: SheetSource) -> None:
    """Fail with the guilty cell unless every cell of the sheet was read as it is, and none besides."""
    found = {address: cell for address, cell in read_cells(source).items() if address[0] != sheet.header_row}
    for address, cell in sheet.cells.items():
        assert address in found, f"{source.address(*address)} {cell} was not read"
        assert same_read(cell, *found[address]), f"{source.address(*address)} {cell} was read as {found[address]}"
    assert found.keys() == sheet.cells.keys()


def check_judged(sheet: Sheet, source: SheetSource, judged: Judged) -> None:
    """Fail with the guilty cell unless every cell is in an accepted row with its value, or in a rejected row."""
    assert sheet.bad_rows() == judged.rejected
    assert {row[ROW] for row in judged.accepted} == sheet.data_rows - judged.rejected
    names = {c.index: c.name for c in source.header.columns}
    loaded = {row[ROW]: row for row in judged.accepted}
    for (row, column), cell in sheet.cells.items():
        if row in judged.rejected or row not in sheet.data_rows:
            continue
        value = loaded[row][names[column]]
        assert same_loaded(cell, value), f"{source.address(row, column)} {cell} was loaded as {value!r}"
    bad = {
        address
        for address, cell in sheet.cells.items()
        if cell.kind in {"error", "formula", "unreadable"} or (cell.kind == "text" and "\0" in cell.value)
    }
    assert bad == judged.errors
    for column, count in judged.counts.items():
        assert count.balanced
        assert count.cells == sum(c == column for r, c in sheet.cells if r in sheet.data_rows)


def as_frame(source: SheetSource) -> pl.DataFrame:
    """All cells as rows of address, kind and exact text, in the order of the sheet."""
    lines = [(row, column, kind, repr(value)) for (row, column), (kind, value) in sorted(read_cells(source).items())]
    return pl.DataFrame(lines, schema=["row", "column", "kind", "value"], orient="row")
