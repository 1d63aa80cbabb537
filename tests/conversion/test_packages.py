"""Packages of .ods and .xlsb files as streaming writers make them, records of .xlsb as Excel does, cells far apart."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from support.commandline import importer
from support.otherbooks import Table, record, wide, write_ods, write_xlsb
from support.reading import read_cells, reading

from importer.errors import CellsDisagree, InputError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [["id", "name"], [1, "a"], [2, "b"]]
WRITERS = {"ods": write_ods, "xlsb": write_xlsb}


class Pipe(io.RawIOBase):
    """A file that can only be written to, in order: sizes follow the data of each part."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


@pytest.mark.parametrize("large", [False, True], ids=["", "zip64"])
@pytest.mark.parametrize("form", WRITERS)
def test_sizes_behind_the_parts_and_of_64_bits(tmp_path: Path, form: str, large: bool) -> None:
    path = WRITERS[form](tmp_path / f"b.{form}", [Table(ROWS)])
    with reading(path) as source:
        wanted = read_cells(source)
    streamed, seekable = Pipe(), io.BytesIO()
    with zipfile.ZipFile(path) as old:
        for target in (streamed, seekable):
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:  # type: ignore[arg-type]
                for part in old.namelist():
                    with new.open(part, "w", force_zip64=large) as file:
                        file.write(old.read(part))
    for data in (bytes(streamed.data), seekable.getvalue()):
        path.write_bytes(data)
        with reading(path) as source:
            assert read_cells(source) == wanted
    assert zipfile.ZipFile(io.BytesIO(bytes(streamed.data))).infolist()[0].flag_bits & 8


def head(row: int, *, hidden: bool = False) -> bytes:
    """The record of a row, 0-based."""
    return record(0, struct.pack("<IIHBB", row, 0, 300, 0, 0x10 if hidden else 0) + bytes(5))


def begin(column: int, style: int = 0) -> bytes:
    return struct.pack("<II", column, style)


def formula(kind: int, column: int, result: bytes, style: int = 0) -> bytes:
    tokens = b"\x44" + struct.pack("<IH", 0, 0)
    return record(kind, begin(column, style) + result + bytes(2) + struct.pack("<I", len(tokens)) + tokens)


def xlsb(path: Path, records: bytes) -> Path:
    """A workbook whose sheet has these records below a header."""
    return write_xlsb(
        path, [Table([list("abcdef")])], change=lambda part: part.replace(record(146), records + record(146))
    )


def test_xlsb_results_of_formulas_and_texts_of_their_own(tmp_path: Path) -> None:
    rows = head(1) + record(6, begin(0) + wide("own")) + formula(8, 1, wide("joined")) + formula(10, 2, b"\1")
    rows += formula(11, 3, b"\x2a") + formula(9, 4, struct.pack("<d", 0.5), 3) + record(1, begin(5, 2))
    rows += (
        head(2, hidden=True) + record(6, begin(0) + wide("")) + formula(8, 1, wide("")) + record(3, begin(3) + b"\x07")
    )
    with reading(xlsb(tmp_path / "b.xlsb", rows)) as source:
        cells = {at: cell for at, cell in read_cells(source).items() if at[0] > 1}
        assert source.hidden_rows == 1
    kinds = {at: kind for at, (kind, _) in cells.items()}
    assert [cells[2, n][1] for n in range(4)] == ["own", "joined", True, "#N/A"]
    assert kinds == {
        (2, 0): "text", (2, 1): "text", (2, 2): "boolean", (2, 3): "error", (2, 4): "time", (3, 0): "text", (3, 1): "text",
        (3, 3): "error",
    }  # fmt: skip


def test_xlsb_shared_texts_with_fonts_and_with_how_they_are_spoken(tmp_path: Path) -> None:
    fonts = b"\1" + wide("with fonts") + struct.pack("<IHHHH", 2, 0, 0, 5, 1)
    spoken = b"\2" + wide("東京") + wide("トウキョウ") + struct.pack("<I", 1) + struct.pack("<HHHHI", 0, 0, 2, 0, 0)
    path = write_xlsb(tmp_path / "b.xlsb", [Table([["a", "b"], ["with fonts", "東京"]])])
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    part = "xl/sharedStrings.bin"
    for plain, rich in ((b"\0" + wide("with fonts"), fonts), (b"\0" + wide("東京"), spoken)):
        assert record(19, plain) in parts[part]
        parts[part] = parts[part].replace(record(19, plain), record(19, rich))
    with zipfile.ZipFile(path, "w") as package:
        for name, data in parts.items():
            package.writestr(name, data)
    with reading(path) as source:
        assert [value for _, value in read_cells(source).values()] == ["a", "b", "with fonts", "東京"]


def test_xlsb_cell_that_only_one_reader_knows_is_refused(tmp_path: Path) -> None:
    """calamine leaves out texts with fonts that are not shared, which Excel does not write."""
    rich = record(62, begin(1) + b"\1" + wide("x") + struct.pack("<IHH", 1, 0, 0))
    with (
        pytest.raises(CellsDisagree, match="read 'x' and an empty cell") as caught,
        reading(xlsb(tmp_path / "b.xlsb", head(1) + record(5, begin(0) + bytes(8)) + rich)),
    ):
        pass
    assert str(caught.value.place).endswith("Data!B2")


def test_xlsb_cells_far_apart_are_refused_with_a_way_out(tmp_path: Path) -> None:
    """Of the whole sheet the second reader wants more memory than there is, of 60 columns more than it may have."""
    path = xlsb(tmp_path / "b.xlsb", head(1_048_575) + record(5, begin(16_383) + bytes(8)))
    ran = importer("inspect", path, cwd=tmp_path)
    assert (ran.code, "Traceback" in ran.err, ran.left, ran.orphans) == (3, False, [], [])
    assert "delete cells far from the others" in ran.err
    for row, column in ((1_048_576, 1), (1, 16_384)):
        with (
            pytest.raises(InputError, match="beyond"),
            reading(xlsb(path, head(row) + record(5, begin(column) + bytes(8)))),
        ):
            pass
