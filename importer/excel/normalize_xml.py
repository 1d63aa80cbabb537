"""Normalizes XML: parts that are not spelled as Excel spells them are rewritten that way before they are read.

Excel writes UTF-8 without namespace prefixes, comments or CDATA, and the cutter and the scanners rely on that. The
output of other programs (the Open XML SDK uses the prefix `x:`) is rewritten with expat, which is slower and rarely
needed.
"""

from __future__ import annotations

import re
import struct
from itertools import chain
from typing import TYPE_CHECKING
from xml.parsers import expat

import polars as pl

from importer.errors import WorkbookRefused

from .byte_search import holds_declaration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .package import Package

_SNIFF_BYTES = 4096
#: Both halves of a surrogate pair are one match, so that they can be joined.
_ESCAPE = re.compile(rb"_x[Dd][89ABab][0-9A-Fa-f]{2}__x[Dd][C-Fc-f][0-9A-Fa-f]{2}_|_x[0-9A-Fa-f]{4}_")
#: Code points below this are decoded by the engine: calamine 0.36 decodes `_xHHHH_` up to U+00FF (measured over all).
_DECODED_BY_ENGINE = 0x100
#: Number of bytes searched for odd spellings. It covers views, formats, column widths and a few hundred rows, which is
#: enough to show how the cells are spelled.
_SPELLING_BYTES = 64 << 10
#: Well-formed XML that the scanners would miss: single quotes, spaces around `=`, line breaks, end tags with a space,
#: namespaces that are declared further down than at the root.
_ODD_SPELLING = re.compile(
    rb"""\s(?:r|t|s|ref|min|max|hidden)(?:\s+=\s*["']|=\s+["']|=')|</\w+\s+>|<(?:c|row|v|t|is)(?:[\t\r\n]|\s{2})"""
    rb"""|<(?:c|row)\b[^>]*[\t\r\n]|<sheetData\s[^>/]|<\w+:(?:sheetData|row|c)[\s>]|<(?:c|v|is|t)\s[^>]*?\bxmlns"""
)


def normalize_rows(package: Package, part: str) -> Iterator[bytes]:
    """Yield the bytes of a worksheet part in Excel's spelling, in blocks.

    Raises:
        WorkbookRefused: the part is not well-formed, or not a worksheet.
    """
    return _normalize(package, part, "worksheet")


