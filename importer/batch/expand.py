"""Expands sources, sheets and a table template into imports; what cannot be expanded is reported, not raised."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.errors import ImporterError, UsageError, WorkbookRefused
from importer.excel.default_sheet import count_cells
from importer.excel.package import Package
from importer.excel.rejects_origin import has_sheet_origins
from importer.postgres.sql import quote
from importer.remote.local_copy import local_copy
from importer.runtime.progress import Clock
from importer.settings import Limits, Settings
from importer.sources.paths import find_sources
from importer.sources.sheet_names import choose_sheets
from importer.stages.open_file import open_file
from importer.stages.read import open_source
from importer.urls import as_url, file_name, source_settings

from .import_spec import ImportSpec
from .one_import import describe
from .rejects.names import check_no_source, is_same_place, shared_workbook
from .report import ImportReport, failed_report
from .table_names import needs_sheet, table_for, target_of

if TYPE_CHECKING:
    from importer.excel.workbook import Sheet, Workbook


#: Workbooks that a note names.
_MOST_NAMES = 3


@dataclass(frozen=True)
class SourceGroup:
    """Sources that are imported with the same options.

    Attributes:
        sources: paths, patterns and folders, also at addresses.
        sheet: name of the one sheet to read of each workbook; None: the first visible one with rows.
        sheets: what sheets to read of each instead, see `sheet_names.choose_sheets`.
        table: table or template; None: as for one workbook.
        options: further keywords of `importer.import_workbook`; `rejects` is a folder, or a
            workbook for the rejects of all.
        place: where a file names them, such as `jobs.yaml:3:1`; None: the command line does.
    """

    sources: tuple[str, ...]
    sheet: str | None = None
    sheets: str | None = None
    table: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    place: str | None = None


class Expanded(NamedTuple):
    """The imports of a command.

    Attributes:
        specs: the imports, in the order of the sources and of their tabs.
        failed: reports on workbooks whose sheets cannot be listed, by their places in `specs`.
        notes: what was left out.
    """

    specs: tuple[ImportSpec, ...]
    failed: dict[int, ImportReport]
    notes: tuple[str, ...]


def expand(group: SourceGroup, copies: Path | None = None) -> Expanded:
    """Return the imports of a group.

    Args:
        group: the sources.
        copies: folder in which the imports of this command share copies of sources at addresses.

    Raises:
        UsageError: the options contradict each other, or a pattern matches nothing.
    """
    if group.sheet is not None and group.sheets is not None:
        raise UsageError("--sheet and --sheets cannot be combined", choice="--sheets NAME,NAME")
    options = _checked(group.options)
    by_sheet = needs_sheet(group.table)
    found = find_sources(group.sources)
    specs: list[ImportSpec] = []
    failed: dict[int, ImportReport] = {}
    notes = list(found.notes)
    meant: dict[str, dict[tuple[str, str], str]] = {}
    rejects = shared_workbook(options)
    check_no_source(rejects, group.sources)
    for path in found.paths:
        if rejects is not None and path not in group.sources and is_same_place(path, rejects):
            notes.append(f"{rejects} is left out: it is where the rejects go")
            continue
        own = {**options, "copies": str(copies)} if copies and as_url(path) else options
        names = [_ChosenSheet(group.sheet)]
        try:
            names = _sheets_of(path, group, notes, copies, by_sheet=by_sheet)
        except (ImporterError, OSError) as exc:
            failed[len(specs)] = failed_report(ImportSpec(path, group.sheet), describe(exc))
        for asked, name, origin in names:
            spec = ImportSpec(path, asked, table_for(group.table, path, name or asked) or origin, dict(own))
            specs.append(spec)
            if origin is None or group.table is not None:
                meant.setdefault(_target(spec), {}).setdefault(*_parts(group.table, path, name or asked))
    notes += _notes_on_same_tables(group, meant)
    return Expanded(tuple(specs), failed, tuple(notes))


def _target(spec: ImportSpec) -> str:
    return target_of(spec.table, None, spec.source, spec.sheet)


def _parts(template: str | None, path: str, sheet: str | None) -> tuple[tuple[str, str], str]:
    """Return what of a workbook and a sheet the name of the table is made of, to compare and to show."""
    stem = file_name(path) if template is None or "{stem}" in template else ""
    sheet = sheet if sheet and (template is None or "{sheet}" in template) else ""
    return (stem, sheet.casefold()), " ".join(part for part in (stem, f"[{sheet}]" if sheet else "") if part)


def _notes_on_same_tables(group: SourceGroup, meant: dict[str, dict[tuple[str, str], str]]) -> list[str]:
    """Return a note on each table that is made of different names, where nobody named one table for all.

    Args:
        group: the sources.
        meant: by table, what its name was made of, as it is shown.
    """
    if group.options.get("contract") is not None:
        return []
    shown = {table: sorted(names.values()) for table, names in meant.items() if len(names) > 1}
    return [
        f"{', '.join(names[:_MOST_NAMES])}{', …' if len(names) > _MOST_NAMES else ''} go to the same table, "
        f"{table}; --table names another one"
        for table, names in shown.items()
    ]


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without those that are no different from their defaults.

    Raises:
        UsageError: an option is for a single import.
    """
    if options.get("timeline"):
        raise UsageError("--timeline draws the chart of one import", choice="leave it out, or import one workbook")
    if options.get("bad_cells"):
        raise UsageError("bad_cells lists those of one import", choice="leave it out, or import one workbook")
    if options.get("mixed") == "ask":
        raise UsageError("--mixed ask asks about one workbook", choice="--mixed text or reject, or --types")
    defaults = {f.name: f.default for f in fields(Settings)}
    return {n: value for n, value in options.items() if value is not None and value != defaults.get(n)}


