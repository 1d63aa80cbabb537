"""Reads dates, times and durations that are written as ISO 8601 texts, as cells of type `d` hold them (18.18.11).

Only the extended forms are read, to microseconds; more digits are rounded, as Excel shows them. What has no such value
is `unreadable`: a day that does not exist, 24:00, a leap second, a duration of months, whose length nobody knows.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

_CLOCK = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d(?:\.\d+)?))?"
_DATE = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[T ]{_CLOCK}(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_TIME = re.compile(rf"T?{_CLOCK}", re.ASCII)
_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?P<clock>T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
_DAY = timedelta(days=1)
#: Longest duration in microseconds: what 64 bits hold, as do Arrow and `interval`.
_LONGEST = 2**63 - 1
#: Most characters that are read; no value needs as many, and numbers of any length cost more than their length.
_MOST_CHARACTERS = 64


def parse_iso(text: str) -> tuple[str, Any]:
    """Return kind and value of a cell that holds a date, a time or a duration as text.

    The kinds are `datetime`, `time`, `duration`, `unreadable` with the text itself, and `instant`: a date and time with
    an offset, as text, because the offset is part of the value.
    """
    text = text.strip()
    if len(text) <= _MOST_CHARACTERS:
        for pattern, read in ((_DATE, _read_date), (_TIME, _read_time), (_DURATION, _read_duration)):
            if found := pattern.fullmatch(text):
                try:
                    value = read(found)
                except (ValueError, OverflowError):
                    value = None
                return value or ("unreadable", text)
    return "unreadable", text


def _read_date(found: re.Match[str]) -> tuple[str, Any]:
    stamp = datetime.combine(date(int(found["year"]), int(found["month"]), int(found["day"])), time())
    if not found["hour"]:
        return "datetime", stamp
    stamp += _since_midnight(found)
    if not found["zone"]:
        return "datetime", stamp
    instant = f"{stamp.isoformat()}{_offset(found['zone'])}"
    datetime.fromisoformat(instant).astimezone(UTC)  # raises OverflowError beyond the years 1 to 9999
    return "instant", instant


def _offset(zone: str) -> str:
    """Return an offset as `Z` or `+02:00`."""
    if zone == "Z":
        return zone
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return f"{zone[0]}{digits[:2]}:{digits[2:]}"


def _read_time(found: re.Match[str]) -> tuple[str, Any]:
    size = _since_midnight(found)
    if size >= _DAY:
        raise OverflowError  # rounded up to 24:00
    return "time", (datetime.combine(date.min, time()) + size).time()


def _since_midnight(found: re.Match[str]) -> timedelta:
    micro = _microseconds(found["second"] or "0")
    return timedelta(hours=int(found["hour"]), minutes=int(found["minute"]), microseconds=micro)


def _read_duration(found: re.Match[str]) -> tuple[str, Any]:
    counts = {name: found[name] for name in _SECONDS if found[name]}
    clock = found["clock"]
    if not counts or clock == "T":
        raise ValueError
    size = sum(_microseconds(count) * _SECONDS[name] for name, count in counts.items())
    if size > _LONGEST:
        raise OverflowError
    return "duration", timedelta(microseconds=-size if found["sign"] else size)


def _microseconds(seconds: str) -> int:
    return int((Decimal(seconds) * 1_000_000).to_integral_value(ROUND_HALF_EVEN))
