"""Packs the rejects of a run: for the ledger, and for the process that writes those of many imports into one workbook.

What is packed are opaque parts by name: `about` (JSON), `errors` and `rows` (frames as compressed Arrow IPC files).
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import polars as pl

from importer.cells.frame import ROW
from importer.reading.header import SheetColumn
from importer.reading.places import CellAddresses
from importer.runtime.output_file import FileIdentity

from .workbook import Rejects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from importer.report.model import Report

ABOUT, _ERRORS, _ROWS = "about", "errors", "rows"
#: Of rejects that have no file of their own.
NO_FILE = FileIdentity(0, 0, 0, 0)


class RejectsPlace(NamedTuple):
    """What a run knows of its rejects file.

    Attributes:
        path: the name that the file is to get, or its address.
        file: identity of the file when it was written.
        replaced: identity of the file that it is to replace, or None.
    """

    path: str
    file: FileIdentity
    replaced: FileIdentity | None


@dataclass(frozen=True)
class KeptRejects:
    """The rejects of a run, and what it knew of their file.

    Attributes:
        rejects: the rejects.
        mend_options: options of the command that loads the file once its cells are fixed.
        place: what the run knew of that file.
    """

    rejects: Rejects
    mend_options: tuple[str, ...]
    place: RejectsPlace

    @classmethod
    def unpack(cls, parts: Mapping[str, bytes]) -> Self:
        """Return the rejects that `pack_rejects` packed."""
        about = json.loads(parts[ABOUT])
        errors, rows = (pl.read_ipc(io.BytesIO(parts[name])) for name in (_ERRORS, _ROWS))
        places = about["places"]
        addresses = CellAddresses(places["sheet"], dict(places["rows"]), dict(places["letters"]))
        columns = [SheetColumn(*column) for column in about["columns"]]
        replaced = about["replaced"]
        return cls(
            Rejects(errors, rows, columns, addresses, about["properties"]), tuple(about["mend_options"]),
            RejectsPlace(about["path"], FileIdentity(*about["file"]), FileIdentity(*replaced) if replaced else None),
        )  # fmt: skip


def pack_rejects(rejects: Rejects, report: Report, place: RejectsPlace) -> dict[str, bytes]:
    """Return the rejects of a run as parts."""
    frames: dict[str, bytes] = {}
    for name, frame in ((_ERRORS, rejects.errors), (_ROWS, rejects.frame)):
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="zstd")
        frames[name] = buffer.getvalue()
    places, numbers = rejects.places, rejects.frame[ROW].to_list()
    about: dict[str, Any] = {
        "columns": [(c.index, c.header, c.name) for c in rejects.columns],
        "places": {
            "sheet": rejects.sheet or report.sheet,
            "rows": [(row, places.rows[row]) for row in numbers if row in places.rows],
            "letters": list(places.letters.items()),
        },
        "properties": rejects.about, "mend_options": report.mend_options, **place._asdict(),
    }  # fmt: skip
    return {ABOUT: json.dumps(about).encode(), **frames}


def with_place(about: bytes, place: RejectsPlace) -> bytes:
    """Return the part `ABOUT` of packed rejects, of which another file is known now."""
    return json.dumps({**json.loads(about), **place._asdict()}).encode()


class PackedFolder:
    """Packed rejects as files in a folder, which gets its name when the import has ended; has methods of `OutputFile`.

    Args:
        path: the folder that is to be; nothing has that name.
        parts: what `pack_rejects` returned.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, parts: Mapping[str, bytes]) -> None:
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        # An attempt before this one may have been killed.
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(mode=0o700)
        for name, content in parts.items():
            (self._part / name).write_bytes(content)

    def place(self) -> None:
        """Give the folder its name."""
        shutil.rmtree(self._path, ignore_errors=True)
        self._part.rename(self._path)

    def discard(self) -> None:
        """Remove the folder, if it has not got its name."""
        shutil.rmtree(self._part, ignore_errors=True)


def read_packed(path: Path) -> dict[str, bytes]:
    """Return the parts that a `PackedFolder` has placed; none if none has."""
    return {file.name: file.read_bytes() for file in path.iterdir()} if path.is_dir() else {}


def properties_of(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the document properties (see `rejects_origin`) and mend options of a placed folder."""
    about = json.loads((path / ABOUT).read_bytes())
    return dict(about["properties"]), tuple(about["mend_options"])
