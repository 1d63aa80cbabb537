"""Reads the styles part of a workbook: which number format each cell style has.

The attribute `s` of a cell is the index of its style in `cellXfs`, which names a number format by its id. `numFmts`
lists the codes of ids, and goes before the built-in ones (ECMA-376 part 1, 18.8.10, 18.8.30, 18.8.45).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from xml.parsers import expat

import numpy as np
import polars as pl

from importer.errors import WorkbookRefused
from importer.excel.sniff import SAVE_AS
from importer.excel.xml_elements import local_name

from .builtin import CODES
from .number_format import GENERAL, NumberFormat, classify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_COMPARE: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "<>": np.not_equal,
    "": lambda numbers, _: np.ones(len(numbers), np.bool_),
}  # fmt: skip
_READ_BYTES = 1 << 20
#: Excel's codes have at most 255 characters. Of longer ones this many are looked at.
_CODE_CHARACTERS = 1024
#: Ids are 32-bit numbers.
_ID_DIGITS = 11


@dataclass(frozen=True)
class CellFormats:
    """The number formats of a workbook's cell styles; a style that is not listed has the format General.

    Attributes:
        formats: the different formats that are used.
        by_style: for each cell style the index of its format in `formats`, as unsigned integers of 32 bits in the
            order of this machine; small enough to be sent to workers with each task.
    """

    formats: tuple[NumberFormat, ...] = (GENERAL,)
    by_style: bytes = b""

    def __reduce__(self) -> tuple[type[CellFormats], tuple[tuple[NumberFormat, ...], bytes]]:
        """Leave out what is computed from the fields."""
        return CellFormats, (self.formats, self.by_style)

    def of(self, style: int) -> NumberFormat:
        """Return the format of a cell style."""
        return self.formats[self._indices[style]] if 0 <= style < len(self._indices) else GENERAL

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The `FormatKind` of each cell style; an index beyond its end means a number."""
        return np.array([each.kind for each in self.formats], np.uint8)[self._indices]

    @cached_property
    def with_patterns(self) -> dict[int, NumberFormat]:
        """The formats of the cell styles that show whole numbers by digit patterns, by style."""
        shown = [n for n, each in enumerate(self.formats) if each.patterns]
        styles = np.flatnonzero(np.isin(self._indices, shown)).tolist()
        return {style: self.of(style) for style in styles}

    def digit_patterns(self, styles: pl.Series, numbers: pl.Series) -> pl.Series:
        """Return the digit pattern that shows each number; null where its format has none.

        Args:
            styles: style of each cell; no nulls.
            numbers: number of each cell; comparisons with null and nan are false.
        """
        return self._digit_patterns(styles.to_numpy(), numbers.to_numpy())

    def _digit_patterns(self, styles: NDArray[np.int64], numbers: NDArray[np.float64]) -> pl.Series:
        shown: list[str | None] = [None]
        which = np.zeros(len(styles), np.uint32)
        order = np.argsort(styles, kind="stable")
        used, starts = np.unique(styles[order], return_index=True)
        for style, cells in zip(used.tolist(), np.split(order, starts[1:]), strict=True):
            left = cells
            for choice in self.with_patterns.get(style, GENERAL).patterns:
                mine = _COMPARE[choice.operator](numbers[left], choice.limit)
                which[left[mine]] = len(shown)
                shown.append(choice.pattern)
                left = left[~mine]
        return pl.Series(shown, dtype=pl.String).gather(pl.Series(which))

    @cached_property
    def _indices(self) -> NDArray[np.uint32]:
        return np.frombuffer(self.by_style, np.uint32)


def read_cell_formats(styles: Path | None) -> CellFormats:
    """Return the number formats of a workbook's cell styles.

    Args:
        styles: file with the inflated styles part, or None if the workbook has none.

    Raises:
        WorkbookRefused: the part is not well-formed XML, and ends before its cell styles do.
    """
    found = _StylesParser()
    if styles is not None:
        found.read(styles)
    return found.cell_formats()


class _StylesParser:
    """Collects the codes of formats, and the id of each cell style's format, while a styles part is parsed."""

    #: Elements that are wanted, as the local names on the path to them.
    _FORMAT, _STYLE = ["styleSheet", "numFmts", "numFmt"], ["styleSheet", "cellXfs", "xf"]

    def __init__(self) -> None:
        self._codes = dict(CODES)
        self._used = array("q")
        self._path: list[str] = []
        self._complete = False

    def read(self, styles: Path) -> None:
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        try:
            with styles.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    parser.Parse(block, False)
                parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as exc:
            if not self._complete:
                raise WorkbookRefused(f"the styles are not well-formed XML ({exc})", choice=SAVE_AS) from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(local_name(tag))
        if self._path == self._STYLE:
            self._used.append(_id(attributes))
        elif self._path == self._FORMAT:
            self._codes[_id(attributes)] = attributes.get("formatCode", "")[:_CODE_CHARACTERS]

    def _end(self, _tag: str) -> None:
        self._complete |= self._path.pop() == "cellXfs"

    def cell_formats(self) -> CellFormats:
        """Return the formats of all cell styles."""
        ids, by_style = np.unique(np.frombuffer(self._used, np.int64), return_inverse=True)
        formats = tuple(classify(self._codes.get(number, "General")) for number in ids.tolist())
        return CellFormats(formats or (GENERAL,), by_style.astype(np.uint32).tobytes())


def _id(attributes: dict[str, str]) -> int:
    """Return the id of a format; -1, which no format has, if it is not a number."""
    text = attributes.get("numFmtId", "").strip()
    return int(text) if text.isdecimal() and len(text) < _ID_DIGITS else -1
