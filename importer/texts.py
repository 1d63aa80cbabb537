"""Owns what the engine would do to texts: it trims those that do not say that they keep their spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dialect import wide_escapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def keep_texts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The shared strings with leading and trailing spaces protected, and escapes decoded that the engine leaves.

    calamine trims a `<t>` that does not say `xml:space="preserve"`; some writers forget to say it. The attribute is
    added only to blocks that need it: it costs 21 bytes a string.
    """
    carry = b""
    for block in blocks:
        held = carry + block
        cut = held.rfind(b"<si>")
        if cut <= 0:
            carry = held
            continue
        yield wide_escapes(keep_spaces(held[:cut]))
        carry = held[cut:]
    yield wide_escapes(keep_spaces(carry))


def keep_spaces(xml: bytes) -> bytes:
    """`xml` with every plain `<t>` marked to keep its spaces, if one of them starts or ends with white space."""
    return xml.replace(b"<t>", b'<t xml:space="preserve">') if trims(xml) else xml


def trims(xml: bytes) -> bool:
    """Whether the engine would trim a text of `xml`: one with white space at an end, in a `<t>` without attributes."""
    if b"<t> " in xml or _trailing(xml, b" </t>"):
        return True
    # A space may also be written as a character reference.
    if b"&#" in xml and (b"<t>&#" in xml or _trailing(xml, b";</t>")):
        return True
    # Line breaks and tabs are rare enough that most blocks end here.
    if not any(c in xml for c in (b"\n", b"\t", b"\r")):
        return False
    return any(b"<t>" + c in xml or _trailing(xml, c + b"</t>") for c in (b"\n", b"\t", b"\r") if c in xml)


def _trailing(xml: bytes, end: bytes) -> bool:
    """Whether a plain `<t>` ends like that."""
    position = xml.find(end)
    while position >= 0:
        start = xml.rfind(b"<t", 0, position)
        if xml[start : start + 3] == b"<t>":
            return True
        position = xml.find(end, position + 1)
    return False
