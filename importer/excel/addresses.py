"""Converts between column indexes and column letters, as in `A1`; refuses more columns than a table can have."""

from __future__ import annotations

from importer.errors import SheetError

#: What a sheet can hold, by Microsoft's "Excel specifications and limits": rows, columns (`XFD` is the last), the
#: letters of a column, and the characters of a cell.
MAX_ROWS, MAX_COLUMNS, MAX_LETTERS, MAX_CHARACTERS = 1_048_576, 16_384, 3, 32_767


def refuse_columns(count: int, most: int) -> None:
    """Refuse a sheet with more than so many columns.

    Raises:
        SheetError: it has more.
    """
    if count > most:
        raise SheetError(
            f"the header has {count:,} columns, a table can have {most:,}",
            choice=f"read a piece of the sheet: --range A1:{column_letters(most - 1)}1000, for example",
        )


def column_index(letters: str) -> int:
    """Return the 0-based index of a column: `A` is 0, `XFD` is 16383."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - 64
    return index - 1


def column_letters(index: int) -> str:
    """Return the letters of a 0-based column index."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
