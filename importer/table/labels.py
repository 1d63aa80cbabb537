"""Compares labels as people see them, and makes column names of them."""

from __future__ import annotations

import re
import unicodedata

from importer.excel.addresses import column_letters
from importer.postgres.types import NAME_BYTES

#: System columns of every table; PostgreSQL refuses them as column names.
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
#: Characters that join letters, and change how these look.
_JOINERS = "\u200c\u200d"
_NO_JOINERS = dict.fromkeys(map(ord, _JOINERS))
#: Other characters that show nothing and are no white space: format characters (category Cf), and the rest of
#: Unicode's `Default_Ignorable_Code_Point`, such as variation selectors and Hangul fillers.
_INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def collapse_spaces(text: str) -> str:
    """Return `text` as people see it: without invisible characters and outer white space, inner one a single space.

    Joiners within a word stay: Persian and Indic scripts, and emoji, are written with them.
    """
    return " ".join(_INVISIBLE.sub("", text).split()).strip(_JOINERS + " ")


def comparable_text(text: str) -> str:
    """Return what two header texts that look alike have in common, whatever their case and normal form."""
    return unicodedata.normalize("NFC", collapse_spaces(text).translate(_NO_JOINERS)).casefold()


def column_names(labels: list[str | None], indices: list[int], *, keep: bool) -> tuple[list[str], list[str]]:
    """Return unique column names for header texts, and notes about names that differ in more than spelling."""
    names: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    for label, index in zip(labels, indices, strict=True):
        letters = column_letters(index)
        wanted = _avoid_system_name((label or "").replace("\0", "") if keep else _snake_case(label or ""))
        if not wanted:
            wanted = f"column_{letters.lower()}"
            notes.append(f"blank-label: column {letters} has no usable header, named {wanted!r}")
        name = unique_name(wanted, taken)
        if name != shorten(wanted, ""):
            notes.append(f"duplicate-label: column {letters} ({label!r}) is named {name!r}")
        elif name != wanted:
            notes.append(f"long-label: the header of column {letters} has more than {NAME_BYTES} bytes, named {name!r}")
        taken.add(name)
        names.append(name)
    return names, notes


def to_identifier(label: str) -> str:
    """Return a header text as a snake_case name (letters and digits of any script, at most 63 bytes); may be empty."""
    return shorten(_avoid_system_name(_snake_case(label)), "")


def _snake_case(label: str) -> str:
    """Return a text's letters, digits and marks in lower case, with `_` between words and before a leading digit.

    What nobody sees (a soft hyphen, say) is no part of the name, and does not part words.
    """
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", label).translate(_NO_JOINERS)).lower()
    # The vowels of Indic scripts are marks, which `\w` does not match.
    words = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in text)
    name = "_".join(words.split())
    return f"_{name}" if name[:1].isdigit() else name


def _avoid_system_name(name: str) -> str:
    """Return `name`, prefixed with `_` if PostgreSQL refuses it as a column name."""
    return f"_{name}" if name in _SYSTEM_COLUMNS else name


def unique_name(wanted: str, taken: set[str]) -> str:
    """Return the first of `wanted`, `wanted_2`, `wanted_3`… that is not taken; at most 63 bytes."""
    name, number = shorten(wanted, ""), 2
    while name in taken:
        name, number = shorten(wanted, f"_{number}"), number + 1
    return name


def shorten(name: str, suffix: str) -> str:
    """Return `name + suffix` in at most 63 bytes, with `name` cut between characters."""
    return name.encode()[: NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix
