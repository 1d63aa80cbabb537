"""Rewrites records in which quotes stand where they quote nothing, so that every quote left has its meaning."""

from __future__ import annotations

import re

from importer.errors import WorkbookRefused

#: A quoted text that is closed.
_CLOSED = rb'"[^"]*+(?:""[^"]*+)*+"'


class BareQuotes:
    """The records of one file, read field by field where the places of quotes are not those of RFC 4180.

    Args:
        delimiter: byte between fields.
        eol: byte at the end of a line.
        place: name of the file, for messages.

    Attributes:
        count: number of fields with a quote that quotes nothing.
        line: line of the first of them.
    """

    def __init__(self, delimiter: bytes, eol: bytes, place: str) -> None:
        char = re.escape(delimiter) + eol
        before = rb"\r?" if eol == b"\n" else b""
        self._field = re.compile(
            rb'(?P<quoted>%s%s(?=[%s]))|(?P<plain>(?:[^"%s][^%s]*+)?+)(?=[%s])'
            % (_CLOSED, before, char, char, char, char)
        )
        self._closed = re.compile(_CLOSED)
        self._eol, self._place = eol, place
        self.count = self.line = 0

    def rewrite(self, data: bytes, first_line: int, *, complete: bool) -> tuple[bytes, int]:
        """Return the whole records at the start of `data`, such fields quoted, and the number of bytes that they had.

        Raises:
            WorkbookRefused: a quoted text is followed by something else than the end of its field, or never ends.
        """
        out: list[bytes] = []
        at = used = copied = 0
        whole = (0, 0)  # how much of `out` belongs to whole records, and where its last piece ends in `data`
        while at < len(data):
            match = self._field.match(data, at)
            if match is None:
                if not complete and self._may_go_on(data, at):
                    break
                raise self._refusal(data, at, first_line)
            if match["quoted"] is None and b'"' in match[0]:
                self._count(data, at, first_line)
                out += (data[copied:at], self._quoted(match[0]))
                copied = match.end()
            at = match.end() + 1
            if data[at - 1 : at] == self._eol:
                used, whole = at, (len(out), copied)
        return b"".join(out[: whole[0]]) + data[whole[1] : used], used

    def _may_go_on(self, data: bytes, at: int) -> bool:
        """Return whether what follows `data` can end the field that begins at `at`."""
        closed = self._closed.match(data, at)
        return data[at : at + 1] != b'"' or closed is None or len(data) - closed.end() <= 1

    def _count(self, data: bytes, at: int, first_line: int) -> None:
        self.count += 1
        self.line = self.line or first_line + data[:at].count(self._eol)

    def _quoted(self, text: bytes) -> bytes:
        """Return a field as RFC 4180 writes it."""
        end = b"\r" if self._eol == b"\n" and text.endswith(b"\r") else b""
        return b'"' + text[: len(text) - len(end)].replace(b'"', b'""') + b'"' + end

    def _refusal(self, data: bytes, at: int, first_line: int) -> WorkbookRefused:
        line = first_line + data[:at].count(self._eol)
        closed = self._closed.match(data, at)
        what = "is followed by more text" if closed else "is never closed"
        if closed and data[closed.end() - 2 : closed.end() - 1] == b"\\":
            what += " (a quote is escaped by a backslash)"
        return WorkbookRefused(
            f"a quoted text {what}",
            place=f"{self._place}, line {line}",
            choice='write "" for a quote within a quoted text, and quotes around the whole field',
        )
