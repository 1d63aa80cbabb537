"""Streams a text file as UTF-8, whatever its encoding, in blocks."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused

from .encodings import BLOCK_BYTES, read_before
from .utf8 import check_utf8

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

#: Ctrl-Z, and the bytes that may follow it at the end of a text.
_MARK, _ENDING = b"\x1a", b"\x1a\r\n"
#: How many bytes of the file are looked at for it: a multiple of four.
_TAIL_BYTES = 64


def stream_utf8(path: Path, encoding: str, skip: int, *, checked: bool = False) -> Generator[bytes, None, None]:
    """Yield the text of a file as UTF-8 in blocks of some 4 MiB, without a mark of DOS that it ends there.

    Args:
        path: the file.
        encoding: Python's name of its encoding.
        skip: number of bytes at its start that are left out.
        checked: whether they are known to be UTF-8.

    Raises:
        WorkbookRefused: the bytes are not in that encoding.
    """
    plain = encoding in {"utf-8", "ascii"}
    read = _read if checked else _checked if plain else _decoded
    last = b""
    for piece in read(path, encoding, skip):
        if last and len(piece) >= _TAIL_BYTES:
            yield last
            last = piece
        else:  # a mark may stand before it
            last += piece
    last = _without_mark(last)
    if last:
        yield last


def _without_mark(text: bytes) -> bytes:
    """Return a text up to the Ctrl-Z that it ends with: by hand, as a pattern is tried at each of many in a row."""
    ending = text[len(text.rstrip(_ENDING)) :]
    at = ending.find(_MARK)
    return text if at < 0 else text[: len(text) - len(ending) + at]


def has_end_mark(path: Path, encoding: str) -> bool:
    """Return whether a file ends with Ctrl-Z, with which DOS marks the end of a text and fills its last block."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        tail = file.read().decode(encoding, "ignore").encode(errors="ignore")
    return len(_without_mark(tail)) < len(tail)


def _read(path: Path, _: str, skip: int) -> Generator[bytes, None, None]:
    """Yield bytes as they are, in blocks that may end within a character."""
    with path.open("rb") as file:
        file.seek(skip)
        while block := file.read(BLOCK_BYTES):
            yield block


def _checked(path: Path, encoding: str, skip: int) -> Generator[bytes, None, None]:
    """Yield bytes that are UTF-8 as they are."""
    begun, left = skip, b""
    with path.open("rb") as file:
        file.seek(skip)
        while True:
            block = file.read(BLOCK_BYTES)
            data = left + block if left else block
            try:
                if encoding == "ascii" and not data.isascii():
                    data.decode("ascii")
                used = check_utf8(data, final=not block)
            except UnicodeDecodeError as exc:
                raise _refusal(path, encoding, _line_at(path, begun + exc.start)) from None
            if used:
                yield data[:used] if used < len(data) else data
            if not block:
                return
            begun, left = begun + used, data[used:]


def _line_at(path: Path, offset: int) -> int:
    """Return the line, 1-based, of a byte of a file: it is counted only where one is wrong."""
    with path.open("rb") as file:
        return 1 + sum(block.count(b"\n") for block in read_before(file, offset))


def _decoded(path: Path, encoding: str, skip: int) -> Generator[bytes, None, None]:
    """Yield the text of bytes in another encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        file.seek(skip)
        while True:
            block = file.read(BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as exc:
                before = exc.object[: exc.start] if isinstance(exc, UnicodeDecodeError) else b""
                line += before.decode(encoding, "ignore").count("\n")
                raise _refusal(path, encoding, line) from None
            if text:
                yield text.encode()
            if not block:
                return
            line += text.count("\n")


def _refusal(path: Path, encoding: str, line: int) -> WorkbookRefused:
    return WorkbookRefused(
        f"the text is not in the encoding {encoding}", place=f"{path.name}, line {line}", choice="--encoding NAME"
    )
