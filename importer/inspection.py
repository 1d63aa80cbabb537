"""Inspects a workbook without a database: sheets, header, columns, problems, a suggested contract."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.cells.facts import ColumnFacts
from importer.cells.frame import PROBLEM_KINDS, ROW, kinds_of, part
from importer.contract.model import dump_contract
from importer.errors import CellsDisputed
from importer.pieces.piece import list_pieces
from importer.plan.given_types import with_given
from importer.plan.infer import infer_contract
from importer.plan.mixed import MixedColumn, find_mixed, identifiers_note, lost_zeros_note, undecided
from importer.plan.model import choose_columns
from importer.plan.suggest import suggest_rules
from importer.postgres.types import FIELD_TYPES
from importer.proposals.columns import Proposals, propose, with_proposals
from importer.proposals.decimals import decimals_note, propose_decimals, with_decimals
from importer.runtime.progress import Clock
from importer.stages.read import dispute_note, read_source
from importer.stages.workspace import open_workspace

from .cells import spool
from .option_values import parse_header_rows, parse_types
from .remote.local_copy import local_copy
from .sample_rows import SampleRows, read_samples
from .settings import Limits, Settings
from .table_options import parse_rows
from .urls import source_settings

if TYPE_CHECKING:
    from importer.contract.model import Contract
    from importer.pieces.piece import NamedPieces
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.workers.pool import Pool

_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Inspection:
    """The findings about a sheet.

    Attributes:
        source: the sheet that was read.
        contract: the contract that the sheet suggests.
        sample: the first and last data rows, and the first value of each column.
        problems: (address, kind, raw text) of the first cells that would be rejected.
        mixed: the columns whose kinds mix.
        proposals: what the texts of columns are.
        pieces: what of the workbook has a name.
        disputes: a note on why the engine had to read the sheet, if it had to.
        decimals: a note on columns that are shown as amounts, if there are any.
    """

    source: SheetSource
    contract: Contract
    sample: SampleRows
    problems: list[tuple[str, str, str]]
    mixed: list[MixedColumn]
    proposals: Proposals
    pieces: NamedPieces
    disputes: tuple[str, ...] = ()
    decimals: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as a dict that JSON can hold."""
        source, book = self.source, self.source.workbook
        return {
            "workbook": {"name": book.path.name, "path": book.location, "sha256": book.sha256, "size": book.size},
            "sheets": [{"name": s.name, "kind": s.kind, "visibility": s.visibility.lower()} for s in book.sheets],
            "sheet": source.sheet.name,
            "header_row": source.header.last_row,
            "header_rows": [source.header.first_row, source.header.last_row],
            "table": source.table_to_dict(),
            "excel_tables": [{"name": t.name, "sheet": s, "range": t.ref} for s, t in self.pieces.tables],
            "defined_names": [
                {"name": n.full_name, "sheet": n.sheet, "range": n.area.address}
                for n in self.pieces.names if n.area is not None and not n.hidden
            ],
            "rows": {
                "data": source.rows, "blank": source.blank_rows,
                "hidden": source.hidden_rows, "above_header": source.above_header,
            },
            "reading": source.read_cells(),
            "columns": self._columns(),
            "sample": [{"row": row, "cells": self._by_letter(cells)} for row, cells in self.sample.first],
            "last_rows": [{"row": row, "cells": self._by_letter(cells)} for row, cells in self.sample.last],
            "problems": [{"address": a, "kind": kind, "raw": raw} for a, kind, raw in self.problems],
            "notes": self._notes(),
        }  # fmt: skip

    def _columns(self) -> list[dict[str, Any]]:
        given = self.contract.types
        types = {f.name: given.get(f.name) or FIELD_TYPES[f.type] for f in self.contract.fields}
        mixed = {each.name: each.to_dict() for each in self.mixed}
        return [
            {
                "letter": c.letter, "header": c.header, "name": c.name, "type": types.get(c.name),
                "cells": self.facts(c.index).cells, "kinds": self.facts(c.index).kinds,
                "proposal": self.proposals.to_dict(c), "first_value": self.sample.values.get(c.index),
                "mixed": mixed.get(c.name),
            }
            for c in self.source.header.columns
        ]  # fmt: skip

    def _notes(self) -> list[str]:
        return [
            *self.disputes, *self._identifiers(), *(f"{m.describe()}: {m.advise()}" for m in self.mixed),
            *self.proposals.notes(self.source.header.columns), *self.decimals, *self.source.notes(),
        ]  # fmt: skip

    def _identifiers(self) -> list[str]:
        types = {f.name: f.type for f in self.contract.fields}
        names = [
            c.name
            for c in self.source.header.columns
            if types.get(c.name) == "string" and self.facts(c.index).holds_identifiers
        ]
        some = [
            c.name for c in self.source.header.columns if types.get(c.name) != "string" and self.facts(c.index).padded
        ]
        return [*([identifiers_note(names)] if names else []), *([lost_zeros_note(some)] if some else [])]

    def _by_letter(self, cells: dict[int, str]) -> dict[str, str]:
        return {c.letter: cells[c.index] for c in self.source.header.columns if c.index in cells}

    def facts(self, index: int) -> ColumnFacts:
        """Return the facts of the sheet column with that index."""
        return self.source.facts.get(index, ColumnFacts())


