"""Streams a text file as UTF-8, whatever its encoding, in blocks."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused

from .encodings import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def stream_utf8(path: Path, encoding: str, skip: int) -> Generator[bytes, None, None]:
    """Yield the text of a file as UTF-8 in blocks of some 4 MiB.

    Args:
        path: the file.
        encoding: Python's name of its encoding.
        skip: number of bytes at its start that are left out.

    Raises:
        WorkbookRefused: the bytes are not in that encoding.
    """
    plain = encoding in {"utf-8", "ascii"}
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        file.seek(skip)
        while True:
            block = file.read(BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as exc:
                line += bytes(exc.object)[: exc.start].count(b"\n") if isinstance(exc, UnicodeDecodeError) else 0
                raise WorkbookRefused(
                    f"the text is not in the encoding {encoding}",
                    place=f"{path.name}, line {line}",
                    choice="--encoding NAME",
                ) from None
            if plain and block:
                yield block
            elif text:
                yield text.encode()
            if not block:
                return
            line += block.count(b"\n")
