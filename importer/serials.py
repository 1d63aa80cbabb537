"""Owns Excel's dates: serial numbers, their two epochs, and which of them are no date at all.

Serial 1 is 1900-01-01, and serial 60 is 1900-02-29, a day that never was (ECMA-376 part 1, 18.17.4.1, keeps the bug of
Lotus 1-2-3). In the 1904 system serial 0 is 1904-01-01. Serials in [0, 1) are times of day; the last one is 9999-12-31.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

_DAY_MS = 86_400_000
_LEAP_BUG = 60
_UNIX_DAY = date(1970, 1, 1).toordinal()
_END_MS = (date.max.toordinal() + 1 - _UNIX_DAY) * _DAY_MS
_BUG_MS = ((date(1900, 2, 28).toordinal() - _UNIX_DAY) * _DAY_MS, (date(1900, 3, 1).toordinal() - _UNIX_DAY) * _DAY_MS)


class Epoch:
    """One of the two date systems.

    Attributes:
        day_zero: the day of serial 0, as times of day show it.
    """

    def __init__(self, epoch_1904: bool) -> None:
        self._is_1904 = epoch_1904
        self.day_zero = datetime(1904, 1, 1) if epoch_1904 else datetime(1899, 12, 31)  # noqa: DTZ001

    def doubtful(self, stamps: pl.Series) -> bool:
        """Whether the engine's stamps may hide a serial that is no date (negative, 60, beyond 9999)."""
        # Integers, because Python's datetime ends where the doubtful ones begin.
        milliseconds = stamps.cast(pl.Int64)
        first = (self.day_zero.toordinal() - _UNIX_DAY) * _DAY_MS
        wrong = (milliseconds < first) | (milliseconds >= _END_MS)
        if not self._is_1904:
            wrong |= (milliseconds >= _BUG_MS[0]) & (milliseconds < _BUG_MS[1])
        return bool(wrong.any())

    def split(self, stamps: pl.Series) -> dict[str, pl.Series]:
        """The engine's stamps as datetimes and times of day (which it puts on the day of serial 0)."""
        is_time = stamps < self.day_zero + timedelta(days=1)
        if not is_time.any():
            return {"datetime": stamps}
        frame = pl.DataFrame({"s": stamps, "t": is_time})
        return {
            "datetime": frame.select(pl.when(~pl.col("t")).then(pl.col("s"))).to_series(),
            "time": frame.select(pl.when(pl.col("t")).then(pl.col("s").dt.time())).to_series(),
        }

    def value(self, serial: float, *, elapsed: bool) -> tuple[str, Any]:
        """Kind and value of a cell with a date or time format, rounded to milliseconds as the engine does.

        Args:
            serial: days.
            elapsed: the format counts hours beyond 24 (`[h]:mm`).
        """
        if elapsed:
            return "duration", timedelta(milliseconds=round(serial * _DAY_MS))
        if not self._is_1904 and _LEAP_BUG <= serial < _LEAP_BUG + 1:
            return "unreadable", f"date serial {serial:g} (1900-02-29, a day that never was)"
        if serial < 0:
            return "unreadable", f"date serial {serial:g} (before the first day that a sheet can have)"
        milliseconds = round(serial * _DAY_MS)
        if milliseconds < _DAY_MS:
            return "time", (self.day_zero + timedelta(milliseconds=milliseconds)).time()
        # Behind the day that never was, serials are one ahead.
        ahead = 0 if self._is_1904 or serial < _LEAP_BUG else 1
        try:
            stamp = self.day_zero + timedelta(milliseconds=milliseconds - ahead * _DAY_MS)
        except OverflowError:
            return "unreadable", f"date serial {serial:g} (after the year 9999)"
        return "datetime", stamp

    def iso(self, text: str) -> tuple[str, Any]:
        """Kind and value of a cell that holds its date as ISO 8601 text (`t="d"`).

        A sheet knows no zones and we carry milliseconds: what says more than that is unreadable.
        """
        for kind, parse in (("datetime", datetime.fromisoformat), ("time", time.fromisoformat)):
            try:
                value = parse(text)
            except ValueError:
                continue
            exact = value.tzinfo is None and value.microsecond % 1000 == 0
            return (kind, value) if exact else ("unreadable", text)
        return "unreadable", text
