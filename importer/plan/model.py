"""Owns the plan of a load, as sent to the workers: which sheet column fills which table column, by which rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.contract.known_keys import nearest
from importer.errors import ContractError, SheetError
from importer.excel.addresses import MAX_CHARACTERS, column_index
from importer.postgres.encoding import UTF8, Encoding
from importer.reading.header import REJECT_COLUMNS, Header, SheetColumn
from importer.table.labels import collapse_spaces, comparable_text, to_identifier

from .mismatch import drift_error

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.postgres.types import PgType
    from importer.settings import ErrorCells, OnDuplicate
    from importer.verification.checksum_sql import TextHash


@dataclass(frozen=True)
class ColumnPlan:
    """A field, its sheet column (None if the sheet has none), the type of its table column, and its missing values."""

    field: Field
    column: SheetColumn | None
    pg_type: PgType
    missing: tuple[str, ...]


@dataclass(frozen=True)
class LoadPlan:
    """What every worker needs to know about a load.

    Attributes:
        columns: planned columns, in the order of the contract's fields.
        ignored: sheet columns that are left out on purpose.
        keys: pairs of rule and field names; each key must be unique over the sheet.
        timezone: time zone of datetimes that go into a `timestamptz` column.
        error_cells: `reject`, or `null` to treat error cells as missing.
        key: names of the fields that identify a row: the upsert's key, or the primary key.
        on_duplicate: which of several rows of the sheet with the same `key` is loaded.
        lineage: whether the origin of each row is written with it.
        text_hash: the server's hash function for texts, used by verification.
        encoding: encoding of the database, which may not hold every character.
        max_text: most characters of a text, unless `maxLength` of its field is larger.
        added: names of the fields whose columns are added to the existing table.
        texts: notes on what the texts of columns are.
    """

    columns: tuple[ColumnPlan, ...]
    ignored: tuple[SheetColumn, ...]
    keys: tuple[tuple[str, tuple[str, ...]], ...]
    timezone: str
    error_cells: ErrorCells
    key: tuple[str, ...] = ()
    on_duplicate: OnDuplicate = "reject"
    lineage: bool = False
    text_hash: TextHash = "hashtext"
    encoding: Encoding = UTF8
    max_text: int = MAX_CHARACTERS
    added: tuple[str, ...] = ()
    texts: tuple[str, ...] = field(default=(), compare=False)


def choose_columns(header: Header, wanted: tuple[str, ...] | None) -> tuple[list[SheetColumn], list[SheetColumn]]:
    """Return the sheet columns to load, and those to leave out.

    Args:
        header: the sheet's header.
        wanted: header texts, column names, letters or ranges of letters (`A-K`); None for all columns.

    Raises:
        SheetError: the sheet does not have a wanted column.
    """
    columns = list(header.columns)
    names = {c.name for c in columns}
    extra = set(REJECT_COLUMNS) if set(REJECT_COLUMNS) <= {c.header for c in columns} else set()
    if wanted is None:
        # A fixed rejects workbook: the two columns that the rejects file adds are not data.
        return [c for c in columns if c.header not in extra], [c for c in columns if c.header in extra]
    chosen = []
    for word in wanted:
        found = find_column(columns, word)
        if found is None and (between := _columns_between(columns, word)):
            chosen += between
            continue
        if found is None:
            near = nearest(word, [*(c.header for c in columns if c.header), *names])
            listed = f"columns: {', '.join(sorted(names))}"
            raise SheetError(f"no column {word!r}", choice=f"did you mean {near!r}? {listed}" if near else listed)
        chosen.append(found)
    return [c for c in columns if c in chosen], [c for c in columns if c not in chosen]


def _columns_between(columns: list[SheetColumn], word: str) -> list[SheetColumn]:
    """Return the columns of a range of letters, such as `A-K` or `K:A`; none if the word is no such range."""
    match = re.fullmatch(r"([A-Z]{1,3})\s*[-:\N{EN DASH}]\s*([A-Z]{1,3})", word.strip())
    first, last = sorted(map(column_index, match.groups())) if match else (0, -1)
    return [c for c in columns if first <= c.index <= last]


def find_column(columns: list[SheetColumn], word: str) -> SheetColumn | None:
    """Return the column that a word names: by header text, then name, then normalised name, then letters."""
    tests: tuple[Callable[[SheetColumn], bool], ...] = (
        lambda c: c.header is not None and c.header == collapse_spaces(word),
        lambda c: c.name == word,
        lambda c: bool(to_identifier(word)) and to_identifier(c.header or "") == to_identifier(word),
        lambda c: word.isalpha() and len(word) <= 3 and word.isupper() and c.index == column_index(word),  # noqa: PLR2004 - XFD
    )
    return next((c for test in tests for c in columns if test(c)), None)


def match_fields(
    contract: Contract, columns: list[SheetColumn], *, lenient: bool, may_lack: Container[str] = ()
) -> tuple[dict[str, SheetColumn | None], list[SheetColumn]]:
    """Return the sheet column of each field (by title, then name, then normalised name), and the columns left over.

    Args:
        contract: the contract with the fields.
        columns: sheet columns to load.
        lenient: whether to leave out extra columns instead of refusing them (the user chose the columns).
        may_lack: names of fields for which the sheet needs no column.

    Raises:
        ContractError: `fieldsMatch` forbids a field without a column, a column without a field, or the order.
    """
    found = field_columns(contract.fields, columns)
    taken = [c for c in found.values() if c is not None]
    left = [c for c in columns if c not in taken]
    missing = [f for f in contract.fields if found[f.name] is None and f.name not in may_lack]
    if contract.fields and not taken:
        listed = ", ".join(repr(c.header or c.name) for c in columns)
        raise ContractError(
            "missing-label: the sheet has none of the contract's columns", choice=f"its columns: {listed}"
        )
    absent = [] if contract.fields_match in {"superset", "partial"} else missing
    extra = [] if contract.fields_match in {"subset", "partial"} or lenient else left
    if absent or extra:
        raise drift_error(absent, extra, left, columns)
    _check_order(contract, found)
    return found, left


def field_columns(fields: tuple[Field, ...], columns: list[SheetColumn]) -> dict[str, SheetColumn | None]:
    """Return the column of each field; a better match of one field takes precedence over a worse one of another."""
    tests: tuple[Callable[[Field, SheetColumn], bool], ...] = (
        lambda f, c: f.title is not None and c.header == collapse_spaces(f.title),
        lambda f, c: f.title is not None and comparable_text(c.header or "") == comparable_text(f.title),
        lambda f, c: c.header == f.name,
        lambda f, c: c.name == f.name,
        lambda f, c: bool(to_identifier(f.name)) and to_identifier(c.header or "") == to_identifier(f.name),
    )
    found: dict[str, SheetColumn | None] = {f.name: None for f in fields}
    left = list(columns)
    for test in tests:
        for f in fields:
            column = None if found[f.name] else next((c for c in left if test(f, c)), None)
            if column is not None:
                found[f.name] = column
                left.remove(column)
    return found


def _check_order(contract: Contract, found: dict[str, SheetColumn | None]) -> None:
    if contract.fields_match != "exact":
        return
    indices = [c.index for c in found.values() if c is not None]
    if indices != sorted(indices):
        raise ContractError(
            "incorrect-label: the sheet's columns are not in the order of the fields",
            choice="set fieldsMatch to 'equal'",
        )


def check_keys(contract: Contract, names: Iterable[str]) -> None:
    """Raise ContractError if a key uses a field that will not be loaded."""
    loaded = set(names)
    for _, key in contract.all_keys():
        for name in key:
            if name not in loaded:
                raise ContractError(f"key field {name!r} is not loaded", choice="add its column, or drop the key")
