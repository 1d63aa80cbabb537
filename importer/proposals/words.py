"""Knows the words for yes and no, and for a missing value, in the languages of many workbooks."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from .model import Proposal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

#: Words for yes and no that belong together.
_PAIRS = (
    ("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"),  # English
    ("ja", "nein"), ("j", "n"), ("wahr", "falsch"),  # German
    ("oui", "non"), ("o", "n"), ("vrai", "faux"),  # French
    ("sí", "no"), ("si", "no"), ("s", "n"), ("verdadero", "falso"),  # Spanish
    ("sì", "no"), ("vero", "falso"),  # Italian
    ("sim", "não"), ("sim", "nao"), ("verdadeiro", "falso"),  # Portuguese
    ("ja", "nee"), ("waar", "onwaar"),  # Dutch
    ("ja", "nej"), ("sant", "falskt"), ("sand", "falsk"),  # Danish, Swedish
    ("ja", "nei"), ("sann", "usann"),  # Norwegian
    ("kyllä", "ei"), ("tosi", "epätosi"),  # Finnish
    ("tak", "nie"), ("prawda", "fałsz"),  # Polish
    ("ano", "ne"), ("pravda", "nepravda"),  # Czech
    ("áno", "nie"),  # Slovak
    ("igen", "nem"), ("igaz", "hamis"),  # Hungarian
    ("da", "nu"), ("adevărat", "fals"),  # Romanian
    ("da", "ne"), ("да", "не"),  # Slovene, Croatian, Bulgarian, Serbian
    ("да", "нет"), ("истина", "ложь"),  # Russian
    ("так", "ні"),  # Ukrainian
    ("ναι", "όχι"),  # Greek
    ("evet", "hayır"), ("doğru", "yanlış"),  # Turkish
    ("はい", "いいえ"), ("是", "否"), ("예", "아니요"), ("有", "無"),  # Japanese, Chinese, Korean
    ("on", "off"), ("x", "-"), ("✓", "✗"), ("✔", "✘"), ("☑", "☐"),
)  # fmt: skip
_WORDS = frozenset(word for pair in _PAIRS for word in pair)
#: Texts that stand where a value is missing; never an empty text, which is missing already.
_MISSING = frozenset({
    "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}", ".", "..", "...", "\N{HORIZONTAL ELLIPSIS}", "?", "??", "/",
    "n/a", "na", "n.a.", "n. a.", "#n/a", "n/d", "nd", "n.d.", "k.a.", "k. a.", "k.a", "keine angabe", "s/d", "s.d.",
    "nan", "nil", "null", "none", "(null)", "(none)", "(blank)", "(leer)", "leer", "blank", "empty", "tbd", "t.b.d.",
    "tba", "unknown", "unbekannt", "inconnu", "desconocido", "missing", "not available", "not applicable",
    "nicht vorhanden", "entfällt", "\\n",
})  # fmt: skip
#: Characters of such a text at most, with a blank on each side.
_LONGEST_MISSING = max(map(len, _MISSING)) + 2
_DASHES = frozenset({"-", "--", "\N{EN DASH}", "\N{EM DASH}"})


def missing_words(texts: pl.Series) -> list[str]:
    """Return those of some texts that stand for a missing value, as they are written."""
    return list(filter(is_missing_word, texts.filter(texts.str.len_chars() <= _LONGEST_MISSING).to_list()))


def is_missing_word(text: str) -> bool:
    """Return whether a text stands for a missing value."""
    return len(text) <= _LONGEST_MISSING and (not text.strip() or _bare(text) in _MISSING)


def _bare(text: str) -> str:
    """Return a text as it is compared; a currency beside a dash is left out, as accounting formats show nothing."""
    folded = text.strip().casefold()
    dash = "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Sc")
    return dash if dash in _DASHES else folded


def is_boolean_word(texts: Iterable[str]) -> bool:
    """Return whether texts are words for yes or no, though perhaps not both of a pair."""
    return all(text.strip().casefold() in _WORDS for text in texts)


def find_booleans(texts: pl.Series) -> pl.Series:
    """Return which texts are words for yes or no."""
    return texts.str.strip_chars().str.to_lowercase().is_in(list(_WORDS))


def propose_boolean(texts: pl.Series) -> Proposal | None:
    """Return that distinct texts are booleans: both words of one pair, whatever their case, and no other."""
    if len(texts) > 8:  # noqa: PLR2004 - two words in four spellings each
        return None
    spelled: dict[str, list[str]] = {}
    for text in sorted(texts.to_list()):
        spelled.setdefault(text.strip().casefold(), []).append(text)
    for true, false in _PAIRS:
        if set(spelled) == {true, false}:
            options = {"trueValues": spelled[true], "falseValues": spelled[false]}
            return Proposal("boolean", f"booleans ({spelled[true][0]}, {spelled[false][0]})", options=options)
    return None
