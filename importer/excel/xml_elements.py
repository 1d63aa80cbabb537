"""Reads chosen elements from small XML parts, in document order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

from importer.errors import WorkbookRefused

from .package import SMALL_PART_BYTES
from .sniff import SAVE_AS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .package import Package

#: Maximum number of wanted elements in a part. A workbook that lists more sheets or parts is an attack.
_MAX_ELEMENTS = 100_000
#: A cell of a style other than the first, which is that of cells that name none.
_STYLED_CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\bs\s*=\s*[\"']\s*0*[1-9]")
#: A cell with the index of a shared string.
_STRING_CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\bt\s*=\s*[\"']s[\"'][^>]*>\s*<(?:\w+:)?v>")
_NEEDING = {"styles": _STYLED_CELL, "sharedStrings": _STRING_CELL}
#: Bytes in which the tag of a cell ends.
_TAG_BYTES = 4096


class Element(NamedTuple):
    """An element of a small XML part: local name, depth (0 for the root), attributes by `namespace}name`, its text."""

    name: str
    depth: int
    attributes: dict[str, str]
    text: str = ""


def find_elements(package: Package, part: str, wanted: set[str]) -> list[Element]:
    """Return the elements whose local name is in `wanted`, in document order; the rest of the part is not kept.

    Raises:
        WorkbookRefused: the part is too large, not well-formed, lists too many wanted elements, or has a document type
            declaration in any encoding.
    """
    _check_size(package, part)
    collector = _Collector(package.path.name, part, wanted)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler = collector.start, collector.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = collector.text, collector.refuse_doctype
    try:
        for block in package.stream(part):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise WorkbookRefused(
            f"part {part!r} is not well-formed XML ({exc})", place=package.path.name, choice=SAVE_AS
        ) from None
    return collector.elements()


class _Collector:
    """Collects the wanted elements of a part from the events of its parser."""

    def __init__(self, workbook: str, part: str, wanted: set[str]) -> None:
        self._workbook, self._part, self._wanted = workbook, part, wanted
        self._found: list[Element] = []
        self._texts: list[list[str]] = []
        self._depth = -1

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if (name := local_name(tag)) in self._wanted:
            self._found.append(Element(name, self._depth, attributes))
            self._texts.append([])
            if len(self._found) > _MAX_ELEMENTS:
                raise WorkbookRefused(
                    f"part {self._part!r} lists more than {_MAX_ELEMENTS:,} entries", place=self._workbook
                )

    def end(self, _tag: str) -> None:
        self._depth -= 1

    def text(self, content: str) -> None:
        if self._found and self._depth == self._found[-1].depth:
            self._texts[-1].append(content)

    def refuse_doctype(self, *_: object) -> None:
        raise WorkbookRefused(
            f"part {self._part!r} has a document type declaration, which no workbook needs and attacks use",
            place=self._workbook,
        )

    def elements(self) -> list[Element]:
        pairs = zip(self._found, self._texts, strict=True)
        return [element._replace(text="".join(texts)) for element, texts in pairs]


def _check_size(package: Package, part: str) -> None:
    if package.size(part) > SMALL_PART_BYTES:
        raise WorkbookRefused(
            f"part {part!r} is {package.size(part):,} bytes, far more than such a part needs", place=package.path.name
        )


def local_name(tag: str) -> str:
    """Return the name of a tag or an attribute without its namespace."""
    return tag.rsplit("}", 1)[-1]


def refuse_needed(package: Package, kind: str, sheets: Iterable[str], missing: str) -> None:
    """Refuse a workbook if cells need a part that is not in the file; in an .xlsb, styles are taken to be needed.

    Args:
        package: the workbook's package.
        kind: kind of the part, as in its relationship.
        sheets: names of the worksheets' parts.
        missing: name of the part.

    Raises:
        WorkbookRefused: they do: a date would be a number, a text its index.
    """
    pattern = _NEEDING.get(kind)
    if pattern is not None and any(_needs(package, part, kind, pattern) for part in sheets if part in package):
        fact = f"part {missing!r}, which cells refer to, is not in the file"
        raise WorkbookRefused(fact, place=package.path.name, choice=SAVE_AS)


def _needs(package: Package, part: str, kind: str, pattern: re.Pattern[bytes]) -> bool:
    if not part.lower().endswith(".xml"):
        return kind == "styles"
    kept = b""
    for block in package.stream(part):
        if pattern.search(kept + block):
            return True
        kept = block[-_TAG_BYTES:]
    return False
