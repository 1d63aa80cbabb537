"""Knows the words for totals, subtotals, means, counts and carried sums in the languages of many workbooks.

Words are in lower case, with all accents; a blank in them stands for any blanks, hyphens, or nothing. Those for the
last row of a pivot table are as Excel writes them in its languages.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Name nothing but totals.
ONLY_TOTALS = (
    "sub total", "sub totals", "grand total", "grand totals", "overall total", "overall totals", "report total",
    "report totals", "total result", "grand sum",  # English
    "zwischensumme", "zwischentotal", "endsumme", "teilsumme", "gesamtsumme", "gesamtergebnis", "gesamttotal",
    "insgesamt", "summe gesamt", "nettosumme", "bruttosumme", "rechnungssumme", "monatssumme", "jahressumme",
    "gesamtbetrag", "rechnungsbetrag", "endbetrag", "nettobetrag gesamt",  # German
    "sous total", "sous totaux", "total général", "total partiel", "totaux généraux",  # French
    "total general", "gran total", "suma total", "total parcial",  # Spanish, Romanian
    "sub totale", "totale complessivo", "totale generale", "totale parziale",  # Italian
    "total geral", "total global", "soma total",  # Portuguese
    "sub totaal", "eind totaal", "tussen totaal", "algemeen totaal", "totaal generaal",  # Dutch
    "razem", "ogółem", "ogolem", "łącznie", "suma końcowa", "suma częściowa", "suma ogółem",  # Polish
    "total summa", "delsumma", "slutsumma",  # Swedish
    "hovedtotal", "i alt", "delsum", "totalsum", "totalt", "sum totalt",  # Danish, Norwegian
    "yhteensä", "kaikki yhteensä", "välisumma", "loppusumma", "kokonaissumma",  # Finnish
    "celkem", "celkový součet", "mezisoučet", "spolu", "celkový súčet", "medzisúčet",  # Czech, Slovak
    "összesen", "mindösszesen", "végösszeg", "részösszeg",  # Hungarian
    "ukupno", "sveukupno", "skupaj", "skupna vsota",  # Croatian, Slovene
    "iš viso", "pavisam", "kokku", "samtals",  # Lithuanian, Latvian, Estonian, Icelandic
    "итого", "всего", "общий итог", "промежуточный итог", "разом", "усього", "загальний підсумок",  # Russian, Ukrainian
    "общо", "всичко", "укупно", "вкупно",  # Bulgarian, Serbian, Macedonian
    "genel toplam", "ara toplam",  # Turkish
    "σύνολο", "γενικό σύνολο", "μερικό σύνολο", "γενικό άθροισμα",  # Greek
    "รวม", "รวมทั้งสิ้น", "รวมทั้งหมด", "कुल", "कुल योग",  # Thai, Hindi
    "جمع", "جمع کل", "مجموع", "tổng cộng",  # Persian, Vietnamese
    "الإجمالي", "الإجمالي الكلي", "المجموع", "المجموع الكلي", "סך הכל", 'סה"כ', "סה״כ",  # others
)  # fmt: skip
#: The same in languages that write words without blanks between.
ONLY_TOTALS_CJK = (
    "総 合 計", "合 計", "小 計", "総 計", "合 计", "小 计", "总 计", "總 計", "共 计", "共 計", "总 和",
    "総 額", "總 額", "总 额",
    "合 計 額", "合 計 金 額", "合 计 金 额", "합 계", "소 계", "총 계", "총 합 계",
)  # fmt: skip
#: Name totals, and other things, too: `Total` is a company.
TOTALS = (
    "total", "totals", "net total", "net totals", "gross total", "gross totals", "sum", "summe", "summa", "suma",
    "somme", "soma", "somma", "gesamt", "totaux", "totale", "totali", "totaal", "toplam", "součet", "súčet", "итог",
    "jumlah", "kopā", "tổng", "計",
)  # fmt: skip
#: Signs of totals, alone in their cell: those of lists of SAP, and a sum.
SIGNS = r"\*{1,3}|[Σ∑]"
#: Stand at the end of a label: `North total`, `Nord Ergebnis`.
AT_END = (
    "total", "totaal", "totale", "ergebnis", "result", "sum", "summe", "somme", "suma", "toplam", "összesen", "razem",
    "celkem", "yhteensä", "ukupno", "итог", "итого", "всего", "汇总", "匯總", "集計", "小計", "小计", "合計", "合计",
    "計", "average", "mean", "durchschnitt", "moyenne",
)  # fmt: skip
#: Are names, too, and only count alone: means, extremes, counts, carried sums.
ALONE = (
    "average", "mean", "avg", "durchschnitt", "mittelwert", "schnitt", "moyenne", "promedio", "media", "média",
    "gemiddelde", "średnia", "medel", "medelvärde", "gjennomsnitt", "gennemsnit", "keskiarvo", "průměr", "átlag",
    "среднее", "ortalama", "平均", "平均值", "평균",
    "min", "max", "minimum", "maximum", "minimo", "massimo", "mínimo", "máximo", "median", "médiane", "mediana",
    "std dev", "stdev", "standard deviation", "standardabweichung", "écart type",
    "saldo", "endsaldo", "schlusssaldo", "anfangssaldo", "kontostand", "balance", "closing balance", "opening balance",
    "ending balance", "balance forward", "amount due", "balance due", "solde", "saldo final", "saldo finale", "сальдо",
    "anzahl", "count", "nombre", "cantidad", "conteggio", "aantal", "antal", "件数", "个数",
    "übertrag", "uebertrag", "vortrag", "saldovortrag", "carried forward", "carry forward", "carried over",
    "brought forward", "b/f", "c/f", "b/d", "c/d", "à reporter", "report", "suma y sigue", "suma anterior",
    "riporto", "a riportare", "a transportar", "transporte", "transport", "transporteren", "do przeniesienia",
    "z przeniesienia", "att överföra", "繰越", "次頁繰越", "前頁繰越", "承前页", "过次页", "承前頁", "過次頁",
)  # fmt: skip
#: May stand behind a word for a total: a year, a currency, what is in it.
BEHIND = (
    r"(?:19|20)\d\d|eur|usd|chf|gbp|jpy|sek|nok|dkk|pln|czk|huf|general|général|geral|generale|gesamt|netto|brutto|net|"
    r"gross|ht|ttc"
)
#: Characters by whose beginnings texts are looked through.
_BEGINNING = 5
#: Blanks of Python's patterns that are none in those of polars.
_PYTHON_SPACES = r"\x1c-\x1f"
#: Characters that are the same in all normal forms, with no mark after them: of these a word is made as it stands.
PLAIN_CHARACTERS = (
    r"\x00-\x7f\x{c0}-\x{131}\x{134}-\x{13e}\x{141}-\x{148}\x{14a}-\x{17e}\x{391}-\x{3c9}\x{400}-\x{52f}"
    r"\x{5d0}-\x{5ea}\x{621}-\x{64a}\x{3041}-\x{3096}\x{30a1}-\x{30fa}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}"
)


def spellings(words: Iterable[str]) -> str:
    """Return a pattern of words, with and without their accents, however their parts are joined."""
    every = {word: None for each in words for word in (each, _without_accents(each))}
    return "|".join(re.escape(word).replace(r"\ ", r"[\s-]*") for word in sorted(every, key=len, reverse=True))


def begins_with(word: str, letter: str) -> bool:
    """Return whether a word, with or without its accents, begins with a letter; every word does with an empty one."""
    return word.startswith(letter) or _without_accents(word).startswith(letter)


def beginnings(words: Iterable[str]) -> str:
    """Return a pattern of how these words begin, with and without their accents, however their parts are joined."""
    every = {word for each in words for word in (each, _without_accents(each))}
    return "|".join(sorted({rf"[\s{_PYTHON_SPACES}-]*".join(_first_parts(word)) for word in every}))


def _first_parts(word: str) -> list[str]:
    """Return the first characters of a word that are no blanks, in its parts."""
    left, found = _BEGINNING, list[str]()
    for piece in word.split():
        if left > 0:
            found.append(re.escape(piece[:left]))
        left -= len(piece)
    return found


def normalize_label(text: str) -> str:
    """Return a label with its characters in the forms that the words have: composed, of common width."""
    return unicodedata.normalize("NFKC", text)


def _without_accents(word: str) -> str:
    """Return a word without accents, as it is often written in capitals; other scripts keep their marks."""
    if not unicodedata.name(word[0]).startswith("LATIN"):
        return word
    return unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode() if "ł" not in word else word
