"""Reads chosen elements from small XML parts, in document order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.parsers import expat

from importer.errors import WorkbookRefused

from .package import SMALL_PART_BYTES
from .sniff import SAVE_AS

if TYPE_CHECKING:
    from .package import Package

#: Maximum number of wanted elements in a part. A workbook that lists more sheets or parts is an attack.
_MAX_ELEMENTS = 100_000


class Element(NamedTuple):
    """An element of a small XML part: local name, depth (0 for the root), attributes by `namespace}name`, its text."""

    name: str
    depth: int
    attributes: dict[str, str]
    text: str = ""


def find_elements(package: Package, part: str, wanted: set[str]) -> list[Element]:
    """Return the elements whose local name is in `wanted`, in document order; the rest of the part is not kept.

    Raises:
        WorkbookRefused: the part is too large, not well-formed, lists too many wanted elements, or has a document type
            declaration in any encoding.
    """
    found: list[Element] = []
    texts: list[list[str]] = []
    depth = -1

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if (name := local_name(tag)) in wanted:
            found.append(Element(name, depth, attributes))
            texts.append([])
            if len(found) > _MAX_ELEMENTS:
                raise WorkbookRefused(
                    f"part {part!r} lists more than {_MAX_ELEMENTS:,} entries", place=package.path.name
                )

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    def text(content: str) -> None:
        if found and depth == found[-1].depth:
            texts[-1].append(content)

    def doctype(*_: object) -> None:
        raise WorkbookRefused(
            f"part {part!r} has a document type declaration, which no workbook needs and attacks use",
            place=package.path.name,
        )

    _check_size(package, part)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    parser.CharacterDataHandler = text
    try:
        for block in package.stream(part):
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise WorkbookRefused(
            f"part {part!r} is not well-formed XML ({exc})", place=package.path.name, choice=SAVE_AS
        ) from None
    return [each._replace(text="".join(content)) for each, content in zip(found, texts, strict=True)]


def _check_size(package: Package, part: str) -> None:
    if package.size(part) > SMALL_PART_BYTES:
        raise WorkbookRefused(
            f"part {part!r} is {package.size(part):,} bytes, far more than such a part needs", place=package.path.name
        )


def local_name(tag: str) -> str:
    """Return the name of a tag or an attribute without its namespace."""
    return tag.rsplit("}", 1)[-1]
