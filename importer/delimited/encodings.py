"""Finds the encoding of a text file, by all of its bytes, and refuses what could be read in more than one way."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from importer.errors import WorkbookRefused
from importer.excel.sniff import find_utf16
from importer.text_files import normalize_encoding

from .utf8 import check_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
BLOCK_BYTES = 4 << 20
#: Bytes at the start that show UTF-16 without a mark: every other byte of most texts is zero.
_HEAD_BYTES = 4096
_MOST_ZEROS, _FEW_ZEROS = 0.7, 0.05
#: Encodings of one byte a character that are proposed, the most frequent first.
_PROPOSED = ("windows-1252", "windows-1250", "windows-1251", "mac-roman", "cp850")
#: Those of two bytes a character; bytes between fields, and those around a field; letters and signs of East Asia.
_EASTERN = ("shift-jis", "gbk", "big5", "euc-kr", "euc-jp")
_BETWEEN, _FIELD_BYTES = re.compile(rb"[\t\r\n\",;]"), 100
_IDEOGRAPHS = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uff60]")
#: Most bytes of characters of two bytes in a row that are UTF-8, too: of EUC-JP, one kanji in seven is.
_MOST_ACCIDENTS = 4
#: Bytes that Windows-1252 does not define.
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
#: A byte that is a letter of Western Europe in Windows-1252, and the signs that are no letters but stand within words.
_HIGH_LETTERS = re.compile(rb"[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xd6\xd8-\xf6\xf8-\xff]")
_LETTERS = re.compile(rb"[A-Za-z\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xd6\xd8-\xf6\xf8-\xff]")
_SIGN_IN_WORD = re.compile(
    rb"[A-Za-z][\x80-\x89\x8b\x93-\x95\xa1-\xac\xae-\xaf\xb1-\xb6\xb8-\xbf\xd7\xf7][a-z]"
    rb"|[a-z\xdf-\xff][\x8a\x8c\x8e\x9f\xc0-\xd6\xd8-\xde]"  # or a capital
    rb"|[a-z][\x82-\x84\x88]"  # or a quote that opens
)
#: No language of Central Europe writes a vowel after its n with an accent; Spanish does after ñ.
_SPANISH = re.compile(rb"\xf1[aeiou\xe1\xe9\xed\xf3\xfa]", re.IGNORECASE)
#: Most of the letters of a word with an accent that have one: in Western texts a half at most.
_MOST_ACCENTS = 0.5
#: Letters beyond ASCII of languages that are written in Windows-1252, and of those that are in Windows-1250.
_WESTERN = tuple(map(set, (
    "àâäæçèéêëîïñôöœùûüÿß", "áàçéèíïñóòúüº", "áâãàçéêíóôõúü", "àèéìíîòóùú", "åäöæøéèüóáôêà", "áéíóúýðþæöø",
)))  # fmt: skip
_CENTRAL = tuple(map(set, (
    "áčďéěíňóřšťúůýžäöü", "áäčďéíľňóôšťúýžöü", "ąćęłńóśźżäöüé", "áéíóöőúüű", "čćđšžäöü", "ăâîşţáéö",
)))  # fmt: skip
_WORD = re.compile(rb"[A-Za-z\x80-\xff]{2,40}")
#: Bytes around one that is not UTF-8 that are looked at.
_AROUND = 24


class TextEncoding(NamedTuple):
    """The encoding of a file.

    Attributes:
        name: Python's name of it.
        skip: number of bytes of the byte order mark.
        note: how it was found, for the report: `UTF-8`, `Windows-1252, as in "Zürich" in line 3`.
        checked: whether all bytes were found to be in it.
    """

    name: str
    skip: int
    note: str
    checked: bool = False


def find_encoding(path: Path, given: str | None) -> TextEncoding:
    """Return the encoding of a file: the given one, else that of its mark, UTF-8, or one proposed by its bytes.

    All bytes are looked at.

    Raises:
        WorkbookRefused: the bytes are not in the given encoding, or no encoding is more likely than the others.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    name, skip = next(((name, len(bom)) for bom, name in _BOMS if head.startswith(bom)), ("", 0))
    if given is not None:
        asked = normalize_encoding(given)
        if name.startswith(asked):  # the mark says the order of bytes that `utf-16` leaves open
            asked = name
        return TextEncoding(asked, skip if asked == name else 0, asked)
    if name:
        return TextEncoding(name, skip, f"{name.upper()} by its byte order mark")
    wide = _wide(head)
    if wide:
        return TextEncoding(wide, 0, f"{wide.upper()} by its zero bytes")
    wide = find_utf16(head) if b"\0" in head else ""
    if wide:
        return TextEncoding(wide, 0, f"{wide.upper()} by its line ends")
    bad = _first_not_utf8(path)
    return TextEncoding("utf-8", 0, "UTF-8", checked=True) if bad is None else _propose(path, bad)


