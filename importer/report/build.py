"""Builds the run report from the source, the plan and the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.excel.rejects_origin import Origin
from importer.plan.drift import absent_columns, retyped_notes
from importer.plan.mixed import find_mixed, identifiers_note, lost_zeros_note, undecided
from importer.reading.header import REJECT_COLUMNS
from importer.report.rejects.workbook import Rejects
from importer.validation.conservation import totals
from importer.validation.tasks import ColumnCount

from .model import ColumnReport, Report, RuleReport
from .notes import MIXED_COLUMN, REJECTED_THEN, Note
from .present_rows import present_notes
from .rerun_command import mend_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from importer.cells.facts import ColumnFacts
    from importer.excel.workbook import Workbook
    from importer.load.insert_bisect import PublishResult
    from importer.plan.model import ColumnPlan, LoadPlan
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.run.lease import RunLease
    from importer.runtime.progress import Clock
    from importer.settings import Settings
    from importer.validation.error_groups import ErrorGroup
    from importer.validation.tasks import WindowChecked


_ZONED = "timestamp with time zone"
#: The most superseded rows that a note lists.
_MAX_NOTE_ROWS = 20
#: What the ledger may say of the rows of the table that a run loaded into.
_TABLE_ROWS = ("inserted", "updated", "unchanged", "deleted", "refused")


def make_report(
    settings: Settings,
    source: SheetSource,
    plan: LoadPlan,
    lease: RunLease,
    windows: dict[int, WindowChecked],
    published: PublishResult | None = None,
) -> tuple[Report, Rejects]:
    """Build the report of a run that was checked, and possibly published, and the rejects that it counts."""
    about = _origin(source, lease).properties()
    rejects = Rejects.of_windows(windows.values(), list(source.header.columns), source.places, about)
    notes = (
        *_notes(settings, source, plan, lease),
        *present_notes(settings, lease, published),
        *(published.notes if published else ()),
        *_superseded_notes(source, plan, windows),
    )
    report = Report(
        outcome="planned",
        workbook=_workbook(source.workbook),
        sheet=source.sheet.name,
        header_rows=(source.header.first_row, source.header.last_row),
        target=_target(settings, lease),
        method=_method(settings, sum(w.accepted > 0 for w in windows.values())),
        columns=_columns(source, plan, windows),
        total_records=sum(w.rows for w in windows.values()),
        error_count=len(rejects),
        rows=_left_out(source, windows),
        rules=_rules(source, windows),
        rejects_file=None,
        timings={},
        duration=0.0,
        notes=notes,
        table_rows=_table_rows(published),
        mend_options=mend_options(settings, plan),
        reasons=_group_errors(rejects, source),
        reading={"engine": settings.engine, **source.read_cells()},
        table=source.table_to_dict(),
        rejected=rejects if len(rejects) else None,
    )
    return report, rejects


def _group_errors(rejects: Rejects, source: SheetSource) -> tuple[ErrorGroup, ...]:
    if not len(rejects):
        return ()
    from importer.validation.error_groups import group_errors

    return group_errors(rejects.errors, source.places)


def _workbook(book: Workbook) -> dict[str, Any]:
    return {"name": book.path.name, "path": book.location, "sha256": book.sha256, "size": book.size}


def _method(settings: Settings, chunks: int) -> dict[str, Any]:
    return {"name": settings.method, "workers": settings.workers, "chunks": chunks}


def _left_out(source: SheetSource, windows: dict[int, WindowChecked]) -> dict[str, int]:
    """Return how many rows are not loaded for a reason other than an error."""
    return {
        "blank": source.blank_rows,
        "hidden": source.hidden_rows,
        "above_header": source.above_header,
        "superseded": sum(len(w.superseded) for w in windows.values()),
    }


def _origin(source: SheetSource, lease: RunLease) -> Origin:
    """Return the origin to store in the rejects workbook; if this run loads a rejects workbook, its origin is kept."""
    book, headers = source.workbook, {c.header for c in source.header.columns}
    again = set(REJECT_COLUMNS) <= headers
    columns = [c for c in source.header.columns if not (again and c.header in REJECT_COLUMNS)]
    name = book.origin.workbook if book.origin else book.recorded_name
    letters = tuple(source.places.letter(c.index) for c in columns)
    return Origin(name, source.places.sheet, lease.target.schema, lease.target.name, letters)


def _columns(source: SheetSource, plan: LoadPlan, windows: dict[int, WindowChecked]) -> tuple[ColumnReport, ...]:
    """Return the reports of all columns of the sheet, also of those that are not loaded."""
    found, none = totals(windows), ColumnCount()
    planned = {c.column.index: c for c in plan.columns if c.column}

    def report(column: SheetColumn) -> ColumnReport:
        index, facts = column.index, source.facts.get(column.index)
        loaded = planned.get(index)
        name, pg_type = (loaded.field.name, str(loaded.pg_type)) if loaded else (column.name, None)
        kinds = facts.kinds if facts else {}
        return ColumnReport(column.letter, column.header, name, kinds, pg_type, found.get(index, none))

    return tuple(report(column) for column in source.header.columns)


def _target(settings: Settings, lease: RunLease) -> dict[str, Any]:
    """Return where the rows go, and how."""
    target = lease.target
    return {
        "schema": target.schema,
        "table": target.name,
        "mode": settings.mode,
        "created": target.table is None,
        "server": lease.server_version,
    }


def _notes(settings: Settings, source: SheetSource, plan: LoadPlan, lease: RunLease) -> list[str | Note]:
    """Return the notes on what was decided before anything was published."""
    return [
        *_mixed_notes(settings, source, plan, lease),
        *lease.notes,
        *source.notes(),
        *_drift_notes(settings, source, plan, lease),
        *_plan_notes(settings, source, plan, lease),
    ]


def _table_rows(published: PublishResult | None) -> dict[str, int]:
    """Return the counts of what happened to the target's rows."""
    if published is None:
        return {}
    counts = {name: getattr(published, name) for name in ("inserted", "updated", "unchanged", "deleted")}
    return counts | {"refused": len(published.refused)}


