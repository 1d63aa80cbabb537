"""Proposes how numbers in texts are written: decimal and group characters, signs, currencies, percent."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from .model import Proposal, Question, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

#: Characters between groups of three digits, besides point and comma.
_SPACES = (" ", "\N{NO-BREAK SPACE}", "\N{THIN SPACE}", "\N{NARROW NO-BREAK SPACE}")
_APOSTROPHES = ("'", "\N{RIGHT SINGLE QUOTATION MARK}")
#: (decimal, group) characters, the most likely first.
_NOTATIONS = (
    (".", ""), (",", ""), (".", ","), (",", "."),
    *((decimal, group) for group in (*_SPACES, *_APOSTROPHES) for decimal in (",", ".")),
)  # fmt: skip
_NAMES = {".": "point", ",": "comma", " ": "space", "'": "apostrophe"} | dict.fromkeys(_SPACES, "space")
#: Codes of currencies that are written beside amounts (ISO 4217), and what else stands for one.
_CODES = frozenset({
    "eur", "usd", "gbp", "chf", "jpy", "cny", "sek", "nok", "dkk", "isk", "pln", "czk", "huf", "ron",
    "bgn", "try", "uah", "rub", "inr", "brl", "cad", "aud", "nzd", "zar", "mxn", "krw", "sgd", "hkd", "thb", "aed",
    "sar", "ils", "kr", "kr.", "zł", "kč", "ft", "fr", "fr.", "rs", "rs.", "r$", "us$", "a$", "c$", "hk$", "nz$", "s$",
    "euro", "lei", "kn", "tl", "грн", "грн.", "円", "元",
    "руб", "руб.", "р.",  # noqa: RUF001 - Cyrillic
})  # fmt: skip
#: The digits of a number with what stands between them; a word in front ends with a point of its own.
_DIGITS = r"\d(?:[\d.,'\s\x{2019}]*[\d.,])?"
_NO_FRACTION = r"(\d[.,])\s?[-\x{2013}\x{2014}]+"
_NO_WHOLE = r"^([^\pL\d]*)[.,](\d)"
#: An id: digits with a leading zero, or more digits than a number keeps; a telephone number of any country.
_ID = r"^\s*[+-]?0\d|\d{16}|^\s*\+\d[\d\s]{6,}$"
_IS_ID = re.compile(_ID).search
_HAS_DIGIT = re.compile(r"\d")
#: Letters beside a number, at most: those of the longest code in `_CODES`.
_MOST_LETTERS = max(sum(map(str.isalpha, code)) for code in _CODES)
#: A number in parentheses, and nothing of it outside.
_IN_PARENTHESES = r"^[^\d()]*\([^()]*\d[^()]*\)[^\d()]*$"
#: Least digits of texts of one length that are taken for ids; least characters, if blanks are between the digits.
_ID_LENGTH, _SPACED_ID_LENGTH = 4, 11


def may_be_number(text: str) -> bool:
    """Return whether a single text may be a number, with what stands beside it; a column of numbers has no others."""
    return _HAS_DIGIT.search(text) is not None and sum(map(str.isalpha, text)) <= _MOST_LETTERS and not _IS_ID(text)


def propose_number(texts: pl.Series, decimal: str | None) -> Proposal | Question | None:
    """Return how the numbers in distinct texts are written; None if not all are numbers, or they are ids.

    Args:
        texts: the texts, without those that mean a missing value.
        decimal: the decimal character if that is known, else None.
    """
    if not _may_be_numbers(texts):
        return None
    beside = _beside(texts)
    if beside is None:
        return None
    options, words = beside
    written = [p for p in _proposals(options, words, decimal) if _is_written_in(texts, p, decimal)]
    fitting = [p for p in written if p.fits(texts)]
    found = decide(fitting, texts, "--decimal point or comma")
    return _integer(found, texts) if isinstance(found, Proposal) else found


def _may_be_numbers(texts: pl.Series) -> bool:
    bracketed = texts.filter(texts.str.contains(r"[()]"))
    if not bracketed.str.contains(_IN_PARENTHESES).all():
        return False
    if not texts.str.contains(r"\d").all() or texts.str.contains(_ID).any():
        return False
    plain = texts.str.strip_chars()
    lengths = plain.str.len_chars()
    same = len(texts) > 1 and lengths.n_unique() == 1
    digits = same and int(lengths[0]) >= _ID_LENGTH and plain.str.contains(r"^\d+$").all()
    spaced = same and int(lengths[0]) >= _SPACED_ID_LENGTH and plain.str.contains(r"^[\d\s]+$").all()
    return not (digits or spaced)


def _beside(texts: pl.Series) -> tuple[dict[str, Any], str] | None:
    """Return the options for what stands beside the numbers, and words for it; None if that has a meaning of its own.

    All numbers must have the same currency: of different ones the column would keep the amounts alone.
    """
    plain = texts.str.strip_chars().str.replace("\N{MINUS SIGN}", "-", literal=True)
    # Whatever is no sign of a number has a meaning of its own: `<5`, `80+`, a dash in front.
    rest = plain.str.replace(_NO_FRACTION, "${1}").str.replace(_NO_WHOLE, "${1}${2}").str.replace(_DIGITS, "0")
    rest = rest.str.replace_all(r"[\s()\-]", "").str.replace(r"^([^\d+]*)\+([^\d+]*0)", "${1}${2}")
    kinds = set(rest.str.replace("0", "", literal=True).str.to_lowercase().unique().to_list())
    if len(kinds) > 1:
        return None
    (only,) = kinds
    signs = plain.str.contains(r"^[+-]?[.,]?\d").all() and plain.str.contains(r"\d$").all()
    if only == "":
        return ({}, "") if signs else ({"bareNumber": False}, "")
    if only == "%":
        return {"bareNumber": False, "excel": {"percent": "fraction"}}, "percentages"
    if only in _CODES or (len(only) == 1 and unicodedata.category(only) == "Sc"):
        return {"bareNumber": False}, f"amounts in {only.upper() if only.isascii() else only}"
    return None


def _proposals(options: dict[str, Any], words: str, known: str | None) -> Iterator[Proposal]:
    for decimal, group in _NOTATIONS:
        if known is not None and decimal != known:
            continue
        notation = {"decimalChar": decimal} if decimal != "." else {}
        notation |= {"groupChar": group} if group else {}
        how = [f"decimal {_NAMES[decimal]}"] * (decimal != ".") + [
            f"groups by {_NAMES.get(group, 'apostrophe')}"
        ] * bool(group)
        what = " with ".join([words or "numbers", " and ".join(how)]) if how else words or "numbers"
        yield Proposal("number", what, options={**options, **notation})


def _is_written_in(texts: pl.Series, proposal: Proposal, known: str | None) -> bool:
    """Return whether the characters of a notation occur; otherwise a simpler one says the same."""
    group, decimal = proposal.options.get("groupChar", ""), proposal.options.get("decimalChar", ".")
    wanted = [group] * bool(group) + [decimal] * (decimal != "." and not group and known is None)
    return all(bool(texts.str.contains(char, literal=True).any()) for char in wanted)


def _integer(found: Proposal, texts: pl.Series) -> Proposal:
    """Return the proposal for type `integer` if all numbers are whole, and written without a decimal character."""
    options = {name: value for name, value in found.options.items() if name != "decimalChar"}
    if options.get("groupChar") == ".":
        options["decimalChar"] = ","
    whole = Proposal("integer", found.what.replace("numbers", "whole numbers", 1), options=options)
    percent = "excel" in options
    return whole if not percent and whole.fits(texts) and not texts.str.contains(r"[.,]\d{1,2}$").any() else found
