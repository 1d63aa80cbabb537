"""Defines a proposal, and the question that a column leaves open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells.convert import convert
from importer.cells.field import Field

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Share of a column's values that are of one kind, from which `--mixed reject` rejects the others.
MAIN_SHARE = 0.95


@dataclass(frozen=True)
class Proposal:
    """What the texts of a column are.

    Attributes:
        type: field type of Table Schema.
        what: the same for people, such as `numbers with decimal comma`.
        format: format of the field.
        options: options of the field (`decimalChar`, `trueValues`…).
        missing: texts among them that mean a missing value.
        pg_type: PostgreSQL type of a new column, if that of the field type would lose something.
    """

    type: str
    what: str
    format: str = "default"
    options: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    pg_type: str | None = None

    def converted(self, texts: pl.Series) -> pl.Series:
        """Return texts as values of the field; null for those that are none."""
        frame = pl.DataFrame({"0.text": texts})
        return frame.select(
            convert(Field("", self.type, format=self.format, options=self.options), 0, ["text"])
        ).to_series()

    def fits(self, texts: pl.Series) -> bool:
        """Return whether every text is a value of the field."""
        # A few decide nearly always.
        head = texts.head(_FEW)
        return not self.converted(head).has_nulls() and (
            len(texts) == len(head) or not self.converted(texts).has_nulls()
        )


@dataclass(frozen=True)
class Question:
    """Why texts are not proposed to be values: they have two meanings, and none of them decides.

    Attributes:
        what: the text, and what it may mean.
        choice: the options that decide.
    """

    what: str
    choice: str


_FEW = 64


def decide(fitting: list[Proposal], texts: pl.Series, choice: str) -> Proposal | Question | None:
    """Return the first of the proposals that fit all texts, if all of them make the same values of them.

    Args:
        fitting: proposals of one type that fit all texts.
        texts: the texts.
        choice: the options that decide between them.
    """
    if len(fitting) < 2:  # noqa: PLR2004 - nothing to decide
        return fitting[0] if fitting else None
    first, values = fitting[0], fitting[0].converted(texts)
    for other in fitting[1:]:
        differs = (values != other.converted(texts)).arg_true()
        if len(differs):
            text = texts[int(differs[0])]
            meant = f"{_shown(values[int(differs[0])])} or {_shown(other.converted(texts)[int(differs[0])])}"
            return Question(f'"{text}" may be {meant}, and no other cell decides', choice)
    return first


def _shown(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
