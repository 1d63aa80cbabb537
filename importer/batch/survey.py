"""Reads the header of one sheet and the kinds of its cells, for the decision about a table that many sheets go to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.cells.facts import ColumnFacts
from importer.cells.text_forms import TYPES
from importer.contract.excel_options import with_excel
from importer.contract.loader import load_contract
from importer.inspection import read_sheet
from importer.plan.infer import infer_contract
from importer.plan.mixed import show_value
from importer.plan.model import choose_columns
from importer.plan.parse_texts import read_texts
from importer.reading.windows import hidden_columns
from importer.remote.local_copy import local_copy
from importer.stages.workspace import open_workspace

from .one_import import task_settings
from .readings.saved_sheet import save_sheet

if TYPE_CHECKING:
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings

    from .one_import import ImportTask


@dataclass(frozen=True)
class SurveyedColumn:
    """What one column of a sheet holds, as plain data; see `ColumnFacts`.

    Attributes:
        name: name of the column in the table.
        header: header text, or None.
        kinds: number of non-empty cells by kind.
        blank: number of texts that mean a missing value.
        integral: whether every number is whole.
        beyond_floats: whether a float does not hold all digits of some number.
        example: by kind the address and value of the first cell, such as `C7 "n/a"`.
        utc_days: number of instants at midnight UTC.
        padded: number of numbers that their formats fill up with zeros.
    """

    name: str
    header: str | None
    kinds: dict[str, int]
    blank: int
    integral: bool
    beyond_floats: bool
    example: dict[str, str]
    utc_days: int = 0
    padded: int = 0

    @property
    def facts(self) -> ColumnFacts:
        """The facts that decide the type of the column."""
        return ColumnFacts(
            self.kinds,
            self.blank,
            self.integral,
            beyond_floats=self.beyond_floats,
            utc_days=self.utc_days,
            padded=self.padded,
        )


@dataclass(frozen=True)
class SheetSurvey:
    """The columns of one sheet that would be loaded.

    Attributes:
        sheet: name of the sheet.
        columns: the columns, left to right.
        kept: bytes of what was kept for the import.
    """

    sheet: str
    columns: tuple[SurveyedColumn, ...]
    kept: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the survey as a dict that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> SheetSurvey:
        """Return the survey that `to_dict` made a dict of."""
        columns = tuple(SurveyedColumn(**column) for column in described["columns"])
        return cls(described["sheet"], columns, described["kept"])


def survey_sheet(task: ImportTask) -> SheetSurvey:
    """Read a sheet without a database, return what its columns hold, and keep what was read if the task says so.

    Raises:
        UsageError: an option is invalid.
        InputError: the workbook, the sheet, the header or the contract is refused.
    """
    settings = task_settings(task)
    if settings.contract is not None:
        contract = load_contract(settings.contract)
        settings = with_excel(settings, contract.excel, contract.labels)
    with local_copy(settings) as settings, open_workspace(settings) as (folder, pool):
        source, disputes = read_sheet(settings, pool, folder)
        columns, _ = choose_columns(source.header, settings.columns)
        if settings.hidden == "skip":
            hidden = set(hidden_columns(source.cut, source.facts))
            columns = [c for c in columns if c.index not in hidden]
        types = _types_of_forms(source, columns)
        types |= _types_of_texts(settings, source, columns) if settings.parse_texts else {}
        surveyed = tuple(_surveyed(source, c, types.get(c.name)) for c in columns)
        # What was disputed is read again by the import, which says why.
        kept = save_sheet(source, Path(task.reading), task.reading_bytes) if task.reading and not disputes else 0
        return SheetSurvey(source.sheet.name, surveyed, kept)


def _types_of_forms(source: SheetSource, columns: list[SheetColumn]) -> dict[str, str]:
    """Return the field types of the columns of a text file whose texts all have one form, by column name."""
    facts = {c.name: source.facts.get(c.index, ColumnFacts()) for c in columns}
    only_texts = {name: each for name, each in facts.items() if set(each.value_counts) == {"text"}}
    return {name: TYPES[each.form] for name, each in only_texts.items() if each.form in TYPES}


def _types_of_texts(settings: Settings, source: SheetSource, columns: list[SheetColumn]) -> dict[str, str]:
    """Return the field types of the columns whose texts are read as values, by column name.

    Raises:
        SheetError: the texts of a column have two meanings.
    """
    inferred = infer_contract(columns, source.facts, settings.mixed)
    found: dict[str, SheetColumn | None] = {c.name: c for c in columns}
    read, _ = read_texts(settings, source, inferred, found, keep_types=False)
    return {f.name: f.type for f, before in zip(read.fields, inferred.fields, strict=True) if f.type != before.type}


def _surveyed(source: SheetSource, column: SheetColumn, type_of_texts: str | None) -> SurveyedColumn:
    facts = source.facts.get(column.index, ColumnFacts())
    if type_of_texts is not None:
        kind = "number" if type_of_texts == "integer" else type_of_texts
        kinds = {k: n for k, n in facts.kinds.items() if k != "text"}
        kinds[kind] = kinds.get(kind, 0) + facts.kinds.get("text", 0) - facts.blank
        integral = facts.integral and type_of_texts != "number"
        beyond_floats = facts.beyond_floats or facts.form == "long"
        facts = replace(facts, kinds=kinds, blank=0, integral=integral, beyond_floats=beyond_floats)
    examples = {
        kind: f"{source.places.letter(column.index)}{source.places.row(row)} {show_value(value)}"
        for kind, cells in facts.examples.items()
        for row, value in cells[:1]
    }
    return SurveyedColumn(
        column.name,
        column.header,
        facts.kinds,
        facts.blank,
        facts.integral,
        facts.beyond_floats,
        examples,
        facts.utc_days,
        facts.padded,
    )
