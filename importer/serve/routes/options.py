"""Defines the options of requests: names and allowed values, the same in a query, a form and a JSON body."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from importer.errors import UsageError
from importer.option_values import parse_types


def _check_text(text: str) -> str:
    """Return the text.

    Raises:
        ValueError: a database or a file cannot store it.
    """
    if "\0" in text:
        raise ValueError("contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text") from None
    return text


def _join_list(value: Any) -> Any:
    """Return a list from a JSON body as the comma-separated text of a form; other values unchanged."""
    if isinstance(value, list) and all(isinstance(v, str) and "," not in v for v in value):
        return ",".join(value)
    return value


def _int_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _dict_to_json(value: Any) -> Any:
    """Return an object from a JSON body as the JSON text of a form; other values unchanged."""
    return json.dumps(value) if isinstance(value, dict) else value


def _check_mapping(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(v is None or isinstance(v, str) for v in found.values()):
        raise ValueError('must be a JSON object of column letters and names, as in {"A": "name"}')
    for name in found.values():
        _check_text(name or "")
    return text


def _check_optional_text(value: str | None) -> str | None:
    return None if value is None else _check_text(value)


def _check_types(text: str | None) -> str | None:
    try:
        parse_types(text or "")
    except UsageError as exc:
        raise ValueError(exc.fact) from None
    return _check_optional_text(text)


def _join_pairs(value: Any) -> Any:
    """Return an object from a JSON body as the `name=type,…` of a form; other values unchanged."""
    if isinstance(value, dict) and all(isinstance(kind, str) for kind in value.values()):
        return ",".join(f"{name}={kind}" for name, kind in value.items())
    return value


class InspectOptions(BaseModel):
    """The options of `/inspect`."""

    model_config = ConfigDict(extra="forbid", validate_default=False)

    upload: Annotated[
        str | None, Field(pattern="^[0-9a-f]{32}$", description="id of an upload, in place of a file")
    ] = None
    sheet: Annotated[
        str | None, AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=255, description="name of the sheet; default: the first visible one with rows"),
    ] = None  # fmt: skip
    range: Annotated[
        str | None, AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=600, description="range of cells to read (`A4:H205`, `Sheet1!A4:H205`), or a "
              "defined name; default: the whole sheet"),
    ] = None  # fmt: skip
    excel_table: Annotated[
        str | None, AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=255, description="name of an Excel table to read"),
    ] = None  # fmt: skip
    header_row: Annotated[
        str | None, BeforeValidator(_int_to_text),
        Field(pattern="^[0-9]{1,7}(-[0-9]{1,7})?$", description="header row, or rows (`2-4`); 0: none; default: found"),
    ] = None  # fmt: skip
    rows: Annotated[
        str | None, Field(pattern="^[0-9]{1,7}-[0-9]{1,7}$", description="first and last data row; default: all")
    ] = None
    last_row: Annotated[int | None, Field(ge=1, le=1_048_576, description="last data row; default: found")] = None
    until_blank: Annotated[bool, Field(description="end the data before the first blank row")] = False
    footer: Annotated[
        Literal["keep", "skip", "error"] | None,
        Field(description="totals and remarks; default: those that are certain are not loaded"),
    ] = None
    encoding: Annotated[
        str | None, Field(pattern="^[A-Za-z0-9_.-]{1,40}$", description="encoding of a text file; default: found")
    ] = None
    delimiter: Annotated[
        str | None, AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=9, description="between the fields of a text file: a character, or `comma`, "
              "`semicolon`, `tab`, `pipe`; default: found"),
    ] = None  # fmt: skip
    merged: Annotated[
        Literal["first", "fill"],
        Field(description="what merged cells in the data hold: only the first one its value, or (`fill`) each of them"),
    ] = "first"
    keep_names: Annotated[bool, Field(description="use header texts as column names unchanged")] = False
    hidden: Annotated[
        Literal["include", "skip", "error"], Field(description="what to do with hidden rows and columns")
    ] = "include"
    types: Annotated[
        str | None, BeforeValidator(_join_pairs), AfterValidator(_check_types),
        Field(min_length=1, max_length=100_000, description="types of columns, as `amount=number,price=numeric(12,2)`"),
    ] = None  # fmt: skip
    null: Annotated[
        str | None, BeforeValidator(_join_list), AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=20_000, description="texts that mean a missing value, separated by commas"),
    ] = None  # fmt: skip
    mixed: Annotated[
        Literal["text", "reject"], Field(description="what a column becomes whose kinds mix: `text`, or the kind of "
                                         "at least 95 % of its cells, with rejects of the others")
    ] = "text"  # fmt: skip
    parse_texts: Annotated[
        bool, Field(description="load columns whose texts are all numbers, dates, times or booleans as such")
    ] = False
    date_order: Annotated[
        Literal["dmy", "mdy", "ymd"] | None, Field(description="order of day and month in texts, where none decides")
    ] = None
    decimal: Annotated[
        Literal["point", "comma"] | None, Field(description="decimal character in texts, where none decides")
    ] = None
    engine: Annotated[Literal["builtin", "calamine"], Field(description="what reads the cells")] = "builtin"

    def given(self) -> dict[str, Any]:
        """Return the options for the importer that differ from their defaults; not those about the request itself."""
        return self.model_dump(exclude_defaults=True, exclude={"upload", "wait", "contract", "mapping"})


class LoadOptions(InspectOptions):
    """The options of `/check` and `/upload`."""

    table: Annotated[
        str | None, AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=300, description="`table` or `schema.table`; default: the contract's, else "
              "derived from the workbook's name"),
    ] = None  # fmt: skip
    mode: Annotated[
        Literal["append", "create", "replace", "upsert"], Field(description="what happens to rows already in the table")
    ] = "append"
    key: Annotated[
        str | None, BeforeValidator(_join_list), AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=20_000, description="columns of an upsert's key, separated by commas"),
    ] = None  # fmt: skip
    on_duplicate: Annotated[
        Literal["reject", "first", "last"], Field(description="what to do with rows that repeat a key in the sheet")
    ] = "reject"
    max_rejects: Annotated[
        str | None, BeforeValidator(_int_to_text),
        Field(pattern=r"^([0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,6})?%|100%)$", description="reject budget, as a number "
              "or a percentage (`1%`): with more rejected rows, nothing is loaded"),
    ] = None  # fmt: skip
    columns: Annotated[
        str | None, BeforeValidator(_join_list), AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=100_000, description="columns to load, by header, name, letter or range of "
              "letters (`A-K`), separated by commas; the others are ignored"),
    ] = None  # fmt: skip
    contract: Annotated[
        str | None, BeforeValidator(_dict_to_json), AfterValidator(_check_optional_text),
        Field(min_length=1, max_length=4_000_000, description="a name from `/contracts`, or a descriptor as JSON"),
    ] = None  # fmt: skip
    mapping: Annotated[
        str | None, BeforeValidator(_dict_to_json),
        AfterValidator(lambda text: None if text is None else _check_mapping(text)),
        Field(min_length=1, max_length=1_000_000, description='column letters and the table columns they fill, as '
              'JSON: `{"A": "name"}`; other columns are not loaded'),
    ] = None  # fmt: skip
    method: Annotated[Literal["sequential", "concurrent", "batch"], Field(description="how rows are written")] = "batch"
    error_cells: Annotated[Literal["reject", "null"], Field(description="what error cells such as #N/A mean")] = (
        "reject"
    )
    drift: Annotated[
        Literal["refuse", "add-columns", "ignore-extra"],
        Field(description="what to do with columns that the contract or the table does not have"),
    ] = "refuse"
    timezone: Annotated[
        str | None,
        Field(pattern="^[A-Za-z0-9_+/-]{1,64}$", description="time zone of values for timestamptz; default: UTC"),
    ] = None  # fmt: skip
    max_text: Annotated[int, Field(ge=1, le=250_000_000, description="most characters of a text; longer: a reject")] = (
        32_767
    )
    lineage: Annotated[bool, Field(description="fill columns that say where each row came from")] = False
    again: Annotated[bool, Field(description="load again what was already imported")] = False
    wait: Annotated[bool, Field(description="respond when the run has ended; false: at once")] = True

    def parse_mapping(self) -> dict[str, str] | None:
        """Return table columns by column letter, without columns that are not loaded; None without a mapping."""
        if self.mapping is None:
            return None
        return {letter: name for letter, name in json.loads(self.mapping).items() if name}
