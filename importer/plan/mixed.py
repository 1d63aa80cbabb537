"""Finds the columns whose kinds mix, and says for each what it holds, how it is loaded, and what decides otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .infer import TYPE_OF_KIND, infer_type
from .model import find_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from importer.cells.facts import ColumnFacts, Value
    from importer.reading.header import Header, SheetColumn
    from importer.reading.places import CellAddresses
    from importer.settings import MixedPolicy, Settings

#: Most cells that are shown of a column, and characters of each.
_MOST_CELLS, _MOST_CHARACTERS = 3, 40
_KIND_NAMES = {
    "number": ("number", "numbers"), "text": ("text", "texts"), "boolean": ("boolean", "booleans"),
    "date": ("date", "dates"), "datetime": ("date with a time", "dates with a time"), "time": ("time", "times"),
    "duration": ("duration", "durations"), "instant": ("date with an offset", "dates with an offset"),
}  # fmt: skip


@dataclass(frozen=True)
class MixedColumn:
    """A column that holds values of several kinds.

    Attributes:
        name: name of the column in the table.
        counts: number of cells by kind, the most frequent first.
        cells: (address without the sheet, value as shown) of the first cells that are not of the most frequent kind.
        type: field type that the column is loaded as.
        main_type: field type of the most frequent kind.
    """

    name: str
    counts: tuple[tuple[str, int], ...]
    cells: tuple[tuple[str, str], ...]
    type: str
    main_type: str

    @property
    def others(self) -> int:
        """The number of cells that are not of the most frequent kind."""
        return sum(count for _, count in self.counts[1:])

    def describe(self) -> str:
        """Return what the column holds: `amount: 98 numbers, 2 texts (D7 "abc", D12 "12,50")`."""
        counted = count_kinds(dict(self.counts))
        shown = ", ".join(f"{address} {value}" for address, value in self.cells)
        more = ", …" if self.others > len(self.cells) else ""
        return f"{self.name}: {counted} ({shown}{more})" if shown else f"{self.name}: {counted}"

    def to_dict(self) -> dict[str, Any]:
        """Return the column as in the JSON of an inspection; `others` counts cells of other kinds."""
        return {
            "what": self.describe(), "main_type": self.main_type, "others": self.others,
            "cells": [{"address": address, "value": value} for address, value in self.cells],
        }  # fmt: skip

    def advise(self) -> str:
        """Return what the column is loaded as, and which option decides otherwise."""
        those = "that one" if self.others == 1 else f"those {self.others:,}"
        if self.type != "string":
            return f"loaded as {self.type}, {those} rejected; --types {self.name}=string loads all"
        if self.main_type == "string":
            return f"loaded as text; --types {self.name}=string if that is meant"
        return f"loaded as text; --types {self.name}={self.main_type} rejects {those}"


def count_kinds(counts: Mapping[str, int]) -> str:
    """Return numbers of cells by kind, for people: `98 numbers, 2 texts`."""
    return ", ".join(f"{count:,} {_KIND_NAMES[kind][count != 1]}" for kind, count in counts.items())


def find_mixed(
    columns: Iterable[SheetColumn], facts: dict[int, ColumnFacts], places: CellAddresses, policy: MixedPolicy
) -> list[MixedColumn]:
    """Return the columns of several kinds, left to right.

    Args:
        columns: columns whose type is inferred.
        facts: facts of all rows by sheet column (0-based).
        places: the addresses of the cells.
        policy: how mixed columns are loaded.
    """
    found = []
    for column in columns:
        mine = facts.get(column.index)
        if mine is None or len(counts := mine.value_counts) < 2:  # noqa: PLR2004 - kinds that mix
            continue
        main = max(counts, key=lambda kind: counts[kind])
        others = [
            (row, show_value(value))
            for kind, cells in mine.examples.items()
            if _group(kind) != _group(main)
            for row, value in cells
        ]
        letter = places.letter(column.index)
        found.append(
            MixedColumn(
                name=column.name,
                counts=tuple(sorted(counts.items(), key=lambda each: -each[1])),
                cells=tuple((f"{letter}{places.row(row)}", value) for row, value in sorted(others)[:_MOST_CELLS]),
                type=infer_type(mine, policy),
                main_type=TYPE_OF_KIND[main],
            )
        )
    return found


def identifiers_note(names: Sequence[str]) -> str:
    """Return a note on columns of numbers that are texts, because their formats fill them up with zeros."""
    advice = f"--types {names[0]}=integer loads numbers"
    return (
        f"numbers filled up with zeros by their format are identifiers, loaded as texts: {', '.join(names)}; {advice}"
    )


def lost_zeros_note(names: Sequence[str]) -> str:
    """Return a note on columns that are numbers though the formats of some of their cells fill them up with zeros."""
    which = "some numbers, but not all, are whole and filled up with zeros by their format; loaded as numbers"
    return f"{which}: {', '.join(names)}; --types {names[0]}=string keeps what is shown"


def undecided(settings: Settings, header: Header) -> list[SheetColumn]:
    """Return the columns of a sheet that `--types` does not name."""
    named = [find_column(list(header.columns), word) for word, _ in settings.types]
    return [c for c in header.columns if c not in named]


def _group(kind: str) -> str:
    return "date" if kind == "datetime" else kind


def show_value(value: Value) -> str:
    """Return a value as people read it: a text in quotes, cut if it is long."""
    if isinstance(value, str):
        text = value if len(value) <= _MOST_CHARACTERS else value[: _MOST_CHARACTERS - 1] + "…"
        return f'"{text}"'
    if isinstance(value, bool):
        return str(value).upper()
    return f"{value:.15g}" if isinstance(value, float) else str(value)
