"""Splits the code of a number format into tokens, by section.

The language is that of ECMA-376 part 1, 18.8.31. In files its letters are always the English ones, whatever the
language of Excel. Other programs also write codes that Excel would refuse (`0.00 USD`, with letters that mean years or
seconds); these are split so that words stay words.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class TokenKind(StrEnum):
    """What a token of a format code is."""

    DIGIT = "one of 0 # ?"
    POINT = "the decimal point"
    COMMA = "a group separator, or a division by 1,000"
    PERCENT = "%"
    EXPONENT = "E+ or E-"
    SLASH = "/ of a fraction or a date"
    GENERAL = "the word General"
    TEXT = "@, where a text is put"
    DATE = "years, months, days, weekdays, eras, hours, minutes or seconds; AM/PM"
    ELAPSED = "hours, minutes or seconds in all, such as [h]"
    LITERAL = "characters that are shown as they are; the token's text is what is shown"
    WORD = "letters without quotes that mean nothing, shown as they are"
    SPACE = "_x or *x: room as wide as x, or filled with x"
    CONDITION = "a comparison such as [>=100], which says when the section applies"
    LOCALE = "[$symbol-locale]; the token's text is `symbol-locale`"
    MODIFIER = "a colour such as [Red], or the numerals of a language ([DBNum1])"


class Token(NamedTuple):
    """A token, and its text: what stands in the code, without brackets, quotes and backslashes."""

    kind: TokenKind
    text: str


_AM_PM = r"am/pm|a/p"
#: Day, month, year, hour, minute and second in Thai, which the standard's own codes of Thai use (18.8.30).
_THAI = "วดปชนท"
_TOKEN = re.compile(
    rf"""
    "(?P<quoted>[^"]*)(?:"|$)
    | \\(?P<escaped>.) | [_*](?P<space>.)
    | \[(?P<bracket>[^\]]*)(?:\]|$)
    | (?P<general>general)
    | (?P<exponent>e[+-](?=[0\#?]))
    | (?P<clock>{_AM_PM})
    | (?P<letters>(?:(?!{_AM_PM}|e[+-][0\#?])[a-zÀ-ɏ{_THAI}])+)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_SIGNS = {
    "0": TokenKind.DIGIT, "#": TokenKind.DIGIT, "?": TokenKind.DIGIT, ".": TokenKind.POINT, ",": TokenKind.COMMA,
    "%": TokenKind.PERCENT, "/": TokenKind.SLASH, "@": TokenKind.TEXT,
}  # fmt: skip
#: Letters of dates and times. `e`, `g` and `r` are years of an era and its name, `b` years of the Buddhist era, `aaa`
#: the weekday in East Asia.
_DATE_WORD = re.compile(rf"(?:[ymdhsgebr{_THAI}]|a{{3,4}})+", re.IGNORECASE)
_DATE_RUN = re.compile(r"(.)\1*", re.IGNORECASE)
_ELAPSED = re.compile(r"h+|m+|s+|ช+|น+|ท+", re.IGNORECASE)
_ENGLISH = str.maketrans(_THAI, "dmyhms")
_CONDITION = re.compile(r"(?:<=|>=|<>|[<>=])\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def split_sections(code: str) -> list[list[Token]]:
    """Return the tokens of each section of a format code; at least one section, which may be empty.

    No code is refused: what the language does not have is taken for characters to be shown.
    """
    sections: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(code):
        if match["sign"] == ";":
            sections.append([])
            continue
        section, found = sections[-1], _tokens(match)
        if section and {section[-1].kind, found[0].kind} == {TokenKind.LITERAL}:  # escaped one by one
            found = [Token(TokenKind.LITERAL, section.pop().text + found[0].text)]
        section += found
    return sections


def _tokens(match: re.Match[str]) -> list[Token]:
    group = str(match.lastgroup)
    text = match[group]
    match group:
        case "quoted" | "escaped":
            return [Token(TokenKind.LITERAL, text)]
        case "space":
            return [Token(TokenKind.SPACE, text)]
        case "bracket":
            return [_bracket(text.strip())]
        case "general":
            return [Token(TokenKind.GENERAL, text)]
        case "exponent":
            return [Token(TokenKind.EXPONENT, text)]
        case "clock":
            return [Token(TokenKind.DATE, text.lower())]
        case "letters" if _DATE_WORD.fullmatch(text):
            return [Token(TokenKind.DATE, run[0].lower().translate(_ENGLISH)) for run in _DATE_RUN.finditer(text)]
        case "letters":
            return [Token(TokenKind.WORD, text)]
    return [Token(_SIGNS.get(text, TokenKind.LITERAL), text)]


def _bracket(text: str) -> Token:
    if text.startswith("$"):
        return Token(TokenKind.LOCALE, text[1:])
    if _ELAPSED.fullmatch(text):
        return Token(TokenKind.ELAPSED, text.lower().translate(_ENGLISH))
    return Token(TokenKind.CONDITION if _CONDITION.fullmatch(text) else TokenKind.MODIFIER, text)
