"""Owns the options that say what texts of a sheet mean: whether they are read as values, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .errors import UsageError

DateOrder = Literal["dmy", "mdy", "ymd"]
Decimal = Literal["point", "comma"]


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What texts mean where no contract says it."""

    #: Whether columns whose texts are all numbers, dates, times or booleans become columns of these.
    parse_texts: bool = False
    #: Order of day, month and year in dates, where no text of the column decides.
    date_order: DateOrder | None = None
    #: Decimal character of numbers, where no text of the column decides.
    decimal: Decimal | None = None

    def check_texts(self, *, has_contract: bool) -> None:
        """Check these options.

        Args:
            has_contract: whether a contract is given, which says all that they say.

        Raises:
            UsageError: a value is invalid, or contradicts another.
        """
        for name, allowed in (("date_order", DateOrder), ("decimal", Decimal)):
            value = getattr(self, name)
            if value is not None and value not in get_args(allowed):
                raise UsageError(f"{name} cannot be {value!r}", choice=" | ".join(get_args(allowed)))
        if (self.date_order or self.decimal) and not self.parse_texts:
            raise UsageError("--date-order and --decimal are for --parse-texts", choice="add --parse-texts")
        if self.parse_texts and has_contract:
            raise UsageError(
                "--parse-texts is for a sheet without a contract, which says what texts mean",
                choice="`importer contract` writes one that says what --parse-texts finds",
            )