def inspect_workbook(workbook: str | Path, **options: Any) -> Inspection:
    """Read a sheet and return what it holds.

    Args:
        workbook: path of a workbook, or of a text file such as `.csv`.
        options: `sheet`, `range`, `excel_table`, `merged`, `header_row`, `rows`, `last_row`, `until_blank`, `footer`,
            `columns`, `types`, `null`, `mixed`, `parse_texts`, `date_order`, `decimal`, `keep_names`, `hidden`,
            `engine`, `workers`, `temp_dir` and `limits`, as in `import_workbook`.

    Raises:
        InputError: the workbook, the sheet or the header is refused.
    """
    with local_copy(_settings(workbook, **options)) as settings, open_workspace(settings) as (folder, pool):
        source, disputes = read_sheet(settings, pool, folder)
        columns, contract, proposals = _infer(settings, source, parse=settings.parse_texts)
        mixed = find_mixed(undecided(settings, source.header), source.facts, source.places, settings.mixed)
        loaded = {c.name for c in columns}
        types = {f.name: f.type for f in contract.fields}
        mixed = [m for m in mixed if m.name in loaded and types[m.name] == m.type]
        pieces = list_pieces(source.workbook, settings.limits)
        fields = {c.index: f for c, f in zip(columns, contract.fields, strict=True)}
        sample = read_samples(source, fields, contract.missing_values)
        shown = [c for c in undecided(settings, source.header) if c in columns]
        decimals = decimals_note(shown, propose_decimals(source, shown))
        return Inspection(
            source, contract, sample, _problems(source), mixed, proposals, pieces, disputes, tuple(decimals)
        )


def read_sheet(settings: Settings, pool: Pool, folder: Path) -> tuple[SheetSource, tuple[str, ...]]:
    """Read the sheet; return it, and why the engine had to read it, if it had to."""
    disputes: tuple[str, ...] = ()
    try:
        return read_source(settings, pool, folder, Clock()), disputes
    except CellsDisputed as exc:
        disputes = (dispute_note(exc),)
    return read_source(replace(settings, engine="calamine"), pool, folder, Clock()), disputes


def suggest_contract(workbook: str | Path, **options: Any) -> dict[str, Any]:
    """Return the descriptor of the contract that a sheet suggests; loading by it needs no other option.

    It has the types and rules that all rows follow, and where the table is in the workbook.

    Args:
        workbook: path of a workbook, or of a text file such as `.csv`.
        options: see `inspect_workbook`.

    Raises:
        InputError: the workbook, the sheet or the header is refused.
    """
    with local_copy(_settings(workbook, **options)) as settings, open_workspace(settings) as (folder, pool):
        source, _ = read_sheet(settings, pool, folder)
        columns, contract, proposals = _infer(settings, source, parse=True)
        decimals = propose_decimals(source, undecided(settings, source.header))
        contract = with_decimals(contract, {c.name: c for c in columns}, decimals)
        descriptor = dump_contract(suggest_rules(source, contract, columns, settings))
        for field, column in zip(descriptor["fields"], columns, strict=True):
            if column.index in {*proposals.questions, *proposals.nearly}:
                field["description"] = proposals.note(column)
        return descriptor


def _infer(settings: Settings, source: SheetSource, *, parse: bool) -> tuple[list[SheetColumn], Contract, Proposals]:
    """Return the columns to load, the contract that they suggest, in which the user's types come first, and proposals.

    Args:
        settings: settings of the inspection.
        source: the sheet.
        parse: whether the contract follows the proposals.
    """
    columns, _ = choose_columns(source.header, settings.columns)
    contract = infer_contract(columns, source.facts, settings.mixed)
    found: dict[str, SheetColumn | None] = {c.name: c for c in columns}
    proposals = propose(settings, source, columns)
    contract = with_proposals(contract, found, proposals, keep_types=False) if parse else contract
    return columns, with_given(settings, contract, found), proposals


def _settings(
    workbook: str | Path,
    *,
    header_row: int | str | None = None,
    rows: str | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Settings:
    given = {name: value for name, value in options.items() if value is not None}
    if "columns" in given:
        given["columns"] = tuple(given["columns"])
    given["types"] = parse_types(given.get("types", ()))
    given["null"] = tuple(given.get("null", ()))
    if "temp_dir" in given:
        given["temp_dir"] = Path(given["temp_dir"])
    given["own_process"] = "workers" not in given
    header = None if header_row is None else parse_header_rows(str(header_row))
    given["rows"] = None if rows is None else parse_rows(rows)
    return Settings(**source_settings(workbook), header_rows=header, limits=limits or Limits(), **given)


def _problems(source: SheetSource) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for window in source.windows:
        frame = source.data.of(spool.read(window.path))
        for column in source.header.columns:
            for kind in (k for k in kinds_of(frame.columns, column.index) if k in PROBLEM_KINDS):
                cells = frame.select(ROW, part(column.index, kind)).drop_nulls().head(_MAX_PROBLEMS)
                found += [(source.address(row, column.index), kind, raw) for row, raw in cells.iter_rows()]
        if len(found) >= _MAX_PROBLEMS:
            break
    return found[:_MAX_PROBLEMS]
