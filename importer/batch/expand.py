"""Expands sources, sheets and a table template into imports; what cannot be expanded is reported, not raised."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.errors import ImporterError, UsageError, WorkbookRefused
from importer.excel.default_sheet import has_content
from importer.excel.package import Package
from importer.excel.rejects_origin import original_stem
from importer.reading.header import to_identifier
from importer.remote.local_copy import local_copy
from importer.runtime.progress import Clock
from importer.settings import Limits, Settings
from importer.sources.paths import find_sources
from importer.sources.sheet_names import choose_sheets
from importer.stages.open_file import open_file
from importer.stages.read import open_source
from importer.urls import Url, as_url, file_name, hide_secrets, source_settings

from .import_spec import ImportSpec
from .one_import import describe
from .report import ImportReport, failed_report
from .table_names import needs_sheet, table_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.excel.workbook import Sheet, Workbook


@dataclass(frozen=True)
class SourceGroup:
    """Sources that are imported with the same options.

    Attributes:
        sources: paths, patterns and folders, also at addresses.
        sheet: name of the one sheet to read of each workbook; None: the first visible one with rows.
        sheets: what sheets to read of each instead, see `sheet_names.choose_sheets`.
        table: table or template; None: as for one workbook.
        options: further keywords of `importer.import_workbook`; `rejects` is a folder.
    """

    sources: tuple[str, ...]
    sheet: str | None = None
    sheets: str | None = None
    table: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


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
    for path in found.paths:
        own = {**options, "copies": str(copies)} if copies and as_url(path) else options
        names: list[tuple[str | None, str | None]] = [(group.sheet, None)]
        try:
            names = _sheets_of(path, group, notes, copies, by_sheet=by_sheet)
        except (ImporterError, OSError) as exc:
            failed[len(specs)] = failed_report(ImportSpec(path, group.sheet), describe(exc))
        for asked, name in names:
            specs.append(ImportSpec(path, asked, table_for(group.table, path, name or asked), dict(own)))
    return Expanded(tuple(specs), failed, tuple(notes))


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
    rejects = options.get("rejects")
    if rejects is not None and Path(rejects).suffix and not str(rejects).endswith("/") and not Path(rejects).is_dir():
        raise UsageError(
            "one file cannot hold the rejects of many workbooks",
            place=hide_secrets(str(rejects)),
            choice="--rejects FOLDER/, or leave it out",
        )
    defaults = {f.name: f.default for f in fields(Settings)}
    return {n: value for n, value in options.items() if value is not None and value != defaults.get(n)}


def _sheets_of(
    path: str, group: SourceGroup, notes: list[str], copies: Path | None, *, by_sheet: bool
) -> list[tuple[str | None, str | None]]:
    """Return the sheets of a workbook as (name to ask for, name for the table)."""
    sheet, sheets, url = group.sheet, group.sheets, as_url(path)
    # What is in memory is known to this process alone; the others find the copy.
    if sheets is None and not by_sheet and not (copies and url and url.scheme == "memory"):
        return [(sheet, None)]
    with local_copy(Settings(**source_settings(path, copies=copies), sheet=sheet)) as settings:
        if sheets is None:
            return [(sheet, open_source(settings, Clock())[1].name if by_sheet else None)]
        workbook = open_file(settings, None)
        chosen = choose_sheets(workbook, sheets)
        kept = _with_rows(workbook, chosen) if len(chosen) > 1 else chosen
        notes += [f"{workbook.location} [{s.name}] is left out: it has no rows" for s in chosen if s not in kept]
        return [(s.name, s.name) for s in kept]


def _with_rows(workbook: Workbook, sheets: list[Sheet]) -> list[Sheet]:
    """Return the sheets with rows; all of them if none has, or it takes more to know, which their imports say."""
    try:
        with Package(workbook.path, Limits()) as package:
            return [s for s in sheets if has_content(package, s.part)] or sheets
    except WorkbookRefused:
        return sheets


def with_rejects_names(specs: list[ImportSpec]) -> tuple[ImportSpec, ...]:
    """Return the imports with names for their rejects files: beside the workbooks, or in the folder `rejects`.

    Those of workbooks at addresses are in the current folder, unless a folder is given. No two imports get the same
    name: a sheet is added where a workbook has several, and the workbook's folder where two have the same name.
    """
    per_source = Counter(spec.source for spec in specs)
    per_stem = Counter(_stem(source) for source in per_source)
    taken: set[Path | Url] = set()
    named = []
    for spec in specs:
        options = dict(spec.options)
        folder, url, stem = options.pop("rejects", None), as_url(spec.source), _stem(spec.source)
        source = Path(url.path) if url else Path(spec.source).absolute()
        if (folder is not None or url) and per_stem[stem] > 1:
            stem = f"{source.parent.name}_{stem}"
        if per_source[spec.source] > 1:
            stem = f"{stem}_{to_identifier(spec.sheet or '') or 'sheet'}"
        parent = as_url(folder) or Path(folder or ("" if url else Path(spec.source).parent))
        name = next(n for n in _numbered(stem) if _in(parent, n) not in taken)
        taken.add(_in(parent, name))
        place = _in(parent, f"{name}.rejects.xlsx")
        named.append(replace(spec, options={**options, "default_rejects": getattr(place, "text", str(place))}))
    return tuple(named)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{number}" for number in itertools.count(2))


def _in(folder: Path | Url, name: str) -> Path | Url:
    return folder.joined(name) if isinstance(folder, Url) else folder / name


def _stem(source: str) -> str:
    return original_stem(Path(file_name(source)).stem)
