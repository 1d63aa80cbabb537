"""Finds the delimiter, the line ends and the width of a text file by its first lines; refuses what is ambiguous."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from importer.errors import WorkbookRefused
from importer.excel.addresses import MAX_COLUMNS, refuse_columns
from importer.text_files import normalize_delimiter

from .other_spellings import note_other_quotes, refuse_other_spellings

#: Delimiters that are looked for.
CANDIDATES = (b",", b";", b"\t", b"|")
NAMES = {b",": "','", b";": "';'", b"\t": "tab", b"|": "'|'"}
#: The line with which Excel is told the delimiter.
_SEP_LINE = re.compile(rb'"?sep=([^\r\n"])"?[ \t,;]*(?:\r\n|\n|\r|\Z)', re.IGNORECASE)
#: A quoted field, whatever the delimiter.
_QUOTED = re.compile(rb'(?:\A|(?<=[,;\t|\r\n]))"[^"]*+(?:""[^"]*+)*+"(?=[,;\t|\r\n]|\Z)')
_DECIMAL_COMMA = re.compile(rb"(?<=\d),(?=\d)")
#: Least share of the lines that have one number of a delimiter, for it to be one; of lines with another delimiter, too.
_LEAST_SHARE, _SURE_SHARE = 0.5, 0.9
_CHOICE = "--delimiter comma, semicolon, tab or pipe"


class FoundDialect(NamedTuple):
    """What the first lines say.

    Attributes:
        delimiter: byte between fields.
        eol: byte at the end of a line.
        skip: bytes of a line `sep=` before the first line.
        width: number of fields of a line of the table.
        note: what is odd about the first lines; empty if nothing is.
    """

    delimiter: bytes
    eol: bytes
    skip: int
    width: int
    note: str = ""


def find_dialect(
    sample: bytes, place: str, given: str | None, *, tabs: bool, complete: bool, most: int = MAX_COLUMNS
) -> FoundDialect:
    """Return the dialect of a text by its first lines.

    Args:
        sample: the first bytes of the text, in UTF-8.
        place: name of the file, for messages.
        given: the delimiter that somebody gave, or None.
        tabs: whether the file's name says that it is separated by tabs.
        complete: whether the sample is the whole text; otherwise its last line may be cut.
        most: most columns with a text.

    Raises:
        SheetError: the first lines have texts in too many columns.
        WorkbookRefused: several delimiters are as likely, the first line has more fields than any sheet, or the texts
            seem to be quoted, or the lines to end, in another way.
    """
    stated = _SEP_LINE.match(sample)
    skip = stated.end() if stated else 0
    sample = sample[skip:]
    eol = b"\n" if b"\n" in sample or b"\r" not in sample else b"\r"
    lines = _QUOTED.sub(b"q", sample).split(eol)
    lines = [line for line in (lines if complete or len(lines) == 1 else lines[:-1]) if line.strip()]
    if given is not None:
        delimiter = normalize_delimiter(given)
    elif stated:
        delimiter = stated[1]
    elif tabs and any(b"\t" in line for line in lines):
        delimiter = b"\t"
    else:
        delimiter = _find_delimiter(lines, place)
    width = _width([line.count(delimiter) + 1 for line in lines])
    if width > most:
        refuse_columns(_count_filled(lines, delimiter), most)
    if width > MAX_COLUMNS:
        raise WorkbookRefused(f"the first lines have {width:,} fields, more than {MAX_COLUMNS:,}", place=place)
    refuse_other_spellings(lines, delimiter, place)
    return FoundDialect(delimiter, eol, skip, width, note_other_quotes(lines, delimiter))


def _width(counts: list[int]) -> int:
    """Return the number of fields of the table's lines: that of most lines, or of the first if it has more."""
    wide = Counter(n for n in counts if n > 1)
    return max(wide.most_common(1)[0][0], counts[0]) if wide else 1


def _count_filled(lines: list[bytes], delimiter: bytes) -> int:
    """Return how many columns have a text in some line: Excel may end lines with thousands of delimiters."""
    return len({n for line in lines for n, text in enumerate(line.split(delimiter)) if text.strip()})


def _find_delimiter(lines: list[bytes], place: str) -> bytes:
    shares = {each: share for each in CANDIDATES if (share := _share(lines, each))}
    if not shares:
        return b","  # one column
    likely = [each for each, share in shares.items() if share >= _LEAST_SHARE]
    sure = [each for each in likely if shares[each] == 1]
    left = sure if len(sure) == 1 else likely
    if len(left) > 1 and b"," in left and all(_is_decimal(line) for line in lines):
        left = [each for each in left if each != b","]
    if len(left) > 1 and b"\t" in left and shares[b"\t"] >= _SURE_SHARE:
        left = [b"\t"]  # texts have no tabs
    if not left and len(shares) == 1 and next(iter(shares)) in lines[0]:
        left = list(shares)  # a header, and lines that lack fields or have too many
    if len(left) == 1 and not (left == [b","] and (_is_prose(lines) or _may_be_decimals(lines))):
        return left[0]
    shown = ", ".join(
        f"{NAMES[each]} gives {_width([n.count(each) + 1 for n in lines])} columns in {shares[each]:.0%} of the lines"
        for each in shares
    )
    raise WorkbookRefused(f"the delimiter is not clear: {shown}", place=place, choice=_CHOICE)


def _share(lines: list[bytes], delimiter: bytes) -> float:
    """Return the share of the lines that have the most frequent number of a delimiter; 0 if no line has one."""
    counts = Counter(line.count(delimiter) for line in lines)
    del counts[0]
    return counts.most_common(1)[0][1] / len(lines) if counts else 0.0


def _is_prose(lines: list[bytes]) -> bool:
    """Return whether commas stand as in texts, `Doe, John`, below a first line that has none."""
    return b"," not in lines[0] and all(line.count(b",") == line.count(b", ") for line in lines)


def _may_be_decimals(lines: list[bytes]) -> bool:
    """Return whether the lines below a first one without commas may be one number each, `1,5`, or two."""
    below = lines[1:]
    return b"," not in lines[0] and all(line.count(b",") <= 1 and _is_decimal(line) for line in below)


def _is_decimal(line: bytes) -> bool:
    return line.count(b",") == len(_DECIMAL_COMMA.findall(line))
