"""Compares the rows that the server holds with those that were read: column by column, and the texts of each row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from importer.errors import VerificationFailed

from .checksum_sql import TEXTS, Checksum, TextHash, sql_checksums
from .sql import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .session import Session

_CHOICE = "run again; nothing was published"


def verify_rows(
    session: Session, rows_of: str, types: Mapping[str, str], rows: int, expected: Mapping[str, Checksum],
    text_hash: TextHash, place: str = "staging",
) -> None:  # fmt: skip
    """Compare rows that were written with what was read.

    Args:
        session: session whose transaction sees the rows.
        rows_of: SQL after FROM: the table and, if needed, a WHERE clause.
        types: type in that table by column, in the order in which the texts of a row are joined.
        rows: number of accepted rows.
        expected: checksums of the accepted rows by column.
        text_hash: hash used for the checksum of the texts.
        place: name of the table for the message.

    Raises:
        VerificationFailed: the number of rows or a column differs; nothing may be published.
    """
    asked = sql_checksums({name: (quote(name), pg_type) for name, pg_type in types.items()}, text_hash)
    expressions = ["count(*)", *itertools.chain.from_iterable(asked.values())]
    named = ", ".join(f"{expression} AS c{n}" for n, expression in enumerate(expressions))
    numbers = iter([int(n) for n in session.query(f"SELECT {named} FROM {rows_of}")[0]])
    count = next(numbers)
    if count != rows:
        raise VerificationFailed(f"{rows:,} rows were accepted but {place} holds {count:,}", choice=_CHOICE)
    for name, parts in asked.items():
        found = tuple(itertools.islice(numbers, len(parts)))
        if found != expected.get(name, (0,) * len(parts)):
            what = f"the text content of {place}'s rows" if name == TEXTS else f"column {name!r} of {place}"
            raise VerificationFailed(
                f"{what} differs from what was read: {found} instead of {expected.get(name)}", choice=_CHOICE
            )
