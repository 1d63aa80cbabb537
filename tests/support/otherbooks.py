"""Writes the same rows as .xlsx, .ods, .xls and .xlsb, each in the way of its format, without a program that has them."""

from __future__ import annotations

import datetime as dt
import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from support.rawbook import CLOCK, DATE, ELAPSED, STAMP, RawBook, RawSheet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_ZERO = dt.datetime(1899, 12, 30)
_OPEN = "urn:oasis:names:tc:opendocument:xmlns"
_PREFIXES = {"office": "office", "table": "table", "text": "text", "style": "style", "number": "datastyle"}
_NAMES = " ".join(f'xmlns:{prefix}="{_OPEN}:{name}:1.0"' for prefix, name in _PREFIXES.items())
_NAMES += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
_MANIFEST = f'<manifest:manifest xmlns:manifest="{_OPEN}:manifest:1.0"/>'
_ODS_STYLES = (
    '<style:style style:name="hidden" style:family="table"><style:table-properties table:display="false"/></style:style>'
    '<number:time-style style:name="N1" number:truncate-on-overflow="false"/>'
    '<style:style style:name="elapsed" style:family="table-cell" style:data-style-name="N1"/>'
)


class Error(str):
    """An error value."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """A sheet.

    Attributes:
        rows: values of the cells, from A1; None: an empty cell.
        name: on the tab.
        hidden: whether the sheet is hidden.
        hidden_rows: 0-based.
        hidden_columns: 0-based.
        merges: (top, left, bottom, right), 0-based.
    """

    rows: Sequence[Sequence[Any]]
    name: str = "Data"
    hidden: bool = False
    hidden_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()
    merges: Sequence[tuple[int, int, int, int]] = field(default_factory=tuple)


def serial(value: Any) -> float:
    """The number that Excel stores for a date, a time or a duration."""
    if isinstance(value, dt.time):
        value = dt.timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
    if isinstance(value, dt.timedelta):
        return value / dt.timedelta(days=1)
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    return (value - _ZERO) / dt.timedelta(days=1)


def style(value: Any) -> int:
    """The index of the style of a value, in `rawbook.STYLES`."""
    kinds = ((dt.datetime, STAMP), (dt.date, DATE), (dt.time, CLOCK), (dt.timedelta, ELAPSED))
    return next((number for kind, number in kinds if isinstance(value, kind)), 0)


def write_ods(path: Path, tables: Sequence[Table], content: str | None = None) -> Path:
    """An OpenDocument spreadsheet; `content` in place of the tables."""
    body = "".join(map(_ods_table, tables)) if content is None else content
    head = f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_NAMES} office:version="1.3">'
    styles = f"<office:automatic-styles>{_ODS_STYLES}</office:automatic-styles>"
    document = f"{head}{styles}<office:body><office:spreadsheet>{body}</office:spreadsheet></office:body>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        package.writestr("META-INF/manifest.xml", _MANIFEST)
        package.writestr("content.xml", f"{document}</office:document-content>")
    return path


def _ods_table(table: Table) -> str:
    width = max(map(len, table.rows), default=1)
    collapsed = ' table:visibility="collapse"'
    columns = "".join(f"<table:table-column{collapsed * (c in table.hidden_columns)}/>" for c in range(width))
    spans = {(t, left): (b - t + 1, right - left + 1) for t, left, b, right in table.merges}
    rows = ""
    for n, row in enumerate(table.rows):
        cells = "".join(_ods_cell(v, spans.get((n, c))) for c, v in enumerate(row))
        rows += f"<table:table-row{collapsed * (n in table.hidden_rows)}>{cells}</table:table-row>"
    shown = ' table:style-name="hidden"' if table.hidden else ""
    rest = '<table:table-row table:number-rows-repeated="1040000"><table:table-cell table:number-columns-repeated="9"/></table:table-row>'
    return f"<table:table table:name={quoteattr(table.name)}{shown}>{columns}{rows}{rest}</table:table>"


def _ods_cell(value: Any, span: tuple[int, int] | None) -> str:
    spans = f' table:number-rows-spanned="{span[0]}" table:number-columns-spanned="{span[1]}"' if span else ""
    if value is None:
        return f"<table:table-cell{spans}/>"
    text = ""
    match value:
        case Error():
            kind = 'string" office:string-value="" table:formula="of:=1/0" calcext:value-type="error'
            text = f"<text:p>{value}</text:p>"
        case bool():
            kind = f'boolean" office:boolean-value="{str(value).lower()}'
        case str():
            kind = "string"
            text = "".join(f"<text:p>{escape(line)}</text:p>" for line in value.split("\n"))
        case dt.datetime() | dt.date():
            kind = f'date" office:date-value="{value.isoformat()}'
        case dt.time():
            kind = f'time" office:time-value="{value.strftime("PT%HH%MM%S.%fS")}'
        case dt.timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            kind = f'time" table:style-name="elapsed" office:time-value="PT{minutes // 60}H{minutes % 60}M{seconds}S'
        case _:
            kind = f'float" office:value="{value!r}'
    return f'<table:table-cell{spans} office:value-type="{kind}">{text}</table:table-cell>'


def write_csv(path: Path, tables: Sequence[Table]) -> Path:
    """A text file of the first table, separated by tabs if its name says so; its texts need no quotes."""
    separator = "\t" if path.suffix == ".tsv" else ","
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in tables[0].rows))
    return path


def write_xlsx(path: Path, tables: Sequence[Table]) -> Path:
    """The workbook that the others are compared with."""
    sheets = []
    for table in tables:
        rows = "".join(
            f'<row r="{n}" hidden="{int(n - 1 in table.hidden_rows)}">'
            + "".join(_xlsx_cell(f"{chr(65 + c)}{n}", v) for c, v in enumerate(row) if v is not None)
            + "</row>"
            for n, row in enumerate(table.rows, 1)
        )
        columns = "".join(f'<col min="{c + 1}" max="{c + 1}" hidden="1"/>' for c in sorted(table.hidden_columns))
        merged = "".join(
            f'<mergeCell ref="{chr(65 + left)}{t + 1}:{chr(65 + right)}{b + 1}"/>' for t, left, b, right in table.merges
        )
        sheets.append(
            RawSheet(
                rows, table.name, "hidden" if table.hidden else "visible", f"<cols>{columns}</cols>" if columns else "",
                f"<mergeCells>{merged}</mergeCells>" if merged else "",
            )
        )  # fmt: skip
    return RawBook(sheets).write(path)


def _xlsx_cell(address: str, value: Any) -> str:
    match value:
        case Error():
            return f'<c r="{address}" t="e"><v>{value}</v></c>'
        case bool():
            return f'<c r="{address}" t="b"><v>{int(value)}</v></c>'
        case str():
            return f'<c r="{address}" t="inlineStr"><is><t xml:space="preserve">{escape(value).replace("_x", "_x005F_x")}</t></is></c>'
        case int() | float():
            return f'<c r="{address}"><v>{value!r}</v></c>'
    return f'<c r="{address}" s="{style(value)}"><v>{serial(value)!r}</v></c>'


def write_xls(path: Path, tables: Sequence[Table], *, epoch_1904: bool = False) -> Path:
    """A workbook of Excel 97 by xlwt; error values are formulas, whose result it does not write."""
    import xlwt

    formats = {DATE: "YYYY-MM-DD", STAMP: "YYYY-MM-DD HH:MM:SS.000", CLOCK: "HH:MM:SS", ELAPSED: "[H]:MM:SS"}
    styles = {number: xlwt.easyxf(num_format_str=code) for number, code in formats.items()}
    book = xlwt.Workbook()
    book.dates_1904 = epoch_1904
    for table in tables:
        sheet = book.add_sheet(table.name)
        sheet.visibility = int(table.hidden)
        for n, row in enumerate(table.rows):
            sheet.row(n).hidden = n in table.hidden_rows
            for c, value in enumerate(row):
                if isinstance(value, Error):
                    sheet.row(n).set_cell_error(c, _CODES[value])
                elif style(value):
                    sheet.write(
                        n,
                        c,
                        serial(value) - (1462 if epoch_1904 and not isinstance(value, dt.time | dt.timedelta) else 0),
                        styles[style(value)],
                    )
                elif value is not None:
                    sheet.write(n, c, value)
        for c in table.hidden_columns:
            sheet.col(c).hidden = True
        for top, left, bottom, right in table.merges:
            sheet.merge(top, bottom, left, right)
    book.save(str(path))
    return path


_CODES = {"#NULL!": 0, "#DIV/0!": 7, "#VALUE!": 15, "#REF!": 23, "#NAME?": 29, "#NUM!": 36, "#N/A": 42}
_XLSB_FORMATS = (0, 14, 164, 165, 166)
_XLSB_CODES = {164: "yyyy-mm-dd hh:mm:ss.000", 165: "hh:mm:ss", 166: "[h]:mm:ss"}


def record(kind: int, content: bytes = b"") -> bytes:
    """A record of a binary workbook."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, sizes = len(content), b""
    while True:
        size, byte = size >> 7, size & 0x7F
        sizes += bytes([byte | (0x80 if size else 0)])
        if not size:
            return head + sizes + content


