"""Owns the options that say how a text file (CSV, TSV) is written, what was decided about one, and names of files."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from .errors import UsageError

#: Endings of the names of files that are read. What a file is, its content says.
TEXT_SUFFIXES = (".csv", ".tsv")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xltx", ".xltm", ".ods", ".xls", ".xlsb", *TEXT_SUFFIXES)
#: Words for delimiters, besides the characters themselves.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "\\t": "\t"}


@dataclass(frozen=True, kw_only=True)
class TextFileOptions:
    """How a text file is written, as far as somebody decided that; the rest is found."""

    #: Encoding, by a name that Python knows; None: find it.
    encoding: str | None = None
    #: Character between the fields of a line, or its name (`tab`); None: find it.
    delimiter: str | None = None

    def check_text_file(self) -> None:
        """Check these options.

        Raises:
            UsageError: a value is invalid.
        """
        if self.encoding is not None:
            normalize_encoding(self.encoding)
        if self.delimiter is not None:
            normalize_delimiter(self.delimiter)


@dataclass(frozen=True)
class TextDialect:
    """How a text file is written.

    Attributes:
        encoding: Python's name of the encoding.
        delimiter: byte between fields.
        eol: byte at the end of a line: a line feed, perhaps after a carriage return, or a carriage return alone.
        skip: number of bytes before the first line that is read: a byte order mark, a line `sep=;`.
        first_line: number of that line, 1-based.
        width: number of fields of a line of the table.
        checked: whether all bytes were found to be in that encoding, which is UTF-8.
        modified: when the file was last written to before it was hashed, in nanoseconds since 1970; None: not known.
    """

    encoding: str
    delimiter: bytes
    eol: bytes
    skip: int
    first_line: int
    width: int
    checked: bool = False
    modified: int | None = None


def normalize_encoding(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        UsageError: there is no such encoding of texts.
    """
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except (LookupError, ValueError):
        found = None
    if found is None or found.name in {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}:
        raise UsageError(f"no encoding {name!r}", choice="utf-8, windows-1252, iso-8859-15, utf-16… (--encoding)")
    return "utf-8" if found.name == "utf-8-sig" else found.name


def normalize_delimiter(given: str) -> bytes:
    """Return the delimiter for the character, or the word, that somebody gave.

    Raises:
        UsageError: it cannot be a delimiter.
    """
    char = DELIMITERS.get(given.lower(), given)
    if len(char) != 1 or not char.isascii() or char.isalnum() or char in '"\r\n\0':
        raise UsageError(
            f"the delimiter cannot be {given!r}", choice="one character, or comma, semicolon, tab, pipe (--delimiter)"
        )
    return char.encode()
