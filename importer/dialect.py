"""Owns unusual spellings of worksheet XML: what is not written the way Excel writes it is rewritten that way first.

Excel writes UTF-8, no namespace prefix, no comments, no CDATA. The cutter and the scanners rely on it. Other programs
(the Open XML SDK uses the prefix `x:`) are brought into that form by expat, which is slower and rarely needed.
"""

from __future__ import annotations

import re
import struct
from itertools import chain
from typing import TYPE_CHECKING
from xml.parsers import expat

from .errors import WorkbookRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .package import Package

_SNIFF_BYTES = 4096
#: Halves of a surrogate pair are one match, so that they can be joined.
_ESCAPE = re.compile(rb"_x[Dd][89ABab][0-9A-Fa-f]{2}__x[Dd][C-Fc-f][0-9A-Fa-f]{2}_|_x[0-9A-Fa-f]{4}_")
#: calamine 0.36 decodes `_xHHHH_` up to U+00FF (measured over all of them).
_DECODED_BY_ENGINE = 0x100
#: Behind views, formats and column widths come rows; some hundred of them show how cells are spelled.
_SPELLING_BYTES = 64 << 10
#: Well-formed XML that the scanners would not see: single quotes or spaces around `=`, end tags with a space.
_ODD_SPELLING = re.compile(rb"""\s(?:r|t|s|ref|min|max|hidden)(?:\s+=\s*["']|=\s+["']|=')|</\w+\s+>""")


def plain_rows(package: Package, part: str) -> Iterator[bytes]:
    """The bytes of a worksheet part in Excel's own spelling, as a stream of blocks.

    Raises:
        WorkbookRefused: not well-formed, or not a worksheet.
    """
    return _plain(package, part, "worksheet")


def plain_strings(package: Package, part: str) -> Iterator[bytes]:
    """The bytes of a shared strings part in Excel's own spelling, as a stream of blocks.

    Raises:
        WorkbookRefused: not well-formed, or no shared strings.
    """
    return _plain(package, part, "sst")


def wide_escapes(xml: bytes) -> bytes:
    """`xml` with the escapes of characters beyond U+00FF (`_x4E2D_`) decoded: the engine decodes those below alone.

    Two that are halves of one character in UTF-16 become that character; a lone half, which is none, stays escaped.
    The result may hold U+FFFE and U+FFFF, at which the engine, unlike XML 1.0, takes no offence.
    """

    def character(match: re.Match[bytes]) -> bytes:
        codes = [int(code, 16) for code in re.findall(rb"_x(....)_", match[0])]
        if codes[0] < _DECODED_BY_ENGINE:
            return match[0]
        try:
            return struct.pack(f">{len(codes)}H", *codes).decode("utf-16-be").encode()
        except UnicodeDecodeError:
            return match[0]

    return _ESCAPE.sub(character, xml) if b"_x" in xml else xml


def _plain(package: Package, part: str, root: str) -> Iterator[bytes]:
    stream = package.stream(part)
    head = next(stream, b"")
    if _is_plain(head, root):
        return chain([head], stream)
    stream.close()  # type: ignore[attr-defined]
    return _rewritten(package, part, root)


def _is_plain(head: bytes, root: str) -> bool:
    """Whether a part starts as Excel writes it: UTF-8, no prefixes, double quotes, no comments or CDATA.

    A program spells alike from its first cell on. Comments come from templating code, which writes them early if at
    all; one that is found later stops the run (see `read_window`).
    """
    start = head[:_SNIFF_BYTES]
    encoding = re.search(rb"""<\?xml[^>]*encoding=["']([\w-]+)["']""", start)
    utf8 = encoding is None or encoding[1].lower() in {b"utf-8", b"utf8", b"us-ascii", b"ascii"}
    plain = (
        utf8 and b"\0" not in start and b"<!" not in head and re.search(rf"<{root}[\s>]".encode(), start) is not None
    )
    return plain and _ODD_SPELLING.search(head, 0, _SPELLING_BYTES) is None


def _rewritten(package: Package, part: str, root: str) -> Iterator[bytes]:
    """The same elements with local names only; comments, processing instructions and CDATA marks dropped."""
    from xml.sax.saxutils import escape, quoteattr  # brings urllib along

    out: list[str] = []
    opened: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        local = _local(name)
        if not opened and local != root:
            raise WorkbookRefused(f"part {part!r} is no {root} but {local!r}", place=package.path.name)
        opened.append(local)
        written = "".join(f" {_attribute(k)}={quoteattr(v)}" for k, v in attributes.items())
        out.append(f"<{local}{written}>")

    def end(_name: str) -> None:
        out.append(f"</{opened.pop()}>")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: out.append(escape(text).replace("\r", "&#13;"))
    parser.StartDoctypeDeclHandler = lambda *_: _refuse_doctype(package, part)
    try:
        for block in package.stream(part):
            parser.Parse(block, False)
            yield "".join(out).encode()
            out.clear()
        parser.Parse(b"", True)
        yield "".join(out).encode()
    except expat.ExpatError as exc:
        raise WorkbookRefused(f"part {part!r} is not well-formed XML ({exc})", place=package.path.name) from None


def _refuse_doctype(package: Package, part: str) -> None:
    raise WorkbookRefused(f"part {part!r} has a document type declaration", place=package.path.name)


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def _attribute(name: str) -> str:
    """`xml:space` keeps its prefix; every other attribute that matters has none."""
    return "xml:space" if name.endswith("namespace}space") else _local(name)
