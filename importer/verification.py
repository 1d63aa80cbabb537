"""Owns the comparison of what the server holds with what was read: column by column, and the texts of each row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from .checksums import TEXTS, Checksum, TextHash, sql_checksums
from .errors import VerificationFailed
from .postgres import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .postgres import Session

_CHOICE = "run again; nothing was published"


def compare(
    session: Session, rows_of: str, types: Mapping[str, str], rows: int, expected: Mapping[str, Checksum],
    text_hash: TextHash, place: str = "staging",
) -> None:  # fmt: skip
    """Compare rows that were written with what was read.

    Args:
        session: any transaction that sees them.
        rows_of: behind FROM: which rows of which table.
        types: column -> type in that table, in the order of the rows' texts.
        rows: that were accepted.
        expected: checksums of the accepted rows by column.
        text_hash: by which those of the texts were made.
        place: what the message calls the table.

    Raises:
        VerificationFailed: a column differs; nothing may be published.
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
            what = f"what the texts of {place}'s rows hold" if name == TEXTS else f"column {name!r} of {place}"
            raise VerificationFailed(
                f"{what} differs from what was read: {found} instead of {expected.get(name)}", choice=_CHOICE
            )
