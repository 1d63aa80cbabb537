"""Opens a text file as a workbook of one sheet: decides how it is written, and says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from importer.errors import SheetError, WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS
from importer.excel.workbook import Sheet, Workbook, hash_file
from importer.text_files import TEXT_SUFFIXES, WORKBOOK_SUFFIXES, TextDialect

from .dialect import NAMES, FoundDialect, find_dialect
from .encodings import find_encoding
from .transcode import has_end_mark, stream_utf8

if TYPE_CHECKING:
    from pathlib import Path

#: Name of the only sheet. Not that of the file: the same content under another name is the same import.
SHEET = "CSV"
#: Bytes at the start that decide about delimiter and width.
_SAMPLE_BYTES = 1 << 20


def open_text(path: Path, encoding: str | None, delimiter: str | None, most_columns: int = MAX_COLUMNS) -> Workbook:
    """Open a text file: decide its encoding and its dialect, and hash it.

    Args:
        path: the file.
        encoding: its encoding, if somebody said it.
        delimiter: its delimiter, if somebody said it.
        most_columns: most columns with a text in the first lines.

    Raises:
        SheetError: it has no rows, or more columns.
        WorkbookRefused: the text could be read in several ways, or not at all.
    """
    stat = path.stat()
    # Both read all bytes, most of the time without the lock of the interpreter.
    with ThreadPoolExecutor(1) as beside:
        hashed = beside.submit(hash_file, path)
        found = find_encoding(path, encoding)
    blocks = stream_utf8(path, found.name, found.skip, checked=found.checked)
    start = next(blocks, b"")
    sample, complete = start[:_SAMPLE_BYTES], len(start) <= _SAMPLE_BYTES and not next(blocks, b"")
    if complete and not start.strip():
        raise SheetError("the file has no rows", place=path.name, choice="name another file")
    tabs = path.suffix.lower() in {".tsv", ".tab"}
    dialect = find_dialect(sample, path.name, delimiter, tabs=tabs, complete=complete, most=most_columns)
    if dialect.width == 1:
        _refuse_message(path)
    skip = found.skip + len(sample[: dialect.skip].decode().encode(found.name))
    quotes = ", quoted by '\"'" if b'"' in sample else ""
    ended = "Ctrl-Z at the end is left out: DOS marks the end of a text by it" if has_end_mark(path, found.name) else ""
    return Workbook(
        path=path,
        sha256=hashed.result(),
        size=stat.st_size,
        sheets=(Sheet(SHEET, "worksheet", "visible", ""),),
        epoch_1904=False,
        recalculate_on_load=False,
        shared_strings=None,
        styles=None,
        dialect=TextDialect(
            found.name, dialect.delimiter, dialect.eol, skip, 2 if dialect.skip else 1, dialect.width,
            checked=found.checked, modified=stat.st_mtime_ns,
        ),
        notes=(f"read as text: {found.note}, {_columns(dialect)}{quotes}", *filter(None, [dialect.note, ended])),
    )  # fmt: skip


def _refuse_message(path: Path) -> None:
    """Refuse text of one column with the name of a workbook: a message of a server, or a pointer to the file."""
    if path.suffix.lower() in WORKBOOK_SUFFIXES and path.suffix.lower() not in TEXT_SUFFIXES:
        raise WorkbookRefused(
            "the file is plain text without columns, with the name of a workbook", place=path.name,
            choice="name it .csv if it is a table of one column",
        )  # fmt: skip


def _columns(dialect: FoundDialect) -> str:
    name = NAMES.get(dialect.delimiter, repr(dialect.delimiter.decode()))
    return "one column" if dialect.width == 1 else f"separated by {name}"
