"""Says which type the texts of a column are written as, where all of them are, and nothing would be lost by it.

Files of texts have no kinds: a column of them becomes numbers, dates or booleans only if every text has one form. Texts
that may be identifiers stay texts: leading zeros, a sign `+`, exponents, more digits than a type holds exactly.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

#: Form of a column without texts, and of one whose texts have none or several.
UNKNOWN, TEXT = "", "text"
_WHOLE = r"-?(?:0|[1-9]\d{0,14})"
#: What all texts of a form look like. `long`: whole numbers that a float does not hold.
_FORMS = {
    "integer": rf"^(?:{_WHOLE})$",
    "long": r"^-?(?:0|[1-9]\d{0,17})$",
    "number": rf"^{_WHOLE}(?:\.\d+)?$",
    "boolean": r"^(?:true|false|True|False|TRUE|FALSE)$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "datetime": r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?$",
}
#: Field types of the forms.
TYPES = {
    "integer": "integer", "long": "integer", "number": "number", "boolean": "boolean",
    "date": "date", "datetime": "datetime",
}  # fmt: skip
#: Wider forms of each form, narrowest first.
_WIDER = {"integer": ("integer", "long", "number"), "long": ("long",), "date": ("date", "datetime")}
#: Most digits of a number that a float holds for sure.
_SAFE_DIGITS = 15


def find_form(texts: pl.Series) -> str:
    """Return the narrowest form that all of the texts have; `TEXT` if they have none, `UNKNOWN` without texts."""
    texts = texts.drop_nulls()
    if texts.is_empty():
        return UNKNOWN
    first = str(texts[0])
    for form, pattern in _FORMS.items():
        if re.search(pattern, first, re.ASCII) and _all_have(texts, form, pattern):
            return form
    return TEXT


def may_have_form(beginning: str) -> bool:
    """Return whether a text that begins like this may have a form; 41 characters are enough to know."""
    return any(re.search(pattern, beginning, re.ASCII) for pattern in _FORMS.values())


def _all_have(texts: pl.Series, form: str, pattern: str) -> bool:
    ascii_pattern = pattern.replace(r"\d", "[0-9]")
    if not texts.str.contains(ascii_pattern).all():
        return False
    if form == "number":
        digits = texts.str.strip_prefix("-").str.replace(".", "", literal=True).str.strip_chars_start("0")
        return bool((digits.str.len_bytes() <= _SAFE_DIGITS).all())
    if form in {"date", "datetime"}:
        days = texts.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        clocks = texts.str.slice(11)
        valid = (clocks == "") | clocks.str.contains(r"^(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){1,2}(?:\.|$)")
        return not days.null_count() and bool(valid.all())
    return True


def widest(forms: Iterable[str]) -> str:
    """Return the narrowest form that texts of all these forms have."""
    left: tuple[str, ...] | None = None
    for form in forms:
        if form == UNKNOWN:
            continue
        wider = _WIDER.get(form, (form,))
        left = wider if left is None else tuple(each for each in left if each in wider)
    return UNKNOWN if left is None else left[0] if left else TEXT