def wide(text: str) -> bytes:
    """A text of a binary workbook."""
    data = text.encode("utf-16-le")
    return struct.pack("<I", len(data) // 2) + data


def write_xlsb(
    path: Path,
    tables: Sequence[Table],
    *,
    epoch_1904: bool = False,
    change: Callable[[bytes], bytes] = lambda part: part,
) -> Path:
    """A binary workbook, with texts shared; `change` alters the part of each sheet."""
    strings: dict[str, int] = {}
    sheets = [change(_xlsb_sheet(table, strings)) for table in tables]
    listed = b"".join(
        record(156, struct.pack("<II", int(table.hidden), n) + wide(f"rId{n}") + wide(table.name))
        for n, table in enumerate(tables, 1)
    )
    properties = record(153, struct.pack("<II", int(epoch_1904), 0) + wide(""))
    styles = record(278) + b"".join(record(44, struct.pack("<H", n) + wide(code)) for n, code in _XLSB_CODES.items())
    styles += record(617, struct.pack("<I", len(_XLSB_FORMATS)))
    styles += b"".join(record(47, struct.pack("<HHHHHHHH", 0, n, 0, 0, 0, 0, 0, 0)) for n in _XLSB_FORMATS) + record(
        618
    )
    shared = record(159, struct.pack("<II", len(strings), len(strings)))
    shared += b"".join(record(19, b"\0" + wide(text)) for text in strings) + record(160)
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    links = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.bin") for n in range(1, len(tables) + 1)]
    links += [("rIdA", "styles", "styles.bin"), ("rIdB", "sharedStrings", "sharedStrings.bin")]

    def relations(related: list[tuple[str, str, str]]) -> str:
        body = "".join(f'<Relationship Id="{i}" Type="{office}/{kind}" Target="{to}"/>' for i, kind, to in related)
        return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{body}</Relationships>'

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.bin" '
            'ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>',
        )
        package.writestr("_rels/.rels", relations([("rId1", "officeDocument", "xl/workbook.bin")]))
        package.writestr("xl/_rels/workbook.bin.rels", relations(links))
        package.writestr("xl/workbook.bin", record(131) + properties + record(143) + listed + record(144) + record(132))
        package.writestr("xl/styles.bin", styles + record(279))
        package.writestr("xl/sharedStrings.bin", shared)
        for n, sheet in enumerate(sheets, 1):
            package.writestr(f"xl/worksheets/sheet{n}.bin", sheet)
    return path