def _rules(source: SheetSource, windows: dict[int, WindowChecked]) -> tuple[RuleReport, ...]:
    found: dict[str, RuleReport] = {}
    for _, window in sorted(windows.items()):
        for key, (count, row, column) in window.rules.items():
            before = found.get(key)
            found[key] = RuleReport(
                key, count + (before.count if before else 0), before.example if before else source.address(row, column)
            )
    return tuple(sorted(found.values(), key=lambda rule: (-rule.count, rule.key)))


def _superseded_notes(source: SheetSource, plan: LoadPlan, windows: dict[int, WindowChecked]) -> list[str]:
    """Return a note on the rows left out in favour of another row with the same key, or nothing."""
    rows = [source.places.row(row) for _, window in sorted(windows.items()) for row in window.superseded]
    if not rows:
        return []
    shown = ", ".join(str(row) for row in rows[:_MAX_NOTE_ROWS]) + (", …" if len(rows) > _MAX_NOTE_ROWS else "")
    key = " + ".join(plan.key)
    count = "1 row was" if len(rows) == 1 else f"{len(rows):,} rows were"
    return [f"{count} left out for the {plan.on_duplicate} row with the same {key}: rows {shown}"]


def _mixed_notes(settings: Settings, source: SheetSource, plan: LoadPlan, lease: RunLease) -> list[Note]:
    """Return a note for each column of several kinds whose type neither a contract nor a table nor the user decides."""
    if settings.contract is not None or lease.target.table is not None:
        return []
    found = find_mixed(undecided(settings, source.header), source.facts, source.places, settings.mixed)
    # A column whose texts are read as values has another type than its kinds say.
    loaded = {(c.column.name, c.field.type) for c in plan.columns if c.column}
    return [
        Note(MIXED_COLUMN, {"what": m.describe(), "advice": m.advise()}) for m in found if (m.name, m.type) in loaded
    ]


def _drift_notes(settings: Settings, source: SheetSource, plan: LoadPlan, lease: RunLease) -> list[str]:
    """Return notes on what differs between the sheet and the contract or table, and is not refused."""
    table = lease.target.table
    notes = []
    if plan.added:
        types = {c.field.name: c.pg_type for c in plan.columns}
        notes.append(f"columns added to the table: {', '.join(f'{name} {types[name]}' for name in plan.added)}")
    if settings.contract is not None or table is not None:
        notes += retyped_notes(
            ((c.field, c.column) for c in plan.columns),
            source.facts,
            "the table" if settings.contract is None else "the contract",
        )
    if settings.contract is None and table is not None and (absent := absent_columns(table, plan.columns)):
        notes.append(f"columns of the table that the sheet does not have: {', '.join(absent)}")
    if table is not None and table.changing_triggers:
        listed = ", ".join(table.changing_triggers)
        notes.append(f"triggers of the table may change rows before they are stored: {listed}")
    return notes


