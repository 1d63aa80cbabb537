"""Chooses the sheets of a workbook that `--sheets` names: all, names, patterns, and ranges of tabs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from importer.contract.known_keys import nearest
from importer.errors import SheetError

if TYPE_CHECKING:
    from importer.excel.workbook import Sheet, Workbook

ALL = "all"


def choose_sheets(workbook: Workbook, text: str) -> list[Sheet]:
    """Return the worksheets that a text names, in the order of the tabs.

    Args:
        workbook: the workbook.
        text: `all`, a name, a pattern such as `20*`, a range of tabs such as `Jan-Dec`, or several of those with commas
            between them. Hidden sheets are chosen only by their names.

    Raises:
        SheetError: a part of the text names no sheet.
    """
    worksheets = [s for s in workbook.sheets if s.kind == "worksheet"]
    whole = _named(worksheets, text)
    words = [text] if whole else [word for part in text.split(",") if (word := part.strip())]
    chosen: set[str] = set()
    for word in words:
        found = _chosen_by(worksheets, word)
        if not found:
            raise _nothing_chosen(workbook, worksheets, word)
        chosen.update(s.name for s in found)
    return [s for s in worksheets if s.name in chosen]


def _chosen_by(worksheets: list[Sheet], word: str) -> list[Sheet]:
    named = _named(worksheets, word)
    if named:
        return [named]
    visible = [s for s in worksheets if s.visibility == "visible"]
    if word.casefold() == ALL:
        return visible
    ends = _ends(worksheets, word)
    if ends:
        first, last = sorted(worksheets.index(end) for end in ends)
        return [s for s in worksheets[first : last + 1] if s in ends or s in visible]
    return [s for s in visible if fnmatchcase(s.name.casefold(), word.casefold())]


def _ends(worksheets: list[Sheet], word: str) -> tuple[Sheet, Sheet] | None:
    """Return the sheets at both ends of a range; names may have hyphens themselves."""
    for hyphen in re.finditer("-", word):
        first = _named(worksheets, word[: hyphen.start()].strip())
        last = _named(worksheets, word[hyphen.end() :].strip())
        if first and last:
            return first, last
    return None


def _named(worksheets: list[Sheet], name: str) -> Sheet | None:
    exact = next((s for s in worksheets if s.name == name), None)
    return exact or next((s for s in worksheets if s.name.casefold() == name.casefold()), None)


def _nothing_chosen(workbook: Workbook, worksheets: list[Sheet], word: str) -> SheetError:
    names = [s.name for s in worksheets]
    near = nearest(word, names)
    listed = f"sheets: {', '.join(map(repr, names)) or 'none'}"
    hidden = [s.name for s in worksheets if s.visibility != "visible"]
    listed += f" (hidden, chosen only by name: {', '.join(map(repr, hidden))})" if hidden else ""
    advice = f"did you mean {near!r}? {listed}" if near else listed
    return SheetError(f"--sheets {word!r} names no sheet", place=workbook.path.name, choice=advice)
