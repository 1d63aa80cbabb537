"""Recognises text files whose texts are quoted, or whose lines end, in another way than is read here, and refuses them.

Read as they are, their fields would stand in the wrong columns, and their rows would be one.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest
from typing import NoReturn

from importer.errors import WorkbookRefused
from importer.excel.addresses import column_letters

#: A carriage return that is not part of the end of a line.
_LONE_RETURN = re.compile(rb"\r(?!\r*\Z)")
_ENDS = "save it in the program that made it, with one kind of line ends"
#: Lines whose fields are looked at one by one.
_MOST_LINES = 1000
#: Fewest texts of a column that say that their quotes are quotes.
_LEAST_QUOTED = 2
_NUMBER = re.compile(rb"[-+]?[0-9][0-9.,: /-]*")
_QUOTES = 'write "" for a quote within a quoted text, and " right before and after texts that hold the delimiter'


def refuse_other_spellings(lines: list[bytes], delimiter: bytes, place: str) -> None:
    """Raise WorkbookRefused if some lines only have the right number of fields when they are read in another way.

    Args:
        lines: the first lines that are not blank, texts in `"` replaced.
        delimiter: byte between fields.
        place: name of the file, for messages.
    """
    for (name, mark), quoted in _other_quotes(delimiter).items():
        held = [line for line in lines if mark in line and delimiter in b"".join(quoted.findall(line))]
        if not held:
            continue
        wanted = {quoted.sub(b"q", line).count(delimiter) for line in held}
        plain = {line.count(delimiter) for line in lines if line not in held}
        if len(wanted) == 1 and (wanted <= plain or not plain):
            _refuse(f"texts that hold the delimiter seem to be quoted {name}", held[0], place, _QUOTES)
    if len(lines) > 1 and _all_in_quotes(lines[:_MOST_LINES], delimiter):
        _refuse("all texts, those of the header, too, are quoted by '", lines[0], place, 'write " for these quotes')
    _refuse_mixed_ends(lines, delimiter, place)


def _all_in_quotes(lines: list[bytes], delimiter: bytes) -> bool:
    """Return whether all fields but numbers are in `'`; the first line has such a field, at least."""
    fields = [field for line in lines for field in _fields(line, delimiter) if field and not _NUMBER.fullmatch(field)]
    return all(map(_is_quoted, fields)) and any(map(_is_quoted, _fields(lines[0], delimiter)))


def note_other_quotes(lines: list[bytes], delimiter: bytes) -> str:
    """Return a note on columns whose texts are all in `'`, which are read as part of them; empty if there are none.

    Args:
        lines: the first lines that are not blank.
        delimiter: byte between fields.
    """
    if sum(b"'" in line for line in lines) < _LEAST_QUOTED:
        return ""
    columns = zip_longest(*(_fields(line, delimiter) for line in lines[1 : _MOST_LINES + 1]), fillvalue=b"")
    held = [[field for field in column if field] for column in columns]
    found = [n for n, texts in enumerate(held) if len(texts) >= _LEAST_QUOTED and all(map(_is_quoted, texts))]
    letters = ", ".join(map(column_letters, found))
    return f"quotes ' around all texts of columns {letters}: read as part of the texts" if found else ""


def _fields(line: bytes, delimiter: bytes) -> list[bytes]:
    return [field.strip(b" ") for field in line.rstrip(b"\r").split(delimiter)]


def _is_quoted(field: bytes) -> bool:
    return len(field) > 1 and field[:1] == field[-1:] == b"'"


def _refuse_mixed_ends(lines: list[bytes], delimiter: bytes, place: str) -> None:
    """Refuse lines that are several of as many fields as the others, if a carriage return alone ends a line, too."""
    if lines and all(line.endswith(b"\r\r") for line in lines):
        _refuse("the lines end with two carriage returns and a line feed", lines[0], place, _ENDS)
    split = [_LONE_RETURN.split(line) if b"\r" in line else [line] for line in lines]
    counts = Counter(piece.count(delimiter) for pieces in split for piece in pieces)
    for line, pieces in zip(lines, split, strict=True):
        if len(pieces) > 1 and {piece.count(delimiter) for piece in pieces} == {counts.most_common(1)[0][0]}:
            _refuse("some lines end with a carriage return, others with a line feed", line, place, _ENDS)


def _other_quotes(delimiter: bytes) -> dict[tuple[str, bytes], re.Pattern[bytes]]:
    """Return what a text looks like that is quoted in another way, by the words for that way and what it has."""
    char = re.escape(delimiter)
    before, after = rb"(?:\A|(?<=%s))" % char, rb" *(?=%s|\r*\Z)" % char
    return {
        ("by '", b"'"): re.compile(rb"%s *'[^']*+(?:''[^']*+)*+'%s" % (before, after)),
        ('by " after a space', b' "'): re.compile(rb'%s +"[^"]*+(?:""[^"]*+)*+"%s' % (before, after)),
    }


def _refuse(fact: str, line: bytes, place: str, choice: str) -> NoReturn:
    shown = line[:60].decode(errors="replace").rstrip("\r")
    raise WorkbookRefused(f"{fact}: {shown!r}", place=place, choice=choice)
