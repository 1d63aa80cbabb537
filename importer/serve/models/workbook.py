"""Defines the answers about workbooks: uploads and inspections."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class UploadInfo(BaseModel):
    """An uploaded workbook; `size` is in bytes."""

    model_config = ConfigDict(title="UploadWords")

    id: str
    name: str
    size: int
    expires_at: str


class UploadAnswer(BaseModel):
    """The workbook that was uploaded."""

    upload: UploadInfo


class WorkbookInfo(BaseModel):
    """A workbook; `size` is in bytes."""

    model_config = ConfigDict(title="Workbook")

    name: str
    sha256: str
    size: int


class SheetInfo(BaseModel):
    """A sheet of a workbook."""

    model_config = ConfigDict(title="Sheet")

    name: str
    kind: str
    visibility: str


class MixedCell(BaseModel):
    """A cell that is not of the most frequent kind of its column, with its value as people read it."""

    address: str
    value: str


class MixedKinds(BaseModel):
    """What a column holds whose kinds mix, in words, and the first of its `others` that are not of `main_type`."""

    what: str
    main_type: str
    others: int
    cells: list[MixedCell]


class SheetColumnInfo(BaseModel):
    """A column of a sheet; `type` is the PostgreSQL type inferred from its cells, `kinds` counts cells by kind.

    `proposal` says what its texts are, if they are values: keys of a field of Table Schema, and `what` in words.
    `first_value` is its first value as it will be loaded.
    """

    model_config = ConfigDict(title="SheetColumn")

    letter: str
    header: str | None
    name: str
    type: str | None
    cells: int
    kinds: dict[str, int]
    proposal: dict[str, Any] | None = None
    first_value: str | None = None
    mixed: MixedKinds | None = None


class SampleRow(BaseModel):
    """A row with the text of its cells by column letter; `row` is the row number in the sheet."""

    row: int
    cells: dict[str, str]


class Problem(BaseModel):
    """A cell that would be rejected."""

    address: str
    kind: str
    raw: str


class FooterRowInfo(BaseModel):
    """A row below or between the data that is no data, or may be none: totals or remarks."""

    model_config = ConfigDict(title="FooterRow")

    row: int
    reason: str
    left_out: bool


class ExcelTableInfo(BaseModel):
    """An Excel table of the sheet, with its header and totals rows."""

    model_config = ConfigDict(title="ExcelTable")

    name: str
    range: str


class NamedPiece(BaseModel):
    """A piece of the workbook with a name: an Excel table, or a range with a defined name."""

    name: str
    sheet: str
    range: str


class SheetTable(BaseModel):
    """Where the table is: its range, its header rows (0: none), rows that are no data, why the header is a guess.

    `other_tables` has the ranges of the sheet's other tables.
    """

    range: str | None
    header_rows: list[int]
    footer: list[FooterRowInfo]
    doubt: str | None
    other_tables: list[str]
    excel_tables: list[ExcelTableInfo]


class OriginInfo(BaseModel):
    """Where the rows of a rejects workbook came from."""

    model_config = ConfigDict(title="Origin")

    workbook: str
    table: str


class InspectedSheet(BaseModel):
    """What a mapping needs to know of a sheet: its columns, and the contract that they suggest."""

    columns: list[SheetColumnInfo]
    contract: dict[str, Any]


class InspectAnswer(InspectedSheet):
    """The content of a sheet, as a child reports it."""

    workbook: WorkbookInfo
    sheets: list[SheetInfo]
    sheet: str
    header_row: int
    header_rows: list[int]
    table: SheetTable
    excel_tables: list[NamedPiece]
    defined_names: list[NamedPiece]
    rows: dict[str, int]
    sample: list[SampleRow]
    last_rows: list[SampleRow]
    problems: list[Problem]
    notes: list[str]
    suggested_table: str
    origin: OriginInfo | None


class InspectionInfo(InspectAnswer):
    """The content of a sheet; `suggested_table` is a table name derived from the workbook's name."""

    model_config = ConfigDict(title="Inspection")

    upload: UploadInfo
