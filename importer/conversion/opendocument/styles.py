"""Reads what the styles of an OpenDocument spreadsheet say: hidden tables, and cells that show elapsed time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from importer.excel.package import Package

_COMMON = "styles.xml"
#: Most styles that a style is derived from.
_MOST_PARENTS = 50


class Styles:
    """The styles of both parts: those that have names for users, and those that were made for single cells.

    Attributes:
        hidden_tables: table styles of hidden tables.
    """

    def __init__(self) -> None:
        self.hidden_tables: set[str] = set()
        #: Time formats that show hours beyond 24.
        self._formats: set[str] = set()
        #: Format and parent of each cell style.
        self._cells: dict[str, tuple[str | None, str | None]] = {}
        self._elapsed: dict[str, bool] = {}
        self._style = ""

    def read(self, package: Package) -> None:
        """Read the common styles; a damaged part is left as it is, since only formats of times are lost with it."""
        if _COMMON not in package:
            return
        parser = expat.ParserCreate()
        parser.StartElementHandler = self.start
        try:
            for block in package.stream(_COMMON):
                parser.Parse(block, False)
            parser.Parse(b"", True)
        except expat.ExpatError:
            return

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take an element of the styles."""
        if tag == "style:style":
            self._style = attributes.get("style:name", "")
            if attributes.get("style:family") == "table-cell":
                parent = attributes.get("style:parent-style-name")
                self._cells[self._style] = (attributes.get("style:data-style-name"), parent)
        elif tag == "style:table-properties" and attributes.get("table:display") == "false":
            self.hidden_tables.add(self._style)
        elif tag == "number:time-style" and attributes.get("number:truncate-on-overflow") == "false":
            self._formats.add(attributes.get("style:name", ""))

    def is_elapsed(self, style: str) -> bool:
        """Return whether a cell style, or the one that it is derived from, shows hours beyond 24."""
        found = self._elapsed.get(style)
        if found is None:
            found = self._elapsed[style] = self._find_format(style) in self._formats
        return found

    def _find_format(self, style: str | None) -> str | None:
        for _ in range(_MOST_PARENTS):
            form, style = self._cells.get(style or "", (None, None))
            if form is not None or style is None:
                return form
        return None
