"""Compares the rows that the server holds with those that were read: column by column, and the texts of each row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import VerificationFailed
from importer.postgres.sql import quote

from .checksum_sql import TEXTS, Checksum, TextHash, sql_checksums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.postgres.session import Session

_CHOICE = "run again; nothing was published"


class ExpectedRows(NamedTuple):
    """What is known of the rows that were read and accepted.

    Attributes:
        rows: number of rows.
        checksums: checksum by column, and that of the texts of each row under `TEXTS`.
        text_hash: hash used for the checksum of the texts.
    """

    rows: int
    checksums: Mapping[str, Checksum]
    text_hash: TextHash


def verify_rows(
    session: Session, rows_of: str, types: Mapping[str, str], expected: ExpectedRows, place: str = "staging"
) -> None:
    """Compare rows that were written with what was read.

    Args:
        session: session whose transaction sees the rows.
        rows_of: SQL after FROM: the table and, if needed, a WHERE clause.
        types: type in that table by column, in the order in which the texts of a row are joined.
        expected: count and checksums of the accepted rows.
        place: name of the table for the message.

    Raises:
        VerificationFailed: the number of rows or a column differs; nothing may be published.
    """
    columns = {name: (quote(name), pg_type) for name, pg_type in types.items()}
    long_texts = len(expected.checksums.get(TEXTS, ())) > 1
    asked = sql_checksums(columns, expected.text_hash, long_texts=long_texts, utf8=session.encoding.keeps_utf8)
    expressions = ["count(*)", *itertools.chain.from_iterable(asked.values())]
    # One array, because a query gives 1,664 columns at most.
    listed = ", ".join(f"({expression})::text" for expression in expressions)
    numbers = map(int, session.query(f"SELECT ARRAY[{listed}] FROM {rows_of}")[0][0])
    count = next(numbers)
    if count != expected.rows:
        raise VerificationFailed(f"{expected.rows:,} rows were accepted but {place} holds {count:,}", choice=_CHOICE)
    for name, parts in asked.items():
        found = tuple(itertools.islice(numbers, len(parts)))
        if found != expected.checksums.get(name, (0,) * len(parts)):
            what = f"the text content of {place}'s rows" if name == TEXTS else f"column {name!r} of {place}"
            raise VerificationFailed(
                f"{what} differs from what was read: {found} instead of {expected.checksums.get(name)}", choice=_CHOICE
            )
