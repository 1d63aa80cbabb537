"""Text files of other times and places: how they end, in which encodings of East Asia they may be, lines without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.commandline import MIB, importer
from support.reading import read_cells, reading

from importer.delimited.encodings import find_encoding
from importer.delimited.transcode import stream_utf8
from importer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MARKED = {
    "last line": b"a,b\n1,2\n\x1a", "with a line end": b"a,b\r\n1,2\r\n\x1a\r\n", "behind the last text": b"a,b\n1,2\x1a",
    "a block of CP/M": b"a,b\n1,2\n" + 120 * b"\x1a", "utf-16": "a,b\n1,2\n\x1a".encode("utf-16"), "returns": b"a,b\r1,2\r\x1a",
}  # fmt: skip


@pytest.mark.parametrize("content", MARKED.values(), ids=MARKED)
def test_mark_of_dos_that_the_text_ends_is_left_out_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with reading(path) as source:
        assert [value for _, value in read_cells(source).values()] == ["a", "b", "1", "2"]
        assert "Ctrl-Z at the end is left out: DOS marks the end of a text by it" in source.notes()
    path.write_bytes(content.replace(b"\x1a", b"3"))
    with reading(path) as source:
        assert not any("Ctrl-Z" in note for note in source.notes())


def test_control_z_elsewhere_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n\x1a1,2\x1a\n3,\x1a4\n")
    with reading(path) as source:
        assert [value for _, value in read_cells(source).values()] == ["a", "b", "\x1a1", "2\x1a", "3", "\x1a4"]
    path.write_bytes(b"\x1a\r\n")
    assert list(stream_utf8(path, "utf-8", 0)) == []


def test_mark_before_line_ends_in_another_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + 24 * b"1,2\n" + b"\x1a\r\n")
    monkeypatch.setattr("importer.delimited.transcode.BLOCK_BYTES", 101)
    assert b"".join(stream_utf8(path, "utf-8", 0)) == b"a,b\n" + 24 * b"1,2\n"


def test_many_marks_in_a_row_are_looked_at_once(tmp_path: Path) -> None:
    """A pattern was tried at each of them, up to the last: a block of them took days."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + (1 << 20) * b"\x1a" + b"1,2\n")
    assert b"".join(stream_utf8(path, "utf-8", 0)) == path.read_bytes()


EASTERN = {"cp932": ("名前", "東京"), "gbk": ("名称", "北京"), "big5": ("名稱", "臺北"), "euc-kr": ("이름", "서울")}


@pytest.mark.parametrize(("name", "texts"), EASTERN.items(), ids=EASTERN)
def test_encodings_of_east_asia_are_proposed_with_what_they_read(
    tmp_path: Path, name: str, texts: tuple[str, str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"n,{texts[0]}\n1,{texts[1]}\n".encode(name))
    with pytest.raises(InputError) as caught, reading(path):
        pass
    known = "shift-jis" if name == "cp932" else name
    assert f'{known} reads "{texts[0]}"' in caught.value.fact
    with reading(path, encoding=name) as source:
        assert [value for _, value in read_cells(source).values()] == ["n", texts[0], "1", texts[1]]


def test_kanji_that_are_utf8_by_accident_are_proposed(tmp_path: Path) -> None:
    """Of EUC-JP, one in seven is; of UTF-8 with a line of another encoding, nobody is told to read all in that."""
    path = tmp_path / "t.csv"
    for start in ("名前,住所\n", "n,v\n1,名\n", "a,b\n" * 2_000_000 + "名前,住所\n"):
        path.write_bytes(f"{start}東京,大阪\n".encode("euc-jp"))
        with pytest.raises(InputError, match=r"in several encodings:.*euc-jp reads \"(名前|名|東京)\"") as caught:
            find_encoding(path, None)
        assert "windows-1252 reads" not in caught.value.fact
    for start, end, name in (("名前\n", "東京", "euc-jp"), ("é\n", "Zürich", "cp1252"), ("имя\n", "ПРИВЕТ", "cp1251")):
        path.write_bytes(start.encode() + end.encode(name))
        with pytest.raises(InputError, match="UTF-8 with other bytes in it"):
            find_encoding(path, None)


@pytest.mark.parametrize(("lines", "size"), [(0, 8 << 30), (2000, 192 << 20)], ids=["8 GB from the start", "192 MB"])
def test_line_without_an_end_takes_little_memory(tmp_path: Path, lines: int, size: int) -> None:
    """Most of the file is a hole, which reads as zero bytes and takes no place on the disk."""
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n" + b"1,2\n" * lines + b"3,")
        file.truncate(file.tell() + size)
    ran = importer("inspect", path, cwd=tmp_path)
    assert (ran.code, "Traceback" in ran.err, ran.left, ran.orphans) == (3, False, [], [])
    assert f"t.csv, line {lines + 2}" in ran.err
    assert "zero bytes" in ran.err or "a line of more than 67,108,864 bytes" in ran.err
    assert ran.peak < 700 * MIB