def normalize_strings(package: Package, part: str, *, rewritten: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a shared strings part in Excel's spelling, in blocks.

    Args:
        package: the workbook's package.
        part: name of the part.
        rewritten: rewrite it even if it begins in that spelling.

    Raises:
        WorkbookRefused: the part is not well-formed, or does not hold shared strings.
    """
    return _rewrite(package, part, "sst") if rewritten else _normalize(package, part, "sst")


def normalize_styles(package: Package, part: str) -> Iterator[bytes]:
    """Yield the bytes of a styles part in Excel's spelling, in blocks.

    Raises:
        WorkbookRefused: the part is not well-formed, or does not hold styles.
    """
    return _normalize(package, part, "styleSheet")


def decode_wide_escapes(xml: bytes) -> bytes:
    """Decode the escapes of characters above U+00FF (`_x4E2D_`) in `xml`; the engine decodes only those up to it.

    Two escapes that form a UTF-16 surrogate pair become one character; a lone surrogate stays escaped. The result may
    contain U+FFFE and U+FFFF, which the engine accepts, although XML 1.0 forbids them.
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


def _normalize(package: Package, part: str, root: str) -> Iterator[bytes]:
    stream = package.stream(part)
    head = next(stream, b"")
    if _is_normalized(head, root):
        return chain([head], stream)
    stream.close()  # type: ignore[attr-defined]
    return _rewrite(package, part, root)


def _is_normalized(head: bytes, root: str) -> bool:
    """Return whether a part starts in Excel's spelling: UTF-8, no prefixes, double quotes, no comments or CDATA.

    A program spells all cells the same way; what is spelled otherwise further down is rewritten where it is found (see
    `read_window` and `shared_strings`).
    """
    start = head[:_SNIFF_BYTES]
    encoding = re.search(rb"""<\?xml[^>]*encoding=["']([\w-]+)["']""", start)
    utf8 = encoding is None or encoding[1].lower() in {b"utf-8", b"utf8", b"us-ascii", b"ascii"}
    plain = (
        utf8
        and b"\0" not in start
        and not holds_declaration(head)
        and re.search(rf"<{root}[\s>]".encode(), start) is not None
    )
    return plain and _ODD_SPELLING.search(head, 0, _SPELLING_BYTES) is None


def _rewrite(package: Package, part: str, root: str) -> Iterator[bytes]:
    """Yield the part with local names only, without comments, processing instructions and CDATA marks."""
    parser = expat.ParserCreate(namespace_separator="}")
    writer = _Writer(parser)

    def start(name: str, attributes: dict[str, str]) -> None:
        if not writer.opened and _local(name) != root:
            raise WorkbookRefused(f"part {part!r} does not hold {root} but {_local(name)!r}", place=package.path.name)
        writer.start(name, attributes)

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = lambda *_: _refuse_doctype(package, part)
    try:
        for block in package.stream(part):
            parser.Parse(block, False)
            yield writer.take()
        parser.Parse(b"", True)
        yield writer.take()
    except (expat.ExpatError, ValueError, LookupError) as exc:  # the latter two: of an encoding that it cannot read
        raise WorkbookRefused(f"part {part!r} is not well-formed XML ({exc})", place=package.path.name) from None


_OPEN, _CLOSE = b"<sheetData>", b"</sheetData>"


def rewrite_rows(rows: bytes) -> bytes | None:
    """Return some rows of a sheet in Excel's spelling, as `normalize_rows` does it; None if they are not well-formed.

    Prefixes stand for the namespace of sheets: where they are declared is not known.
    """
    parser = expat.ParserCreate("UTF-8")
    writer = _Writer(parser)
    try:
        for block in (_OPEN, rows, _CLOSE):
            parser.Parse(block, block is _CLOSE)
    except expat.ExpatError:
        return None
    return writer.take()[len(_OPEN) : -len(_CLOSE)]


class _Writer:
    """Writes what a parser finds, in Excel's spelling.

    Attributes:
        opened: local names of the elements that are open.
    """

    def __init__(self, parser: expat.XMLParserType) -> None:
        from xml.sax.saxutils import escape, quoteattr  # imported here because it imports urllib

        self._quoted, self._out = quoteattr, list[str]()
        self.opened: list[str] = []
        parser.StartElementHandler, parser.EndElementHandler = self.start, self._end
        parser.CharacterDataHandler = lambda text: self._out.append(escape(text).replace("\r", "&#13;"))

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Write the start tag of an element."""
        local = _local(name)
        self.opened.append(local)
        given = ((_attribute_name(k), v) for k, v in attributes.items() if not k.startswith("xmlns"))
        self._out.append(f"<{local}{''.join(f' {k}={self._quoted(v)}' for k, v in given)}>")

    def _end(self, _name: str) -> None:
        self._out.append(f"</{self.opened.pop()}>")

    def take(self) -> bytes:
        """Return what was written since the last time."""
        text = "".join(self._out)
        self._out.clear()
        return text.encode()


def _refuse_doctype(package: Package, part: str) -> None:
    raise WorkbookRefused(f"part {part!r} has a document type declaration", place=package.path.name)


def _local(name: str) -> str:
    """Return a name without its namespace or prefix."""
    return name.rsplit("}", 1)[-1].rsplit(":", 1)[-1]


def _attribute_name(name: str) -> str:
    """Return the local name of an attribute; `xml:space` keeps its prefix, all others that matter have none."""
    return "xml:space" if name.endswith(("namespace}space", "xml:space")) else _local(name)


#: White space, also as a character reference, at the start or end of a plain `<t>`.
_TRIMMED = r"<t>(?:[ \t\r\n]|&#|[^<]*(?:[ \t\r\n]|&#x?[0-9A-Fa-f]+;)</t>)"


_PLAIN, _KEEPING = b"<t>", b'<t xml:space="preserve">'


def preserve_spaces(xml: bytes) -> bytes:
    """Return `xml` with every plain `<t>` marked to preserve spaces, if any of them starts or ends with white space."""
    text = pl.Series([xml], dtype=pl.Binary).cast(pl.String)
    return xml.replace(_PLAIN, _KEEPING) if text.str.contains(_TRIMMED)[0] else xml
