"""Defines the notes of a report that are codes with fields, and renders notes as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Code of the note on a column whose kinds mix; fields: `what` it holds, `advice`.
MIXED_COLUMN = "mixed-column"
#: Code of the note on the rejects of an earlier run; fields: `rows`, and `file` if there is a rejects file.
REJECTED_THEN = "rejected-then"


@dataclass(frozen=True)
class Note:
    """A note as data, so that a program can leave out a field, such as a path, before it is rendered."""

    code: str
    fields: Mapping[str, Any]

    def without(self, *names: str) -> Note:
        """Return the note without these fields."""
        return Note(self.code, {name: value for name, value in self.fields.items() if name not in names})


def note_text(note: Note | str) -> str:
    """Return the text of a note; notes in which nothing is ever left out are texts already."""
    if isinstance(note, str):
        return note
    if note.code == MIXED_COLUMN:
        return f"{note.fields['what']}: {note.fields['advice']}"
    assert note.code == REJECTED_THEN, note.code
    file = note.fields.get("file")
    rows = "1 row was" if note.fields["rows"] == 1 else f"{note.fields['rows']:,} rows were"
    return f"{rows} rejected then{f', and written to {file}' if file else ''}"
