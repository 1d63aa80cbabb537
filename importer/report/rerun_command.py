"""Builds the command that loads a fixed rejects workbook: the options of this run, as far as they still apply."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from importer.settings import Settings, find_dsn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from importer.plan.model import LoadPlan


def mend_options(settings: Settings, plan: LoadPlan) -> tuple[str, ...]:
    """Return the options of that command. It names no table, which the rejects workbook records itself."""
    words: list[str] = []
    if settings.contract:
        # A descriptor that a program gave is in no file: the user knows where it is from.
        words += ["--contract", "CONTRACT" if isinstance(settings.contract, dict) else str(settings.contract)]
    if settings.mode == "upsert":
        words += ["--mode", "upsert", "--key", ",".join(plan.key)]
    if settings.dsn is not None and settings.dsn != find_dsn(None):
        # The password is masked; libpq finds it elsewhere, or the user types it.
        words += ["--to", settings.dsn.masked]
    if settings.columns:
        words += ["--columns", ",".join(c.column.name for c in plan.columns if c.column)]
    words += ["--types", ",".join(f"{name}={kind}" for name, kind in settings.types)] if settings.types else []
    words += ["--null", ",".join(settings.null)] if settings.null else []
    for option, value, default in (
        ("--drift", settings.drift, "refuse"),
        ("--mixed", settings.mixed, "text"),
        ("--on-duplicate", settings.on_duplicate, "reject"),
        ("--error-cells", settings.error_cells, "reject"),
        ("--timezone", settings.timezone, "UTC"),
        ("--max-text", settings.max_text, Settings.max_text),
    ):
        words += [option, str(value)] if value != default else []
    words += ["--parse-texts"] * settings.parse_texts
    words += ["--date-order", settings.date_order] if settings.date_order else []
    words += ["--decimal", settings.decimal] if settings.decimal else []
    words += ["--keep-names"] * settings.keep_names + ["--lineage"] * settings.lineage
    return tuple(words)


def mend_command(rejects: str | None, options: Sequence[str]) -> str | None:
    """Return the command line for a rejects file; None for one that cannot be loaded."""
    if rejects is None or not rejects.lower().endswith(".xlsx"):
        return None
    return shlex.join(["importer", "run", rejects, *options])
