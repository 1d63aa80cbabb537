"""Owns the options of requests: their names, what they may be, and how query, form and JSON come to the same."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _clean(text: str) -> str:
    """A text that a database and a file can hold."""
    if "\0" in text:
        raise ValueError("holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text") from None
    return text


def _joined(value: Any) -> Any:
    """A list of a JSON body as the text that a form would have."""
    if isinstance(value, list) and all(isinstance(v, str) and "," not in v for v in value):
        return ",".join(value)
    return value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _encoded(value: Any) -> Any:
    """An object of a JSON body as the text that a form would have."""
    return json.dumps(value) if isinstance(value, dict) else value


def _mapping(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(v is None or isinstance(v, str) for v in found.values()):
        raise ValueError('is an object of column letters and names, as in {"A": "name"}')
    for name in found.values():
        _clean(name or "")
    return text


def _checked_text(value: str | None) -> str | None:
    return None if value is None else _clean(value)


class InspectOptions(BaseModel):
    """What `/inspect` takes."""

    model_config = ConfigDict(extra="forbid", validate_default=False)

    upload: Annotated[str | None, Field(pattern="^[0-9a-f]{32}$", description="id of an upload, instead of a file")] = (
        None
    )
    sheet: Annotated[
        str | None, AfterValidator(_checked_text),
        Field(min_length=1, max_length=255, description="default: the first visible worksheet"),
    ] = None  # fmt: skip
    header_row: Annotated[
        str | None, BeforeValidator(_plain),
        Field(pattern="^[0-9]{1,7}(-[0-9]{1,7})?$", description="a row, or rows (`2-4`); 0: none; default: found"),
    ] = None  # fmt: skip
    keep_names: Annotated[bool, Field(description="take header texts as column names as they are")] = False
    hidden: Annotated[
        Literal["include", "skip", "error"], Field(description="what to do with hidden rows and columns")
    ] = "include"

    def given(self) -> dict[str, Any]:
        """The options for the importer: those that are not about the request itself."""
        return self.model_dump(exclude_defaults=True, exclude={"upload", "wait", "contract", "mapping"})


class LoadOptions(InspectOptions):
    """What `/check` and `/upload` take."""

    table: Annotated[
        str | None, AfterValidator(_checked_text),
        Field(min_length=1, max_length=300, description="`table`, `schema.table`; default: the contract's, else made "
              "of the workbook's name"),
    ] = None  # fmt: skip
    mode: Annotated[
        Literal["append", "create", "replace", "upsert"], Field(description="what happens to the table's rows")
    ] = "append"
    key: Annotated[
        str | None, BeforeValidator(_joined), AfterValidator(_checked_text),
        Field(min_length=1, max_length=20_000, description="columns of an upsert's key, with commas between"),
    ] = None  # fmt: skip
    on_duplicate: Annotated[
        Literal["reject", "first", "last"], Field(description="rows that repeat a key in the sheet")
    ] = "reject"
    max_rejects: Annotated[
        str | None, BeforeValidator(_plain),
        Field(pattern=r"^([0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,6})?%|100%)$", description="more rejected rows load nothing: "
              "a number, or `1%`"),
    ] = None  # fmt: skip
    columns: Annotated[
        str | None, BeforeValidator(_joined), AfterValidator(_checked_text),
        Field(min_length=1, max_length=100_000, description="columns to load, by header, name or letter, with commas "
              "between; the others are ignored"),
    ] = None  # fmt: skip
    contract: Annotated[
        str | None, BeforeValidator(_encoded), AfterValidator(_checked_text),
        Field(min_length=1, max_length=4_000_000, description="name of one of `/contracts`, or a descriptor as JSON"),
    ] = None  # fmt: skip
    mapping: Annotated[
        str | None, BeforeValidator(_encoded), AfterValidator(lambda text: None if text is None else _mapping(text)),
        Field(min_length=1, max_length=1_000_000, description='column letters and what they fill, as JSON: '
              '`{"A": "name"}`; others are not loaded'),
    ] = None  # fmt: skip
    method: Annotated[Literal["sequential", "concurrent", "batch"], Field(description="how rows are written")] = "batch"
    error_cells: Annotated[Literal["reject", "null"], Field(description="what #N/A and the like mean")] = "reject"
    timezone: Annotated[
        str | None,
        Field(pattern="^[A-Za-z0-9_+/-]{1,64}$", description="of dates and times for timestamptz; default: UTC"),
    ] = None  # fmt: skip
    lineage: Annotated[bool, Field(description="fill columns that tell where each row came from")] = False
    again: Annotated[bool, Field(description="load once more what was imported already")] = False
    wait: Annotated[bool, Field(description="answer when it is done; false: at once")] = True

    def chosen_mapping(self) -> dict[str, str] | None:
        """The mapping without columns that are not loaded; None where there is none."""
        if self.mapping is None:
            return None
        return {letter: name for letter, name in json.loads(self.mapping).items() if name}
