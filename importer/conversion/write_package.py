"""Writes a sheet as a plain workbook package: stored, inline strings, the number formats of its cells."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from importer.excel.addresses import column_letters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .model import OtherBook, OtherCell, OtherRow, Surroundings

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
#: Characters that XML cannot hold, or changes, and what would be taken for an escape of one (ECMA-376, 22.9.2.19).
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")
_SPECIAL = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]|_x")
#: Ids of number formats that a workbook defines itself.
_FIRST_FORMAT = 164
#: Rows that are written at once.
_ROWS_AT_ONCE = 500


class PackageWriter:
    """Writes the package of one workbook; only one of its sheets gets rows.

    Args:
        path: the package, created.
        book: the workbook.
        chosen: index of the sheet with rows; -1: none has.
    """

    def __init__(self, path: Path, book: OtherBook, chosen: int) -> None:
        self._path, self._book, self._chosen = path, book, chosen

    def write(self, rows: Iterable[OtherRow], beside: Surroundings) -> None:
        """Write all parts; `beside` may become complete while the rows are drawn."""
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as package:
            package.writestr("[Content_Types].xml", self._content_types())
            package.writestr("_rels/.rels", _relations([("officeDocument", "xl/workbook.xml")]))
            package.writestr("xl/_rels/workbook.xml.rels", self._sheet_relations())
            package.writestr("xl/workbook.xml", self._workbook())
            for number, sheet in enumerate(self._book.sheets):
                if sheet.kind == "worksheet" and number != self._chosen:
                    package.writestr(_part(number), f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData/></worksheet>')
                elif sheet.kind != "worksheet":
                    package.writestr(_part(number), f'{_HEAD}<chartsheet xmlns="{_MAIN}"/>')
            if self._chosen >= 0:
                with package.open(_part(self._chosen), "w", force_zip64=True) as part:
                    for piece in _sheet(rows, beside):
                        part.write(piece.encode())
            # Last: a reader may find formats while it reads the cells.
            package.writestr("xl/styles.xml", self._styles())

    def _content_types(self) -> str:
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
        sheets = "".join(
            f'<Override PartName="/{_part(number)}" ContentType="{kind}.{sheet.kind}+xml"/>'
            for number, sheet in enumerate(self._book.sheets)
        )
        return (
            f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>{sheets}</Types>'
        )

    def _sheet_relations(self) -> str:
        sheets = [(sheet.kind, _part(n).removeprefix("xl/")) for n, sheet in enumerate(self._book.sheets)]
        return _relations([*sheets, ("styles", "styles.xml")])

    def _workbook(self) -> str:
        epoch = '<workbookPr date1904="1"/>' if self._book.epoch_1904 else ""
        listed = "".join(
            f'<sheet name={quoteattr(_escaped(sheet.name))} sheetId="{n}" state="{sheet.visibility}" r:id="r{n}"/>'
            for n, sheet in enumerate(self._book.sheets, 1)
        )
        return f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">{epoch}<sheets>{listed}</sheets></workbook>'

    def _styles(self) -> str:
        codes = list(enumerate(self._book.formats, _FIRST_FORMAT))
        listed = "".join(f'<numFmt numFmtId="{n}" formatCode={quoteattr(_escaped(code))}/>' for n, code in codes)
        used = "".join(f'<xf numFmtId="{n}" applyNumberFormat="1"/>' for n, _ in codes)
        return (
            f'{_HEAD}<styleSheet xmlns="{_MAIN}"><numFmts count="{len(codes)}">{listed}</numFmts>'
            f'<cellXfs count="{len(codes)}">{used}</cellXfs></styleSheet>'
        )


def _part(number: int) -> str:
    return f"xl/worksheets/sheet{number + 1}.xml"


def _relations(related: Sequence[tuple[str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(related, 1)
    )
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{listed}</Relationships>'


def _sheet(rows: Iterable[OtherRow], beside: Surroundings) -> Iterable[str]:
    """Yield the XML of a sheet in pieces."""
    pieces: list[str] = []
    begun = False
    for row in rows:
        if not begun:
            begun = True
            yield _beginning(beside)
        pieces.append(_row(row))
        if len(pieces) == _ROWS_AT_ONCE:
            yield "".join(pieces)
            pieces.clear()
    if not begun:
        yield _beginning(beside)
    yield "".join(pieces)
    merges = "".join(f'<mergeCell ref="{area}"/>' for area in beside.merges)
    yield f"</sheetData>{f'<mergeCells>{merges}</mergeCells>' if merges else ''}</worksheet>"


def _beginning(beside: Surroundings) -> str:
    columns = "".join(f'<col min="{low + 1}" max="{high + 1}" hidden="1"/>' for low, high in beside.hidden_columns)
    cols = f"<cols>{columns}</cols>" if columns else ""
    return f'{_HEAD}<worksheet xmlns="{_MAIN}">{cols}<sheetData>'


def _row(row: OtherRow) -> str:
    hidden = ' hidden="1"' if row.hidden else ""
    return f'<row r="{row.number}"{hidden}>{"".join([_cell(row.number, cell) for cell in row.cells])}</row>'


def _cell(number: int, cell: OtherCell) -> str:
    column, kind, value, style = cell
    start = f'<c r="{_letters(column)}{number}"' + (f' s="{style}"' if style else "")
    if kind == "n":
        return f"{start}><v>{value}</v></c>"
    if kind == "s":
        return f'{start} t="inlineStr"><is><t xml:space="preserve">{_xml(value)}</t></is></c>'
    if kind == "f":
        return f"{start}><f>{_xml(value)}</f></c>"
    return f'{start} t="{kind}"><v>{_xml(value)}</v></c>'


_LETTERS: list[str] = []


def _letters(column: int) -> str:
    while len(_LETTERS) <= column:
        _LETTERS.append(column_letters(len(_LETTERS)))
    return _LETTERS[column]


def _xml(text: str) -> str:
    return escape(_escaped(text)) if _SPECIAL.search(text) else text


def _escaped(text: str) -> str:
    """Return a text with the characters that XML cannot hold as `_xHHHH_`."""
    return _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
