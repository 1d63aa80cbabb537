"""Says how the columns of a sheet differ from the fields that they should fill: every difference, the nearest names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.contract.known_keys import nearest
from importer.errors import ContractError

if TYPE_CHECKING:
    from importer.cells.field import Field
    from importer.reading.header import SheetColumn


def drift_error(
    missing: list[Field], extra: list[SheetColumn], left: list[SheetColumn], columns: list[SheetColumn]
) -> ContractError:
    """Return the error for a sheet whose columns differ from the fields, with all differences.

    Args:
        missing: fields that must have a column and have none.
        extra: columns that have no field and may not be left out.
        left: all columns that have no field.
        columns: all columns to load.
    """
    facts, choices = [], []
    pairs = _renamed(missing, left)
    if missing:
        facts.append(f"missing-label: the sheet has no column {', '.join(repr(f.title or f.name) for f in missing)}")
        choices += [f"{_shown(c)} may be {f.title or f.name!r} under a new name" for f, c in pairs]
        choices.append(f"its columns: {', '.join(repr(c.header or c.name) for c in columns)}")
    if extra:
        facts.append(f"extra-label: the contract has no field for {', '.join(map(_shown, extra))}")
        choices.append(
            "add fields, --drift add-columns, or leave the columns out with --drift ignore-extra or --columns"
        )
    return ContractError("; ".join(facts), choice="; ".join(choices))


def _shown(column: SheetColumn) -> str:
    return f"{column.header or 'no header'!r} (column {column.letter})"


def _renamed(missing: list[Field], extra: list[SheetColumn]) -> list[tuple[Field, SheetColumn]]:
    """Return the pairs of a missing field and the new column whose name is most like it."""
    left = {c.header or c.name: c for c in extra}
    pairs = []
    for field in missing:
        near = nearest(field.title or field.name, list(left)) or nearest(field.name, list(left))
        if near is not None:
            pairs.append((field, left.pop(near)))
    return pairs
