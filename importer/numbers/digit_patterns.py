r"""Shows whole numbers by digit patterns: `00000` shows 2494 as 02494, `000\-00\-0000` shows 12345678 as 012-34-5678.

A digit pattern is a number format that holds only places for digits and characters between them, so that no digit of a
whole number is lost. It is spelled as the code of a format (ECMA-376 part 1, 18.8.31): `0` is a place that is filled
with a zero where the number has no digit, `#` one that is left out, and a backslash stands before each character that
is shown as it is.
"""

from __future__ import annotations

import functools
import re

import polars as pl

_PLACE_OR_CHARACTER = re.compile(r"\\(.)|[0#]", re.DOTALL)


def show_by_patterns(digits: pl.Expr, patterns: pl.Expr) -> pl.Expr:
    """Return whole numbers as their patterns show them; null where there is no pattern, or the number is not whole.

    Args:
        digits: numbers as text; those of digits alone, with or without a minus, are whole.
        patterns: the pattern of each number, or null.
    """
    whole = patterns.is_not_null() & digits.str.contains(r"^-?[0-9]+$")
    # Plain zeros are by far the most common, and shown for a whole column at once; other patterns take 1 µs a number.
    zeros = patterns.str.contains("^0+$")
    size = digits.str.strip_prefix("-")
    sign = pl.when(digits.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    padded = pl.concat_str(sign, size.str.zfill(patterns.str.len_bytes()))
    rest = pl.struct(digits.alias("digits"), pl.when(whole & ~zeros).then(patterns).alias("pattern"))
    return pl.when(whole & zeros).then(padded).otherwise(rest.map_batches(_show_each, return_dtype=pl.String))


def _show_each(numbers: pl.Series) -> pl.Series:
    texts, patterns = numbers.struct.field("digits"), numbers.struct.field("pattern")
    if patterns.null_count() == len(patterns):
        return patterns
    pairs = zip(texts.to_list(), patterns.to_list(), strict=True)
    return pl.Series([None if pattern is None else show(text, pattern) for text, pattern in pairs], dtype=pl.String)


def show(digits: str, pattern: str) -> str | None:
    """Return a whole number as a pattern shows it; None if it is a zero, and no place shows one.

    The last place has the last digit, and the first place all digits that have no other. A minus stands before
    everything, as Excel puts it.
    """
    tokens, places, zeros = _parse(pattern)
    size = digits.lstrip("-").lstrip("0").zfill(zeros)
    if not size:
        return None
    shown, position, spare = ["-" if digits.startswith("-") else ""], 0, len(size) - places
    for token in tokens:
        if token:
            shown.append(token)
        elif spare < 0:  # a place without a digit
            spare += 1
        else:
            shown.append(size[position : position + spare + 1])
            position, spare = position + spare + 1, 0
    return "".join(shown)


@functools.lru_cache(maxsize=1024)
def _parse(pattern: str) -> tuple[tuple[str, ...], int, int]:
    """Return the tokens (characters to be shown, or an empty text for a place), and how many places and zeros."""
    found = [(match[1] or "", match[0]) for match in _PLACE_OR_CHARACTER.finditer(pattern)]
    places = [place for token, place in found if not token]
    return tuple(token for token, _ in found), len(places), places.count("0")
