"""Checks the rules that need all rows: keys that must be unique over the whole sheet.

A row owns its keys if no accepted row above it owns one of them; every later row with such a key is rejected. A row
that is rejected for another reason owns no keys, but repeating a key that is owned is one more error of that row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from importer.cells import spool
from importer.cells.frame import ROW

from .errors_frame import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Key = tuple[str, tuple[str, ...]]


def find_duplicates(
    spooled: Iterable[tuple[int, Path | None]],
    keys: tuple[Key, ...],
    left_out: Iterable[int] = (),
    shown: Callable[[int], int] = int,
) -> dict[int, list[RowError]]:
    """Return the errors of rows that repeat a key, by window number.

    Args:
        spooled: pairs of window number and the Arrow IPC file of its keys.
        keys: pairs of rule and field names.
        left_out: sheet rows to leave out of account.
        shown: maps a row to the row number to show in messages.
    """
    frames = [spool.read(path).with_columns(pl.lit(number).alias("_window")) for number, path in spooled if path]
    if not frames or not keys:
        return {}
    rows = pl.concat(frames)
    gone = list(left_out)
    rows = rows.filter(~pl.col(ROW).is_in(gone)) if gone else rows
    suspects = rows.filter(pl.any_horizontal([_is_repeated(key) for _, key in keys]))
    return _assign_keys(suspects, keys, shown) if len(suspects) else {}


def find_superseded(
    spooled: Iterable[tuple[int, Path | None]], key: tuple[str, ...], which: Literal["first", "last"]
) -> dict[int, tuple[int, ...]]:
    """Return the rows that the first or last accepted row with the same key replaces, by window number."""
    frames = [spool.read(path).with_columns(pl.lit(number).alias("_window")) for number, path in spooled if path]
    if not frames or not key:
        return {}
    complete = pl.all_horizontal([pl.col(name).is_not_null() for name in key])
    rows = pl.concat(frames).filter(pl.col("_ok") & complete)
    kept = (pl.col(ROW).min() if which == "first" else pl.col(ROW).max()).over(key)
    lost = rows.filter(pl.col(ROW) != kept).group_by("_window").agg(pl.col(ROW).sort())
    return {window: tuple(numbers) for window, numbers in lost.iter_rows()}


def _is_repeated(key: tuple[str, ...]) -> pl.Expr:
    """Return whether a row's key is complete and occurs more than once (nulls are never equal, as in SQL)."""
    complete = pl.all_horizontal([pl.col(name).is_not_null() for name in key])
    return complete & pl.struct(key).is_duplicated()


def _assign_keys(
    suspects: pl.DataFrame, keys: tuple[Key, ...], shown: Callable[[int], int]
) -> dict[int, list[RowError]]:
    held: list[dict[tuple[Any, ...], int]] = [{} for _ in keys]
    refused: dict[int, list[RowError]] = {}
    for row in suspects.sort(pl.col("_ok").not_(), ROW).iter_rows(named=True):
        values = [tuple(row[name] for name in key) for _, key in keys]
        taken = [(k, held[k][v]) for k, v in enumerate(values) if None not in v and v in held[k]]
        for k, holder in taken:
            rule, names = keys[k]
            reason = f"repeats the {' + '.join(names)} of row {shown(holder)}"
            refused.setdefault(row["_window"], []).append(RowError(row[ROW], names[0], rule, reason))
        if row["_ok"] and not taken:
            for k, value in enumerate(values):
                if None not in value:
                    held[k][value] = row[ROW]
    return refused