class _ChosenSheet(NamedTuple):
    """A sheet of a workbook: the name to ask for, that for the table, and the table that its rejects are of."""

    asked: str | None
    name: str | None = None
    table: str | None = None


def _sheets_of(
    path: str, group: SourceGroup, notes: list[str], copies: Path | None, *, by_sheet: bool
) -> list[_ChosenSheet]:
    """Return the sheets of a workbook that a group names; of one with the rejects of many imports, all of these."""
    sheet, sheets, url = group.sheet, group.sheets, as_url(path)
    mended = sheet is None and sheets is None and url is None and has_sheet_origins(Path(path))
    # What is in memory is known to this process alone; the others find the copy.
    if sheets is None and not by_sheet and not mended and not (copies and url and url.scheme == "memory"):
        return [_ChosenSheet(sheet)]
    with local_copy(Settings(**source_settings(path, copies=copies), sheet=sheet)) as settings:
        workbook = open_file(settings, None) if mended or sheets is not None else None
        origins = dict(workbook.sheet_origins) if workbook else {}
        if workbook is None or (sheets is None and not origins):
            return [_ChosenSheet(sheet, open_source(settings, Clock())[1].name if by_sheet else None)]
        own = [s for s in workbook.sheets if s.name in origins]
        chosen = own if sheets is None else choose_sheets(workbook, sheets)
        kept = _with_rows(workbook, chosen) if len(chosen) > 1 else chosen
        notes += [f"{workbook.location} [{s.name}] is left out: it has no rows" for s in chosen if s not in kept]
        tables = {name: quote(origin.schema, origin.table) for name, origin in origins.items()}
        return [_ChosenSheet(s.name, s.name, tables.get(s.name)) for s in kept]


def _with_rows(workbook: Workbook, sheets: list[Sheet]) -> list[Sheet]:
    """Return the sheets with rows; all of them if none has, or it takes more to know, which their imports say."""
    try:
        with Package(workbook.path, Limits()) as package:
            return [s for s in sheets if count_cells(package, s.part)] or sheets
    except WorkbookRefused:
        return sheets
