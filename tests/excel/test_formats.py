"""What is no workbook, or no whole one: each kind is refused with its own fact and its own advice."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.rawbook import RawBook, RawSheet, inline, row, write_rows

from importer.errors import SheetError, WorkbookRefused
from importer.excel.package import Package
from importer.inspection import inspect_workbook
from importer.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Database

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
GOOD = row(1, inline("A1", "a")) + row(2, inline("A2", "x"))
SAVE_AS = "save it as .xlsx"


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def package(parts: dict[str, str]) -> Callable[[Path], object]:
    """A zip of these parts."""

    def build(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in parts.items():
                archive.writestr(name, text)

    return build


def office(main: str, kind: str) -> Callable[[Path], object]:
    """An Open Packaging document whose main part has that content type."""
    types = f'<Types><Override PartName="/{main}" ContentType="application/{kind}"/></Types>'
    relations = f'<Relationships><Relationship Id="r" Type="http://x/officeDocument" Target="{main}"/></Relationships>'
    return package({"[Content_Types].xml": types, "_rels/.rels": relations, main: "<x/>"})


WORD = "vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
SLIDES = "vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
KINDS = {
    "message": (content(b"access denied\n"), "plain text without columns", "name it .csv"),
    "html": (content(b"\xef\xbb\xbf\r\n<html><table><tr><td>1</td></tr></table></html>"), "an HTML page", SAVE_AS),
    "html-fragment": (content("<table><tr><td>1</td></tr></table>".encode("utf-16")), "an HTML page", SAVE_AS),
    "xml": (content(b'<?xml version="1.0"?><Workbook/>'), "an XML document", SAVE_AS),
    "xml-2003": (
        content(b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>'),
        "an XML Spreadsheet 2003",
        SAVE_AS,
    ),
    "mht": (content(b"MIME-Version: 1.0\r\nX-Document-Type: Workbook\r\n"), "a web archive", SAVE_AS),
    "json": (content(b'[{"a": 1}]'), "a JSON document", SAVE_AS),
    "gzip": (content(b"\x1f\x8b\x08\0"), "compressed by gzip", "unpack it"),
    "parquet": (content(b"PAR1\x15\0"), "a Parquet file", "save its table as .xlsx or .csv"),
    "lotus": (content(bytes.fromhex("0000020006040600") + bytes(99)), "a Lotus 1-2-3 file", "save its table as .xlsx"),
    "works": (content(bytes.fromhex("ff00020004040554") + bytes(99)), "a Works file", "save its table as .xlsx"),
    "dbase": (
        content(bytes.fromhex("037c0101020000004100 0b00") + bytes(20) + b"NAME" + bytes(30)),
        "a dBase table",
        "save its table as .xlsx",
    ),
    "sylk": (content(b"ID;PWXL;N;E\r\nC;Y1;X1;K1\r\n"), "a SYLK file", "save its table as .xlsx"),
    "excel-5-stream": (
        content(bytes.fromhex("090808000005 05006c09c907") + bytes(99)),
        "an Excel 5 stream without its container",
        "save its table as .xlsx",
    ),
    "binary": (content(bytes(range(32)) * 9), "unknown binary content", SAVE_AS),
    "empty": (content(b""), "the file is empty (0 bytes)", "copy or download it again"),
    "xls": (
        content(OLE + bytes(4096) + "Workbook".encode("utf-16-le")),
        "the workbook is damaged or cut short",
        SAVE_AS,
    ),
    "ole": (
        content(OLE + bytes(4096) + "Root Entry WordDocument".encode("utf-16-le")),
        "another OLE document",
        "name a workbook",
    ),
    "ole cut short": (content(OLE + bytes(4096)), "cut short or damaged: an OLE document without", "download it again"),
    "odt": (package({"mimetype": "application/vnd.oasis.opendocument.text"}), "OpenDocument document", SAVE_AS),
    "encrypted": (
        content(OLE + bytes(9000) + "EncryptedPackage".encode("utf-16-le")),
        "is encrypted",
        "save it without a password",
    ),
    "xlsb": (
        office("xl/workbook.bin", "vnd.ms-excel.sheet.binary.macroEnabled.main"),
        "part 'xl/workbook.bin' is cut short",
        SAVE_AS,
    ),
    "ods": (
        package({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}),
        "the file has no content.xml",
        SAVE_AS,
    ),
    "numbers": (package({"Index/Document.iwa": "x"}), "Apple Numbers document", "export it as Excel"),
    "docx": (office("word/document.xml", WORD), "is a Word document, not a workbook", "name a workbook"),
    "pptx": (office("ppt/presentation.xml", SLIDES), "is a PowerPoint presentation, not a workbook", "name a workbook"),
    "unknown-kind": (
        office("x/y.xml", "nothing"),
        "is a document of type application/nothing, not a workbook",
        "name a workbook",
    ),
    "zip": (package({"readme.txt": "hello"}), "is a zip archive, not a workbook", "unpack it"),
    "empty-zip": (package({}), "is a zip archive, not a workbook", "unpack it"),
    "no-main": (package({"[Content_Types].xml": "<Types/>"}), "has no workbook part", SAVE_AS),
    "bad-xml": (package({"[Content_Types].xml": "<Types>", "_rels/.rels": "<a"}), "is not well-formed XML", SAVE_AS),
    "pdf": (content(b"%PDF-1.7\n\0\0"), "is a PDF, not a workbook", "save its table as .xlsx"),
    "two-letters": (content(b"PK"), "zip container is damaged or cut short", "copy or download it again"),
}


@pytest.mark.parametrize(("build", "fact", "choice"), KINDS.values(), ids=KINDS)
def test_format_refused(tmp_path: Path, build: Callable[[Path], object], fact: str, choice: str) -> None:
    path = tmp_path / "book.xlsx"
    build(path)
    with pytest.raises(WorkbookRefused) as caught:
        inspect_workbook(path, workers=1)
    assert fact in caught.value.fact
    assert choice in (caught.value.choice or "")
    assert "book.xlsx" in (caught.value.place or "")
    assert caught.value.exit_code == 3


def test_format_messages_differ(tmp_path: Path) -> None:
    """Kinds that need different steps of the user are told apart by the message."""
    told = {}
    for name, (build, _, _) in KINDS.items():
        path = tmp_path / f"{name}.xlsx"
        build(path)
        with pytest.raises(WorkbookRefused) as caught:
            inspect_workbook(path, workers=1)
        told.setdefault(caught.value.fact, []).append(name)
    same = sorted(names for names in told.values() if len(names) > 1)
    assert same == [["html", "html-fragment"], ["zip", "empty-zip"]]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_format_truncated_zip(tmp_path: Path, share: float) -> None:
    data = write_rows(tmp_path / "whole.xlsx", GOOD).read_bytes()
    path = tmp_path / "cut.xlsx"
    path.write_bytes(data[: max(int(len(data) * share), 4)])
    with pytest.raises(WorkbookRefused, match="the zip container is damaged or cut short") as caught:
        inspect_workbook(path, workers=1)
    assert caught.value.choice == "copy or download it again"


def test_format_hole_in_zip(tmp_path: Path) -> None:
    """A download that lost its middle: the directory is there, the sheet is not where it says."""
    path = write_rows(tmp_path / "hole.xlsx", GOOD)
    data = path.read_bytes()
    start = data.find(b"xl/worksheets/sheet1.xml")
    path.write_bytes(data[:start] + bytes(64) + data[start + 64 :])
    with pytest.raises(WorkbookRefused, match="part 'xl/worksheets/sheet1.xml'"):
        inspect_workbook(path, workers=1)


def test_format_without_worksheet(tmp_path: Path) -> None:
    chart = RawSheet(
        name="Chart",
        xml='<chartsheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>',
        kind="chartsheet",
    )
    path = RawBook([chart]).write(tmp_path / "chart.xlsx")
    with pytest.raises(SheetError, match="the workbook has no worksheet") as caught:
        inspect_workbook(path, workers=1)
    assert caught.value.exit_code == 3
    with pytest.raises(SheetError, match="sheet 'Chart' is a chartsheet, it has no cells"):
        inspect_workbook(path, sheet="Chart", workers=1)


def test_format_folder_names_the_workbooks_in_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "b.xlsx", GOOD)
    with pytest.raises(WorkbookRefused, match="is a folder") as caught:
        inspect_workbook(tmp_path, workers=1)
    assert caught.value.choice == "workbooks there: b.xlsx"


def test_format_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    for name in ("b.xlsx", "a.XLSM", "c.csv", "d.pdf"):
        (tmp_path / name).touch()
    with pytest.raises(WorkbookRefused, match=r"no file '.*missing\.xlsx'") as caught:
        inspect_workbook(tmp_path / "missing.xlsx", workers=1)
    assert caught.value.choice == "workbooks there: a.XLSM, b.xlsx, c.csv"


def test_format_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(WorkbookRefused, match="no file") as caught:
        inspect_workbook(tmp_path / "no" / "missing.xlsx", workers=1)
    assert caught.value.choice == f"there is no folder '{tmp_path / 'no'}' either"


def test_format_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkbookRefused, match="cannot read"):
        inspect_workbook(tmp_path / "file" / "x.xlsx", workers=1)


def test_format_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(WorkbookRefused, match="cannot read"):
        inspect_workbook(tmp_path / ("x" * 300 + ".xlsx"), workers=1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
@pytest.mark.timeout(20)
def test_format_pipe(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe.xlsx")
    with pytest.raises(WorkbookRefused, match="is a pipe or a device") as caught:
        inspect_workbook(tmp_path / "pipe.xlsx", workers=1)
    assert caught.value.choice == "save it to a file first"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX")
def test_format_unreadable_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "secret.xlsx", GOOD)
    path.chmod(0)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o755)
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
import os
if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)
from importer.errors import WorkbookRefused
from importer.workbook import open_workbook
from importer.settings import Limits
from pathlib import Path
try: open_workbook(Path({str(path)!r}), Limits())
except WorkbookRefused as exc: print(exc.exit_code, exc.fact)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=60)
    if "PermissionError" in ran.stderr or "ModuleNotFoundError" in ran.stderr:
        pytest.skip("this Python cannot be used by another user")
    assert ran.stdout == f"3 no permission to read {str(path)!r}\n", ran.stderr


def test_format_zip64_and_comment_are_read(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "c.xlsx", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
        with archive.open("docProps/x.xml", "w", force_zip64=True) as part:
            part.write(b"<x/>")
    assert inspect_workbook(path, workers=1).source.rows == 1


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"\xef\xbb\xbf\r\n    ", b""),
        (b"<!-- sent by a page -->\n\0", b""),
        (b"", b"\0" * 4096),
        (b"\n", b"\r\n--boundary--"),
        (b"", b"\0" * 200_000),
    ],
    ids=["mark", "page", "padded", "both", "padded far"],
)
def test_format_bytes_around_the_zip(tmp_path: Path, before: bytes, behind: bytes) -> None:
    """The zip is whole; what a web page or a mail program put around it is none of its parts."""
    path = write_rows(tmp_path / "c.xlsx", GOOD)
    path.write_bytes(before + path.read_bytes() + behind)
    found = inspect_workbook(path, workers=0)
    assert [c.header for c in found.source.header.columns] == ["a"]
    assert found.source.rows == 1


def test_format_workbook_in_a_workbook_that_is_cut(tmp_path: Path) -> None:
    """The one that is a part of the other must not be read in its place."""
    inner = write_rows(tmp_path / "inner.xlsx", GOOD).read_bytes()
    path = tmp_path / "outer.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as outer:
        outer.writestr("xl/embeddings/inner.xlsx", inner)
        outer.writestr("xl/media/picture.bin", bytes(100_000))
    data = path.read_bytes()
    for end in (data.index(inner) + len(inner), data.index(inner) + len(inner) + 90_000):
        path.write_bytes(data[:end])
        with pytest.raises(WorkbookRefused, match="damaged or cut short"):
            inspect_workbook(path, workers=0)


def test_format_extension_does_not_matter(tmp_path: Path) -> None:
    assert inspect_workbook(write_rows(tmp_path / "export.csv", GOOD), workers=1).source.rows == 1


@pytest.mark.parametrize(
    ("rows", "columns"), [("", []), (row(1, inline("A1", "a"), inline("B1", "b")), ["a", "b"])], ids=["empty", "header"]
)
def test_format_sheet_without_rows_is_no_error(db: Database, tmp_path: Path, rows: str, columns: list[str]) -> None:
    report = db.load(write_rows(tmp_path / "e.xlsx", rows), table="e", sheet="Data")
    assert (report.total_records, report.error_count, report.outcome) == (0, 0, "published")
    assert db.rows("select count(*) from e") == [(0,)]
    named = db.rows(
        f"select column_name::text from information_schema.columns where table_schema = '{db.schema}' order by ordinal_position"
    )
    assert [name for (name,) in named] == columns


def test_format_misleading_comment(tmp_path: Path) -> None:
    """A comment that looks like the end of another zip is taken for it by no reader, ours included."""
    path = write_rows(tmp_path / "c.xlsx", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, 10, 10, 0)
    with pytest.raises(WorkbookRefused, match="damaged or cut short"):
        inspect_workbook(path, workers=1)


def test_format_parts_are_read_side_by_side(tmp_path: Path) -> None:
    """Two parts of one package, a block of each in turn: what a sheet of many windows and its strings are."""
    random = os.urandom(600_000)
    sheet = write_rows(tmp_path / "p.xlsx", GOOD, parts={"one": random, "two": random[::-1]})
    with Package(sheet, Limits()) as opened:
        pairs = list(zip(opened.stream("one"), opened.stream("two"), strict=True))
    assert len(pairs) > 1
    assert (b"".join(a for a, _ in pairs), b"".join(b for _, b in pairs)) == (random, random[::-1])


@pytest.mark.parametrize("name", ["export.xls", "export.xlsx", "export.csv", "export.dat"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_text_loads_whatever_its_name(tmp_path: Path, name: str, codec: str) -> None:
    """Programs call tab-separated texts .xls, and people call CSV .xlsx."""
    path = tmp_path / name
    path.write_bytes("id\tname\n1\tAda\n2\tGrace\n".encode(codec))
    found = inspect_workbook(path, workers=0).to_dict()
    assert [(c["header"], c["type"]) for c in found["columns"]] == [("id", "bigint"), ("name", "text")]


@pytest.mark.parametrize("kind", ["template.main+xml", "template.macroEnabled.main+xml"])
def test_template_loads(tmp_path: Path, kind: str) -> None:
    path = write_rows(tmp_path / "t.xltx", GOOD)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    types = parts["[Content_Types].xml"]
    assert b"sheet.main+xml" in types
    parts["[Content_Types].xml"] = types.replace(b"sheet.main+xml", kind.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    assert inspect_workbook(path, workers=0).source.rows == 1


def test_a_workbook_that_is_written_anew_has_another_directory(tmp_path: Path) -> None:
    """Its parts are read once for all that open it, as long as it is the same file."""
    path = tmp_path / "b.xlsx"
    for names in (("a", "b"), ("b", "c"), ("b", "c")):
        other = tmp_path / "new"
        with zipfile.ZipFile(other, "w") as package:
            for name in names:
                package.writestr(name, name * 8)
        other.replace(path)
        for _ in range(2):
            with Package(path, Limits()) as opened:
                assert opened.names == list(names)
                assert [opened.read(name) for name in names] == [name.encode() * 8 for name in names]
    with pytest.raises(WorkbookRefused, match="more than 1"), Package(path, Limits(part_count=1)):
        pass