def _wide(head: bytes) -> str:
    """Return the encoding of a text without a mark in which every other byte is zero; empty if it is none."""
    pairs = len(head) // 2
    even, odd = head[: 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if pairs and odd >= _MOST_ZEROS * pairs and even <= _FEW_ZEROS * pairs:
        return "utf-16-le"
    return "utf-16-be" if pairs and even >= _MOST_ZEROS * pairs and odd <= _FEW_ZEROS * pairs else ""


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _first_not_utf8(path: Path) -> int | None:
    """Return the offset of the first byte that is not UTF-8; None if there is none."""
    begun, left = 0, b""
    for block in _blocks(path):
        data = left + block
        try:
            used = check_utf8(data, final=False)
        except UnicodeDecodeError as exc:
            return begun + exc.start
        begun, left = begun + used, data[used:]
    return begun if left else None


def read_before(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file up to an offset, in blocks."""
    for at in range(0, end, BLOCK_BYTES):
        yield file.read(min(BLOCK_BYTES, end - at))


def _propose(path: Path, bad: int) -> TextEncoding:
    """Return Windows-1252 if all words look like Western ones in it, and not like those of another language.

    Args:
        path: the file.
        bad: offset of the first byte that is not UTF-8.

    Raises:
        WorkbookRefused: the text is UTF-8 elsewhere, or several encodings are possible.
    """
    line, word, mixed = _look_around(path, bad)
    place = f"{path.name}, line {line}"
    eastern = _eastern(path, bad)
    if mixed:
        eastern = _reading_before(path, bad, eastern)
    if mixed and not eastern:
        raise WorkbookRefused(
            f"the text is UTF-8 with other bytes in it, the first in {word!r}", place=place,
            choice="repair that line, or say the encoding of all of it: --encoding NAME",
        )  # fmt: skip
    if not mixed and _looks_western(path):
        shown = word.decode("windows-1252")
        return TextEncoding("windows-1252", 0, f'Windows-1252 (not UTF-8), as in "{shown}" in line {line}')
    readings = eastern if mixed else {name: word.decode(name, "replace") for name in _PROPOSED} | eastern
    listed = ", ".join(f'{name} reads "{text}"' for name, text in readings.items() if "\ufffd" not in text)
    raise WorkbookRefused(
        f"the text is not UTF-8, and could be in several encodings: {listed}", place=place,
        choice="--encoding NAME" + ", such as windows-1252" * (not mixed),
    )  # fmt: skip


def _eastern(path: Path, bad: int) -> dict[str, str]:
    """Return how the field of the bad byte reads in encodings of East Asia in which most of it are signs of there."""
    with path.open("rb") as file:
        file.seek(max(bad - _FIELD_BYTES, 0))
        before, after = _BETWEEN.split(file.read(min(bad, _FIELD_BYTES))), _BETWEEN.split(file.read(_FIELD_BYTES))
    texts = {name: (before[-1] + after[0]).decode(name, "replace") for name in _EASTERN}
    return {name: text for name, text in texts.items() if _is_eastern(text)}


def _is_eastern(text: str) -> bool:
    signs = len(_IDEOGRAPHS.findall(text))
    return signs >= len(text) / 2 and all(char.isascii() or _IDEOGRAPHS.match(char) for char in text)


def _reading_before(path: Path, bad: int, eastern: dict[str, str]) -> dict[str, str]:
    """Return those of some encodings that read all before the bad byte, too, where that is UTF-8 by accident."""
    fields, text = [b""], b""
    with path.open("rb") as file:
        for block in read_before(file, bad):
            fields += _BETWEEN.split(block) if not block.isascii() else [b""]
            fields[:-1] = [field for field in fields[:-1] if not field.isascii()]
            text = b"".join(fields)
            if len(re.sub(rb"[\0-\x7f]", b"", text)) > _MOST_ACCIDENTS:
                return {}
    if _IDEOGRAPHS.search(text.decode(errors="ignore")):
        return {}
    whole = fields[:-1]  # the last one is that of the bad byte
    return {n: t for n, t in eastern.items() if all(_is_eastern(each.decode(n, "replace")) for each in whole)}


def _look_around(path: Path, bad: int) -> tuple[int, bytes, bool]:
    """Return the line and the word that the bad byte is in, and whether something before it is UTF-8, but not ASCII."""
    with path.open("rb") as file:
        line = 1 + sum(block.count(b"\n") for block in read_before(file, bad))
        file.seek(max(bad - _AROUND, 0))
        around = file.read(2 * _AROUND)
        file.seek(0)
        mixed = any(not block.isascii() for block in read_before(file, bad))
    at = min(bad, _AROUND)
    word = next((m[0] for m in _WORD.finditer(around) if m.start() <= at < m.end()), around[at : at + 1])
    return line, word, mixed


def _looks_western(path: Path) -> bool:
    """Return whether all words of a file look like those of a Western language in Windows-1252."""
    letters = accents = 0
    western, used, spanish = True, set[int](), False
    for block in _blocks(path):
        if block.isascii():
            continue
        words = [each for each in _WORD.findall(block) if not each.isascii()]
        joined = b" ".join(words)
        letters += len(_LETTERS.findall(joined))
        accents += len(_HIGH_LETTERS.findall(joined))
        used.update(joined)
        spanish = spanish or bool(_SPANISH.search(joined))
        western = western and not _UNDEFINED.search(joined) and not _SIGN_IN_WORD.search(joined)
    likely = bool(letters) and accents <= _MOST_ACCENTS * letters
    return western and likely and _is_western(used, spanish=spanish)


def _is_western(used: set[int], *, spanish: bool) -> bool:
    """Return whether the letters of these bytes are the same in Windows-1250, or only Windows-1252 makes a language's.

    Of the two encodings, texts with è and ø only, or ě and ř, could be in either.
    """
    high = bytes(byte for byte in sorted(used) if byte >= 0x80)  # noqa: PLR2004 - beyond ASCII
    western, central = (
        {char for char in high.decode(name, "ignore").lower() if char.isalpha()} for name in ("cp1252", "cp1250")
    )
    if western == central or spanish:
        return True
    return any(western <= each for each in _WESTERN) and not any(central <= each for each in _CENTRAL)