def _xlsb_sheet(table: Table, strings: dict[str, int]) -> bytes:
    height, width = len(table.rows), max(map(len, table.rows), default=1)
    out = record(129) + record(148, struct.pack("<IIII", 0, max(height - 1, 0), 0, width - 1))
    for c in sorted(table.hidden_columns):
        out += record(390) + record(60, struct.pack("<IIIIH", c, c, 2304, 0, 1)) + record(391)
    out += record(145)
    for n, row in enumerate(table.rows):
        flags = 0x10 if n in table.hidden_rows else 0
        out += record(0, struct.pack("<IIHBB", n, 0, 300, 0, flags) + b"\0" + struct.pack("<I", 0))
        out += b"".join(_xlsb_cell(c, value, strings) for c, value in enumerate(row) if value is not None)
    out += record(146)
    for top, left, bottom, right in table.merges:
        out += record(176, struct.pack("<IIII", top, bottom, left, right))
    return out + record(130)


def _xlsb_cell(column: int, value: Any, strings: dict[str, int]) -> bytes:
    start = struct.pack("<II", column, style(value))
    match value:
        case Error():
            return record(3, start + bytes([_CODES[value]]))
        case bool():
            return record(4, start + bytes([value]))
        case str():
            return record(7, start + struct.pack("<I", strings.setdefault(value, len(strings))))
        case int() if abs(value) < 1 << 29:
            return record(2, start + struct.pack("<i", value << 2 | 2))
        case int() | float():
            return record(5, start + struct.pack("<d", value))
    return record(5, start + struct.pack("<d", serial(value)))
