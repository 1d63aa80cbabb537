"""Deletes runs from the ledger that ended long ago, so that it does not grow for ever."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from importer.errors import UsageError

from .migrations import find_ledger
from .schema import SCHEMA
from .tables import LOADING, PUBLISHED

if TYPE_CHECKING:
    from importer.postgres.session import Session

#: Seconds of the units of an age.
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
#: A hundred years: what is older is a mistake, and would be no time that the server knows.
_MOST_SECONDS = 100 * 366 * 86_400


def age_seconds(text: str) -> int:
    """Return the seconds of an age such as `12h`, `90d` or `4w`.

    Raises:
        UsageError: the text is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,9})([hdw])", text.strip(), re.ASCII)
    seconds = int(found[1]) * _UNITS[found[2]] if found else _MOST_SECONDS + 1
    if seconds > _MOST_SECONDS:
        raise UsageError(
            "not an age", place=f"--older-than {text}", choice="hours, days or weeks, such as 12h, 90d, 4w"
        )
    return seconds


def prune_runs(session: Session, seconds: int) -> int:
    """Delete this role's runs that ended longer ago, with their chunks and kept rejects; return how many. Commits.

    What they published stays. Runs that can still be resumed stay, too.
    """
    if not find_ledger(session, writes=True):
        return 0
    deleted = session.run(
        f"DELETE FROM {SCHEMA}.runs WHERE finished_at < now() - {int(seconds)} * interval '1 second' "
        f"AND (state = '{PUBLISHED}' OR state <> '{LOADING}' AND staging IS NULL)"
    )
    session.commit()
    return int(deleted)
