"""Finds the columns whose number formats show amounts: percentages, currencies, or two and more decimals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from importer.excel.addresses import column_index

if TYPE_CHECKING:
    from .number_format import NumberFormat
    from .styles import CellFormats

#: A number with an address: its style, if it has one, and its column. Attributes come in any order.
_NUMBER = re.compile(
    rb'<c\b(?![^>]*\st="[^n])(?=(?:[^>]*\ss="(\d{1,9})")?)[^>]*\sr="([A-Z]{1,3})\d{1,7}"[^>]*>(?:<f\b[^>]*(?:/>|>[^<]*</f>))?<v>'
)
#: Decimals from which a format shows an amount; those of a currency whose format shows none.
_LEAST = 2


def find_scales(rows: bytes, formats: CellFormats) -> dict[int, int]:
    """Return how many decimals the numbers of a column have by their formats, where all of these show amounts.

    Args:
        rows: XML of rows; cells without address do not count.
        formats: number formats of the cell styles.

    Returns:
        Number of decimals by sheet column (0-based); a percentage has two more than are shown.
    """
    found: dict[bytes, int | None] = {}
    for style, letters in set(_NUMBER.findall(rows)):
        scale = _scale(formats.of(int(style or 0)))
        before = found.get(letters, scale)
        found[letters] = None if scale is None or before is None else max(scale, before)
    return {column_index(letters.decode()): scale for letters, scale in found.items() if scale is not None}


def _scale(form: NumberFormat) -> int | None:
    """Return the decimals of what a format shows; None if that is no amount."""
    if form.decimals is None or form.scientific or form.fraction or form.patterns:
        return None
    if form.percent:
        return form.decimals + 2
    if form.currency:
        return max(form.decimals, _LEAST)
    return form.decimals if form.decimals >= _LEAST else None
