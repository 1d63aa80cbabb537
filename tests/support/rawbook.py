"""Builds workbooks from raw worksheet XML, for spellings that no writer library produces."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

#: Indices of the cell formats in `STYLES`, for the attribute `s` of a cell.
GENERAL, DATE, STAMP, CLOCK, ELAPSED, BOLD = range(6)
_FORMATS = (0, 14, 164, 165, 166, 0)
STYLES = (
    f'{_HEAD}<styleSheet xmlns="{MAIN}"><numFmts count="3">'
    '<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss.000"/>'
    '<numFmt numFmtId="165" formatCode="hh:mm:ss"/><numFmt numFmtId="166" formatCode="[h]:mm:ss"/></numFmts>'
    '<fonts count="1"><font><sz val="11"/></font></fonts>'
    '<fills count="1"><fill><patternFill patternType="none"/></fill></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf numFmtId="0"/></cellStyleXfs>'
    f'<cellXfs count="{len(_FORMATS)}">'
    + "".join(f'<xf numFmtId="{number}" applyNumberFormat="1" xfId="0"/>' for number in _FORMATS)
    + "</cellXfs></styleSheet>"
)


@dataclass(frozen=True)
class RawSheet:
    """One sheet of a raw workbook.

    Attributes:
        rows: what stands in `<sheetData>`.
        name: on the tab.
        state: `visible`, `hidden` or `veryHidden`.
        before: XML between `<worksheet>` and `<sheetData>` (dimension, columns).
        behind: XML behind `</sheetData>` (merges).
        xml: the whole part, in place of the above.
        kind: of the relationship: `worksheet`, `chartsheet`, `xlMacrosheet`.
    """

    rows: str = ""
    name: str = "Data"
    state: str = "visible"
    before: str = ""
    behind: str = ""
    xml: str | bytes | None = None
    kind: str = "worksheet"

    def part(self) -> str | bytes:
        if self.xml is not None:
            return self.xml
        content = f"{self.before}<sheetData>{self.rows}</sheetData>{self.behind}"
        return f'{_HEAD}<worksheet xmlns="{MAIN}" xmlns:r="{OFFICE}">{content}</worksheet>'

    @property
    def content_type(self) -> str:
        return f"{_TYPE}.{'chartsheet' if self.kind == 'chartsheet' else 'worksheet'}+xml"


@dataclass(frozen=True)
class RawBook:
    """A workbook of raw sheets.

    Attributes:
        sheets: in the order of the tabs.
        strings: the shared strings, each the XML in its `<si>`.
        properties: the XML of `<workbookPr>` and what else precedes `<sheets>`.
        parts: further parts by name.
    """

    sheets: Sequence[RawSheet]
    strings: Sequence[str] = ()
    properties: str = ""
    parts: Mapping[str, str | bytes] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the workbook; returns its path."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
            for name, content in {**self._parts(), **self.parts}.items():
                package.writestr(name, content)
        return path

    def _parts(self) -> dict[str, str | bytes]:
        relations = [(f"rId{n}", sheet.kind, f"worksheets/sheet{n}.xml") for n, sheet in enumerate(self.sheets, 1)]
        relations += [("rIdStyles", "styles", "styles.xml")]
        parts: dict[str, str | bytes] = {
            "[Content_Types].xml": self._content_types(),
            "_rels/.rels": _relationships([("rId1", "officeDocument", "xl/workbook.xml")]),
            "xl/workbook.xml": self._workbook(),
            "xl/styles.xml": STYLES,
            **{f"xl/worksheets/sheet{n}.xml": sheet.part() for n, sheet in enumerate(self.sheets, 1)},
        }
        if self.strings:
            relations.append(("rIdStrings", "sharedStrings", "sharedStrings.xml"))
            items = "".join(f"<si>{item}</si>" for item in self.strings)
            parts["xl/sharedStrings.xml"] = f'{_HEAD}<sst xmlns="{MAIN}">{items}</sst>'
        parts["xl/_rels/workbook.xml.rels"] = _relationships(relations)
        return parts

    def _workbook(self) -> str:
        listed = "".join(
            f'<sheet name="{escape(sheet.name)}" sheetId="{n}" state="{sheet.state}" r:id="rId{n}"/>'
            for n, sheet in enumerate(self.sheets, 1)
        )
        return (
            f'{_HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">{self.properties}<sheets>{listed}</sheets></workbook>'
        )

    def _content_types(self) -> str:
        sheets = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{sheet.content_type}"/>'
            for n, sheet in enumerate(self.sheets, 1)
        )
        strings = (
            f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/>'
            if self.strings
            else ""
        )
        return (
            f'{_HEAD}<Types xmlns="{PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>{sheets}'
            f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>{strings}</Types>'
        )


def _relationships(relations: list[tuple[str, str, str]]) -> str:
    listed = "".join(
        f'<Relationship Id="{i}" Type="{OFFICE}/{kind}" Target="{target}"/>' for i, kind, target in relations
    )
    return f'{_HEAD}<Relationships xmlns="{PACKAGE}/relationships">{listed}</Relationships>'


def write_rows(path: Path, rows: str, **options: object) -> Path:
    """Write a workbook of one sheet with these rows; `options` are those of `RawSheet` and `RawBook`."""
    book = {name: options.pop(name) for name in ("strings", "properties", "parts") if name in options}
    return RawBook([RawSheet(rows, **options)], **book).write(path)  # type: ignore[arg-type]


def row(number: int, *cells: str, attributes: str = "") -> str:
    """A `<row>` of cells."""
    return f'<row r="{number}"{attributes}>{"".join(cells)}</row>'


def inline(ref: str, text: str, *, space: bool = True) -> str:
    """A cell with an inline text; `space=False` leaves `xml:space` out, as some writers do."""
    keep = ' xml:space="preserve"' if space else ""
    return f'<c r="{ref}" t="inlineStr"><is><t{keep}>{escape(text)}</t></is></c>'


def number(ref: str, value: object, style: int = GENERAL) -> str:
    """A cell with a number as written."""
    return f'<c r="{ref}" s="{style}"><v>{value}</v></c>'


def shared(ref: str, index: int) -> str:
    """A cell with a shared string."""
    return f'<c r="{ref}" t="s"><v>{index}</v></c>'


def boolean(ref: str, *, value: bool) -> str:
    """A boolean cell."""
    return f'<c r="{ref}" t="b"><v>{int(value)}</v></c>'


def error(ref: str, value: str) -> str:
    """A cell with an error value."""
    return f'<c r="{ref}" t="e"><v>{value}</v></c>'


def formula(ref: str, text: str, result: str | None = None, kind: str = "") -> str:
    """A formula cell; without a result it was never calculated."""
    typed = f' t="{kind}"' if kind else ""
    value = "" if result is None else f"<v>{escape(result)}</v>"
    return f'<c r="{ref}"{typed}><f>{escape(text)}</f>{value}</c>'
