"""Tells a row of units below a header from a first row of data that holds short texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A unit in brackets, or one that begins or ends with a sign.
_MARKED = re.compile(r"[\[(].{0,14}[\])]|[%‰°€$£¥#]|.{0,3}[%‰°€$£¥].{0,3}")
#: Units of measure, time, currency and counting as headers write them; letters alone could be any code otherwise.
_LISTED = (
    "mm cm dm m km µm um nm in ft yd mi mg g kg t to lb lbs oz µg ml cl dl l hl gal qm qkm cbm ha ar "
    "ms s sec sek min h hr hrs std d day days tage wk mo mon yr y a jahr k c f "
    "v mv kv ma ka w kw mw gw wh kwh mwh gwh va kva j kj mj gj cal kcal n kn nm pa kpa mpa hpa bar mbar psi hz khz "
    "mhz ghz db lx lm cd mol mmol ph ppm ppb rpm kmh kph mph kb mb gb tb kib mib gib px dpi pt "
    "eur usd gbp chf jpy cny sek nok dkk pln czk huf ron inr brl cad aud nzd try zar mxn krw teur tusd keur kusd meur "
    "musd pcs pc ea st stk stck qty no nr pkg box ctn pal vpe fte pax count each units unit "
    "t€ k€ m€ mio mrd thsd tsd"
)
_UNITS = frozenset(_LISTED.split())
_PARTS = re.compile(r"[/·*. ]")
_POWER = re.compile(r"[²³23]$")
#: Least share of the units that must be known, or marked as units.
_LEAST = 0.5
#: Most characters of a unit.
_LONGEST = 16


def is_units(labels: Iterable[object]) -> bool:
    """Return whether texts are units: each short, and at least half of them known or marked as such.

    Args:
        labels: texts of a row, without blanks.
    """
    texts = [str(label).strip() for label in labels]
    known = [_is_known(text) for text in texts]
    return all(len(text) <= _LONGEST for text in texts) and sum(known) >= _LEAST * len(texts)


def _is_known(label: str) -> bool:
    if _MARKED.fullmatch(label):
        return True
    parts = [_POWER.sub("", part) for part in _PARTS.split(label.casefold()) if part]
    return bool(parts) and _UNITS.issuperset(parts)
