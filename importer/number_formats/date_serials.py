"""Converts Excel's date serials in both date systems, and detects serials that are not a date.

Serial 1 is 1900-01-01, and serial 60 is 1900-02-29, which did not exist (ECMA-376 part 1, 18.17.4.1, keeps the bug of
Lotus 1-2-3). In the 1904 system serial 0 is 1904-01-01. Serials in [0, 1) are times of day; the last day is 9999-12-31.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_DAY_MS = 86_400_000
#: Longest duration, in ms: what 64 bits hold in µs, as do Arrow and `interval` (292,271 years).
_LONGEST_MS = (2**63 - 1) // 1000
_LEAP_BUG = 60
_UNIX_DAY = date(1970, 1, 1).toordinal()
_END_MS = (date.max.toordinal() + 1 - _UNIX_DAY) * _DAY_MS
_LEAP_BUG_MS = (
    (date(1900, 2, 28).toordinal() - _UNIX_DAY) * _DAY_MS,
    (date(1900, 3, 1).toordinal() - _UNIX_DAY) * _DAY_MS,
)


class DateSystem:
    """One of Excel's two date systems, counting from 1899-12-31 or from 1904-01-01.

    Attributes:
        day_zero: the day of serial 0, on which the engine puts times of day.
    """

    def __init__(self, epoch_1904: bool) -> None:
        self._is_1904 = epoch_1904
        self.day_zero = datetime(1904, 1, 1) if epoch_1904 else datetime(1899, 12, 31)  # noqa: DTZ001

    def has_invalid(self, stamps: pl.Series) -> bool:
        """Return whether some of the engine's stamps may come from an invalid serial (negative, 60, after 9999)."""
        # Compared as integers, because Python's datetime cannot represent stamps after 9999.
        milliseconds = stamps.cast(pl.Int64)
        first = (self.day_zero.toordinal() - _UNIX_DAY) * _DAY_MS
        wrong = (milliseconds < first) | (milliseconds >= _END_MS)
        if not self._is_1904:
            wrong |= (milliseconds >= _LEAP_BUG_MS[0]) & (milliseconds < _LEAP_BUG_MS[1])
        return bool(wrong.any())

    @staticmethod
    def has_too_long(durations: pl.Series) -> bool:
        """Return whether some durations are longer than can be stored; the engine's are milliseconds."""
        size = durations.cast(pl.Duration("ms")).cast(pl.Int64)
        return bool(((size > _LONGEST_MS) | (size < -_LONGEST_MS)).any())

    def split(self, stamps: pl.Series) -> dict[str, pl.Series]:
        """Split the engine's stamps into datetimes and times of day (which it puts on the day of serial 0)."""
        is_time = stamps < self.day_zero + timedelta(days=1)
        if not is_time.any():
            return {"datetime": stamps}
        frame = pl.DataFrame({"s": stamps, "t": is_time})
        return {
            "datetime": frame.select(pl.when(~pl.col("t")).then(pl.col("s"))).to_series(),
            "time": frame.select(pl.when(pl.col("t")).then(pl.col("s").dt.time())).to_series(),
        }

    def stamps(self, serials: NDArray[np.float64]) -> tuple[NDArray[np.int64], Mask, Mask]:
        """Return the dates and times of some serials as `value` does, all at once.

        Returns:
            Milliseconds since 1970, or since midnight where it is a time of day; whether it is one; and whether a
            serial is valid (else `value` says why not).
        """
        with np.errstate(over="ignore"):
            valid = (serials >= 0) & (serials * _DAY_MS <= _LONGEST_MS)
        if not self._is_1904:
            valid &= (serials < _LEAP_BUG) | (serials >= _LEAP_BUG + 1)
        milliseconds = np.rint(np.where(valid, serials, 0.0) * _DAY_MS).astype(np.int64)
        is_time = milliseconds < _DAY_MS
        first = (self.day_zero.toordinal() - _UNIX_DAY) * _DAY_MS
        ahead = 0 if self._is_1904 else np.where(serials < _LEAP_BUG, 0, _DAY_MS)
        stamps = np.where(is_time, milliseconds, milliseconds + first - ahead)
        return stamps, is_time, valid & (stamps < _END_MS)

    @staticmethod
    def durations(serials: NDArray[np.float64]) -> tuple[NDArray[np.int64], Mask]:
        """Return some serials as durations in milliseconds, and whether each can be stored; see `value`."""
        with np.errstate(over="ignore"):
            valid = np.abs(serials) * _DAY_MS <= _LONGEST_MS
        return np.rint(np.where(valid, serials, 0.0) * _DAY_MS).astype(np.int64), valid

    def value(self, serial: float, *, elapsed: bool) -> tuple[str, Any]:
        """Return kind and value of a cell with a date or time format, rounded to milliseconds as the engine does.

        Args:
            serial: date serial, in days.
            elapsed: whether the format is for durations, with hours beyond 24 (`[h]:mm`).
        """
        if math.isnan(serial):
            return "unreadable", "date serial nan (not a number)"
        if elapsed:
            if abs(serial) * _DAY_MS > _LONGEST_MS:
                return "unreadable", f"duration of {serial:.17g} days (too long to be stored)"
            return "duration", timedelta(milliseconds=round(serial * _DAY_MS))
        if not self._is_1904 and _LEAP_BUG <= serial < _LEAP_BUG + 1:
            return "unreadable", f"date serial {serial:g} (1900-02-29, which did not exist)"
        if serial < 0:
            return "unreadable", f"date serial {serial:g} (before the first valid date)"
        if serial * _DAY_MS > _LONGEST_MS:
            return "unreadable", f"date serial {serial:g} (after the year 9999)"
        milliseconds = round(serial * _DAY_MS)
        if milliseconds < _DAY_MS:
            return "time", (self.day_zero + timedelta(milliseconds=milliseconds)).time()
        # From the nonexistent 1900-02-29 on, serials are one too high.
        ahead = 0 if self._is_1904 or serial < _LEAP_BUG else 1
        try:
            stamp = self.day_zero + timedelta(milliseconds=milliseconds - ahead * _DAY_MS)
        except OverflowError:
            return "unreadable", f"date serial {serial:g} (after the year 9999)"
        return "datetime", stamp
