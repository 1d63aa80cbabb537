"""Turns the texts of a window's cells into values: numbers, dates, booleans, shared strings; all of a kind at once.

A cell whose text is no value of its type is left over; so is one whose value needs a closer look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from importer.cells.arrow import series_from_numpy
from importer.cells.frame import VALUE_KINDS
from importer.decoding.string_views import words
from importer.number_formats.number_format import FormatKind
from importer.workers.own_process import is_own_process, require_worker

from .arrays import Values
from .digits import read_whole
from .number_marks import Numbers, find_marks
from .texts import make_texts, view_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from importer.decoding.string_views import Bytes, Positions
    from importer.number_formats.date_serials import DateSystem
    from importer.number_formats.styles import CellFormats

    Codes = NDArray[np.uint8]
    Floats = NDArray[np.float64]

_US_PER_MS, _NS_PER_MS = 1_000, 1_000_000
#: Most bytes of a window's shared strings, each counted as often as it occurs, in the process of the caller.
_OWN_PROCESS_TEXT_BYTES = 64 << 20
_TRUE, _FALSE = ((b"1", b"true", b"TRUE", b"True"), (b"0", b"false", b"FALSE", b"False"))


class Texts(NamedTuple):
    """The texts of some cells of a window.

    Attributes:
        data: bytes of the window, with padding behind.
        cells: index of each cell among those of the window that are not empty, ascending.
        starts: offset of each text.
        lengths: its length in bytes.
    """

    data: Bytes
    cells: Positions
    starts: Positions
    lengths: Positions

    def views(self) -> pl.Series:
        """Return them as they are."""
        return view_texts(self.data, self.starts, self.lengths)


class Decoded(NamedTuple):
    """Values of some cells, and the cells that have none of that type."""

    values: list[Values]
    left: Positions


def decode_numbers(texts: Texts, styles: NDArray[np.int32], formats: CellFormats, epoch: DateSystem) -> Decoded:
    """Decode cells of type number, which may be dates by their format.

    Args:
        texts: texts of the cells.
        styles: style of each cell.
        formats: number formats of the styles.
        epoch: date system of the workbook.
    """
    views = texts.views()
    floats = views.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    # In words, `inf` and `nan` are numbers to the cast, but not to Excel.
    bad, kinds = ~np.isfinite(floats), _format_kinds(styles, formats)
    found: list[Values] = []
    plain = ~bad
    if kinds is not None:
        plain &= (kinds != FormatKind.DATETIME) & (kinds != FormatKind.DURATION)
        for kind, convert in ((FormatKind.DATETIME, _dates), (FormatKind.DURATION, _durations)):
            mine = np.flatnonzero((kinds == kind) & ~bad)
            found += convert(texts.cells[mine], floats[mine], epoch) if len(mine) else ()
    numbers = Numbers(texts.cells, views, texts.lengths, floats, styles)
    numbers = numbers if plain.all() else numbers.pick(np.flatnonzero(plain))
    found += [Values("number", numbers.cells, series_from_numpy(numbers.floats)), *find_marks(numbers, formats)]
    return Decoded(found, texts.cells[bad])


def _format_kinds(styles: NDArray[np.int32], formats: CellFormats) -> Codes | None:
    """Return the `FormatKind` of some cells, or None if all are numbers."""
    kinds = formats.kinds
    if not kinds.any():
        return None
    found: Codes = np.append(kinds, np.uint8(FormatKind.NUMBER))[np.minimum(styles, len(kinds))]
    return found if found.any() else None


def _dates(cells: Positions, serials: Floats, epoch: DateSystem) -> Iterator[Values]:
    stamps, is_time, valid = epoch.stamps(serials)
    dates, times = np.flatnonzero(valid & ~is_time), np.flatnonzero(valid & is_time)
    yield Values("datetime", cells[dates], series_from_numpy(stamps[dates] * _US_PER_MS).cast(VALUE_KINDS["datetime"]))
    yield Values("time", cells[times], series_from_numpy(stamps[times] * _NS_PER_MS).cast(pl.Time))
    yield _invalid(cells, serials, ~valid, epoch, elapsed=False)


def _durations(cells: Positions, serials: Floats, epoch: DateSystem) -> Iterator[Values]:
    sizes, valid = epoch.durations(serials)
    mine = np.flatnonzero(valid)
    yield Values("duration", cells[mine], series_from_numpy(sizes[mine] * _US_PER_MS).cast(VALUE_KINDS["duration"]))
    yield _invalid(cells, serials, ~valid, epoch, elapsed=True)


def _invalid(
    cells: Positions, serials: Floats, invalid: NDArray[np.bool_], epoch: DateSystem, *, elapsed: bool
) -> Values:
    which = np.flatnonzero(invalid)
    reasons = [epoch.value(serial, elapsed=elapsed)[1] for serial in serials[which].tolist()]
    return Values("unreadable", cells[which], pl.Series(reasons, dtype=pl.String))


def decode_shared(texts: Texts, strings: pl.Series | None) -> Decoded:
    """Look up the shared strings of cells of that type; those without a valid index are left.

    A small sheet may repeat a long string so often that its texts fill the memory when they are written.
    """
    indexes, good = read_whole(words(texts.data, 8)[texts.starts], texts.lengths)
    good &= indexes < (0 if strings is None else len(strings))
    if strings is None or not good.any():
        return Decoded([], texts.cells)
    picks = (indexes if good.all() else indexes[good]).astype(np.uint32)
    if is_own_process() and strings.gather(series_from_numpy(picks)).str.len_bytes().sum() > _OWN_PROCESS_TEXT_BYTES:
        require_worker()
    found = Values("text", texts.cells[good], strings, picks)
    return Decoded([found], texts.cells[~good])


def decode_texts(kind: str, texts: Texts, encodings: Codes | None) -> Decoded:
    """Decode cells whose text is in the cell itself: texts, or error values.

    Args:
        kind: kind of the cells.
        texts: texts of the cells.
        encodings: what `texts.find_encodings` says of each, or None.
    """
    found = make_texts(texts.data, texts.starts, texts.lengths, encodings)
    if not found.null_count():
        return Decoded([Values(kind, texts.cells, found)], texts.cells[:0])
    good = found.is_not_null().to_numpy()
    return Decoded([Values(kind, texts.cells[good], found.drop_nulls())], texts.cells[~good])


def decode_booleans(texts: Texts) -> Decoded:
    """Decode booleans: digits, and words as XML Schema and other programs write them."""
    held, lengths = words(texts.data, 8)[texts.starts], texts.lengths
    values, known = np.zeros(len(held), np.bool_), np.zeros(len(held), np.bool_)
    for value, spellings in ((True, _TRUE), (False, _FALSE)):
        for text in spellings:
            mask = np.uint64((1 << (8 * len(text))) - 1)
            found = (lengths == len(text)) & (held & mask == np.uint64(int.from_bytes(text, "little")))
            values |= found & value
            known |= found
            if known.all():
                break
    return Decoded([Values("boolean", texts.cells[known], series_from_numpy(values[known]))], texts.cells[~known])


def decode_iso_dates(texts: Texts) -> Decoded:
    """Decode dates that are written as ISO 8601 texts."""
    return Decoded(list(read_iso_dates(texts.cells, texts.views().to_list())), texts.cells[:0])


def read_iso_dates(cells: Positions, texts: Sequence[str]) -> Iterator[Values]:
    """Yield what `parse_iso` makes of the texts of cells, by kind; of equal ones once."""
    from importer.decoding.iso_dates import parse_iso  # only few programs write such dates

    found: dict[str, tuple[list[int], list[object]]] = {}
    known: dict[str, tuple[str, object]] = {}
    for cell, text in zip(cells.tolist(), texts, strict=True):
        if text not in known:
            known[text] = parse_iso(text)
        kind, value = known[text]
        places, values = found.setdefault(kind, ([], []))
        places.append(cell)
        values.append(value)
    for kind, (places, values) in found.items():
        yield Values(kind, np.array(places, np.int64), pl.Series(values, dtype=VALUE_KINDS.get(kind, pl.String)))