def _fields(source: SheetSource, plan: LoadPlan, holds: Callable[[ColumnPlan, ColumnFacts], bool]) -> list[str]:
    """Return the names of the fields for which that holds of their plan and of the cells of their column."""
    facts = source.facts
    return [
        c.field.name for c in plan.columns if c.column and c.column.index in facts and holds(c, facts[c.column.index])
    ]


def _plan_notes(settings: Settings, source: SheetSource, plan: LoadPlan, lease: RunLease) -> list[str]:
    notes = list(plan.texts)
    zoned = [c.field.name for c in plan.columns if c.pg_type.name == _ZONED]
    given = _fields(source, plan, lambda c, facts: c.pg_type.name == _ZONED and facts.typed == {"instant"})
    if given:
        notes.append(f"dates and times are the instants that their offsets give for {', '.join(given)}")
    is_inferred = settings.contract is None and lease.target.table is None
    open_columns = undecided(settings, source.header) if is_inferred else []
    padded = _fields(source, plan, lambda c, facts: c.field.type == "string" and facts.holds_identifiers)
    if padded and is_inferred:
        notes.append(identifiers_note(padded))
    some = _fields(source, plan, lambda c, f: f.padded > 0 and c.field.type != "string" and c.column in open_columns)
    if some:
        notes.append(lost_zeros_note(some))
    if days := _fields(source, plan, lambda c, facts: c.field.type == "date" and facts.holds_days):
        notes.append(f"midnights UTC are the days that they name for {', '.join(days)}")
    if taken := [name for name in zoned if name not in given]:
        notes.append(f"dates and times without a zone are taken as {settings.timezone} for {', '.join(taken)}")
    single = [c.field.name for c in plan.columns if c.pg_type.name == "real" and c.field.type == "number"]
    if single:
        notes.append(f"fractions are rounded to single precision for {', '.join(single)}, as type real does")
    if plan.ignored:
        notes.append(f"columns left out: {', '.join(f'{c.letter} ({c.header or c.name})' for c in plan.ignored)}")
    return notes


def already_imported_report(settings: Settings, lease: RunLease, clock: Clock) -> Report:
    """Build the report of a run that found the import published already: by another run, or an attempt at this one."""
    done = lease.published_run
    assert done is not None
    counts = done.counts
    rejected, file = counts["error_count"], counts.get("rejects_file")
    is_own = done.id == lease.run_id
    notes: list[Note | str] = [f"already imported by run {done.id} at {done.finished_at}; --again loads it again"]
    if is_own:
        notes = [f"published at {done.finished_at} by an attempt whose answer was lost; its columns are not known here"]
    if rejected:
        notes.append(Note(REJECTED_THEN, {"rows": rejected, "file": file}))
    return Report(
        outcome="published" if is_own else "already-imported",
        workbook=_workbook(lease.workbook),
        sheet=lease.sheet.name,
        header_rows=(0, 0),
        target={
            "schema": lease.target.schema, "table": lease.target.name, "mode": settings.mode, "created": False,
            "server": lease.server_version,
        },
        method=_method(settings, 0),
        columns=(),
        total_records=counts["total_records"],
        error_count=rejected,
        rows={},
        rules=(),
        rejects_file=file,
        timings=clock.timings,
        duration=clock.elapsed,
        notes=tuple(notes),
        table_rows={name: counts[name] for name in _TABLE_ROWS if is_own and name in counts},
        run=run_to_dict(lease, 0),
    )  # fmt: skip


def run_to_dict(lease: RunLease, resumed_rows: int) -> dict[str, Any]:
    """Return the ledger part of the JSON report: the run's id, and how many rows a dead run had written for it."""
    done = lease.published_run
    return {
        "id": done.id if done else lease.run_id,
        "resumed_rows": resumed_rows,
        "published_at": done.finished_at if done else None,
    }
