"""Classifies number formats: dates, durations, texts or numbers, and what a number format shows of a number.

The classes follow ECMA-376 part 1, 18.8.30 (built-in formats) and 18.8.31 (the language of the codes). Of several
sections the first decides, which is that of positive numbers; one with a condition that shows nothing of the number
(`[=0]""`) is passed over.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from .tokens import Token, TokenKind, split_sections

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Longest code of a format in characters ([MS-OE376] 2.1.739). Longer ones are classified, but show no digit pattern.
MAX_CODE = 255
#: Sections for numbers; the fourth is for texts.
_NUMBER_SECTIONS = 3
#: From so many zeros on, a format pads.
_PADDED = 2


class FormatKind(IntEnum):
    """What the number of a cell is by its format."""

    NUMBER = 0
    DATETIME = 1
    DURATION = 2
    TEXT = 3


class PatternChoice(NamedTuple):
    """A section of a format with digit patterns.

    Attributes:
        operator: comparison of the number with `limit`, such as `<=`; empty if the section takes all numbers left.
        limit: the number to compare with.
        pattern: the section as a digit pattern (see `_digit_pattern`); None if it shows numbers in another way.
    """

    operator: str
    limit: float
    pattern: str | None


class NumberFormat(NamedTuple):
    """What a number format says.

    Attributes:
        kind: what the number of a cell is.
        has_date: whether a year, month or day is shown, an era or a weekday.
        has_time: whether a time of day is shown.
        decimals: number of digits after the decimal point; None for General and for formats that are not of numbers.
        percent: whether the number is shown as a percentage.
        currency: whether a currency is shown beside it.
        scientific: whether it is shown with an exponent.
        fraction: whether it is shown as a fraction.
        patterns: sections that show whole numbers digit by digit, such as postal codes; empty if there is none.
    """

    kind: FormatKind = FormatKind.NUMBER
    has_date: bool = False
    has_time: bool = False
    decimals: int | None = None
    percent: bool = False
    currency: bool = False
    scientific: bool = False
    fraction: bool = False
    patterns: tuple[PatternChoice, ...] = ()


GENERAL = NumberFormat()


@functools.lru_cache(maxsize=4096)
def classify(code: str) -> NumberFormat:
    """Return what a format code says; every text is a code."""
    sections = split_sections(code)
    numeric = [section for section in sections[:_NUMBER_SECTIONS] if not _has(section, TokenKind.TEXT)]
    telling = next((each for each in numeric if _shows_value(each) or not _has(each, TokenKind.CONDITION)), [])
    if not _shows_value(telling):
        is_text = not numeric and _has(sections[0], TokenKind.TEXT)
        return NumberFormat(FormatKind.TEXT) if is_text else GENERAL
    if _is_date(telling):
        return _date_format(telling, is_elapsed=any(_has(section, TokenKind.ELAPSED) for section in numeric))
    return _number_format(telling, _pattern_choices(numeric) if len(code) <= MAX_CODE else ())


def _has(section: Iterable[Token], *kinds: TokenKind) -> bool:
    return any(token.kind in kinds for token in section)


def _shows_value(section: list[Token]) -> bool:
    return _has(section, TokenKind.DATE, TokenKind.ELAPSED, TokenKind.DIGIT, TokenKind.GENERAL)


# ---- DATES AND TIMES --------------------------------------------------------------------------------------------


_DATE_PARTS = (TokenKind.DATE, TokenKind.ELAPSED)


def _is_date(section: list[Token]) -> bool:
    """Return whether a section shows a date or time; beside digits, letters may be a unit that lacks its quotes."""
    if _has(section, TokenKind.ELAPSED):
        return True
    letters = [n for n, token in enumerate(section) if token.kind == TokenKind.DATE]
    digits = _number_digits(section)
    if not letters or _has(section, TokenKind.GENERAL):
        return False
    # `yyyy-mm-dd 00:00` is a date, but `0 h`, `DM 0.00` and `d #,##0` are numbers.
    separated = any(second - first > 1 for first, second in itertools.pairwise(letters))
    zeros = all(section[n].text == "0" for n in digits)
    return not digits or (letters[0] < digits[0] and separated and zeros)


def _number_digits(section: list[Token]) -> list[int]:
    """Return the positions of the digits in a section, without those of the fraction of a second (`ss.000`)."""
    found, is_fraction = [], False
    for n, token in enumerate(section):
        if token.kind == TokenKind.DIGIT:
            found += [] if is_fraction else [n]
        else:
            before = section[n - 1] if n else token
            is_second = before.kind in _DATE_PARTS and before.text[0] == "s"
            is_fraction = token.kind == TokenKind.POINT and is_second
    return found


def _date_format(section: list[Token], *, is_elapsed: bool) -> NumberFormat:
    parts = [token for token in section if token.kind in _DATE_PARTS]
    names = [_unit(parts, n) for n in range(len(parts))]
    kind = FormatKind.DURATION if is_elapsed else FormatKind.DATETIME
    return NumberFormat(kind, has_date="date" in names, has_time="time" in names)


def _unit(parts: list[Token], n: int) -> str:
    """Return whether a part is one of a date or of a time: `m` is minutes after hours and before seconds."""
    token, letter = parts[n], parts[n].text[0]
    is_clock = token.kind == TokenKind.ELAPSED or letter in "hs" or "/" in token.text
    if letter != "m" or is_clock or len(token.text) > 2:  # noqa: PLR2004 - `mmm` is a month's name
        return "time" if is_clock else "date"
    before = parts[n - 1].text[0] if n else ""
    after = parts[n + 1].text[0] if n + 1 < len(parts) else ""
    return "time" if before == "h" or after == "s" else "date"


# ---- NUMBERS ----------------------------------------------------------------------------------------------------


def _number_format(section: list[Token], patterns: tuple[PatternChoice, ...]) -> NumberFormat:
    digits = _number_digits(section)
    fraction = _has(section, TokenKind.SLASH) and bool(digits)
    decimals = None if fraction or not digits else _count_decimals(section)
    return NumberFormat(
        FormatKind.NUMBER,
        decimals=decimals,
        percent=_has(section, TokenKind.PERCENT),
        currency=any(_is_currency(token) for token in section),
        scientific=_has(section, TokenKind.EXPONENT),
        fraction=fraction,
        patterns=patterns,
    )


def _count_decimals(section: list[Token]) -> int:
    kinds = [token.kind for token in section]
    if TokenKind.POINT not in kinds:
        return 0
    end = kinds.index(TokenKind.EXPONENT) if TokenKind.EXPONENT in kinds else len(kinds)
    return kinds[kinds.index(TokenKind.POINT) : end].count(TokenKind.DIGIT)


#: Currencies that are written with letters: ISO 4217 codes of those traded most, and usual abbreviations.
_CURRENCIES = frozenset({
    "AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD",
    "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "KZT", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP",
    "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND", "ZAR",
    "kr", "Kč", "zł", "Ft", "lei", "лв", "грн", "DM", "Fr", "SFr", "RM", "Rp", "S/", "B/", "元", "円", "원", "дин",
})  # fmt: skip


_CHARACTERS = (TokenKind.LITERAL, TokenKind.WORD)


def _is_currency(token: Token) -> bool:
    if token.kind == TokenKind.LOCALE:
        return bool(token.text.rpartition("-")[0].strip() if "-" in token.text else token.text.strip())
    if token.kind not in _CHARACTERS:
        return False
    signs = not token.text.isalnum() and any(unicodedata.category(character) == "Sc" for character in token.text)
    return signs or token.text.strip(" .-+()\xa0") in _CURRENCIES


def _pattern_choices(sections: list[list[Token]]) -> tuple[PatternChoice, ...]:
    """Return which digit pattern shows which numbers; empty if none is one.

    Sections without conditions are those of positive numbers, negative ones and zero. There the first one shows all
    numbers here, so that a sign that Excel leaves out is not lost.
    """
    found = []
    for section in sections:
        condition = next((token.text for token in section if token.kind == TokenKind.CONDITION), None)
        match = re.match(r"([<>=]+)(.*)", condition or "")
        choice = (match[1], float(match[2])) if match else ("", 0.0)
        found.append(PatternChoice(*choice, _digit_pattern(section)))
        if not match:
            break
    return tuple(found) if any(choice.pattern for choice in found) else ()


#: What may stand in a section without a digit being lost or another text being shown.
_PLAIN = (
    TokenKind.DIGIT, TokenKind.LITERAL, TokenKind.SPACE, TokenKind.CONDITION, TokenKind.LOCALE, TokenKind.MODIFIER,
)  # fmt: skip
_NUMERALS = re.compile(r"(?:db|nat)num\d", re.IGNORECASE)


def _digit_pattern(section: list[Token]) -> str | None:
    """Return a section as a digit pattern; None if it is not one, or shows a number as General does.

    The pattern is the shortest that shows the same: after a zero every place shows one, and the first place has all
    digits for which there is no other.
    """
    if any(token.kind not in _PLAIN or token.text == "?" or _has_other_numerals(token) for token in section):
        return None
    pieces: list[str] = []
    for token in section:
        if token.kind == TokenKind.LITERAL:
            pieces += [f"\\{character}" for character in token.text]
        elif token.kind == TokenKind.DIGIT:
            place = "0" if "0" in pieces else token.text
            alone = pieces[-1:] == ["#"] and pieces.count("#") == 1
            pieces[-1 if alone else len(pieces) :] = [place]
    # Amounts of money and numbers in groups (`# ##0`) are numbers; but an article number may begin with `R`.
    is_amount = set(pieces) <= {"0", "#", "\\ ", "\\\xa0", "\\'"} or any(map(_is_currency, section))
    padded = pieces.count("0") >= _PADDED
    return "".join(pieces) if {"0", "#"} & set(pieces) and (padded or not is_amount) else None


def _has_other_numerals(token: Token) -> bool:
    """Return whether digits are shown as those of a language: by its name, or the upper byte of a locale's number."""
    if token.kind == TokenKind.MODIFIER:
        return _NUMERALS.match(token.text) is not None
    locale = re.search(r"-([0-9a-f]{7,8})$", token.text, re.IGNORECASE) if token.kind == TokenKind.LOCALE else None
    return locale is not None and int(locale[1], 16) >> 24 > 1
