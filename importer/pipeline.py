"""Owns the story of a run, from a path to a published table; the only module that knows all stages."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import pool as pools
from .checksums import Checksum, add
from .clock import Clock, Progress
from .contract import Contract, infer_contract
from .descriptor import load_contract
from .embedded import Embedded
from .errors import BudgetExceeded, ConservationError, ImporterError, MachineError
from .ingest import close_session
from .keys import duplicates
from .plan import LoadPlan, check_keys, choose_columns, match_fields
from .pool import Pool
from .postgres import Session, check_server
from .publish import publish
from .rejects import Rejects
from .report import ColumnReport, Report, RuleReport
from .source import Source, hidden_columns, read_source
from .staging import Staging, staging_table, verify
from .target import (
    Target,
    contract_from_table,
    find_target,
    new_types,
    plan_columns,
    with_required_keys,
    with_table_rules,
)
from .validate import ColumnCount, Refusal
from .workers import CheckTask, IngestTask, WindowChecked, check_window, ingest_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from .settings import Dsn, Settings

_BAD_FREE_SPACE = "free space, or point --temp-dir at another disk"


def run(settings: Settings, progress: Progress | None = None, *, dry_run: bool = False) -> Report:
    """Load a sheet into a table, all or nothing, and report where every cell went.

    Args:
        settings: of the run.
        progress: is told of stages and rows.
        dry_run: do everything, then roll it back and leave no trace.

    Raises:
        BudgetExceeded: too many rejects; its `report` says which.
        ImporterError: see `errors`; in every case the target is as it was.
    """
    clock = Clock(progress)
    contract = load_contract(settings.contract) if settings.contract else None
    with _connecting(settings) as connected, working(settings) as (folder, pool):
        source = read_source(settings, pool, folder, clock)
        with clock.stage("plan"):
            dsn, session, version = connected.result()
            target = find_target(session, settings, contract, source.sheet)
            contract, plan = plan_load(settings, source, target, contract, session)
        with clock.stage("validate"):
            windows = validate(settings, source, plan, pool, folder, clock)
            rejects = Rejects(windows.values(), list(source.header.columns))
            report = _report(settings, source, plan, target, windows, rejects, version)
            path = _rejects_path(settings, source, rejects)
            report = replace(report, rejects_file=str(path) if path else None)
        with _kept_rejects(rejects, path, source.sheet.name, clock):
            _check_budget(settings, report, clock)
            _load(
                settings,
                session,
                dsn,
                target,
                contract,
                plan,
                windows,
                pool,
                clock,
                sheet=source.sheet.name,
                dry_run=dry_run,
            )
    return replace(report, outcome="checked" if dry_run else "published", timings=clock.timings, duration=clock.elapsed)


@contextlib.contextmanager
def working(settings: Settings) -> Iterator[tuple[Path, Pool]]:
    """A spool folder and a pool of workers, both gone afterwards.

    Raises:
        MachineError: the spool's disk is full.
    """
    pools.warm_up()
    folder = Path(tempfile.mkdtemp(prefix="importer-", dir=settings.temp_dir))
    try:
        with Pool(settings.workers, settings.limits, folder / "workers.log") as pool:
            yield folder, pool
    except OSError as exc:
        raise MachineError(
            f"the machine refused: {exc.strerror or exc}", place=exc.filename or str(folder), choice=_BAD_FREE_SPACE
        ) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[Dsn]:
    """The target server: the named one, or the embedded one while it is needed."""
    if settings.dsn is not None:
        yield settings.dsn
        return
    with Embedded().running() as dsn:
        yield dsn


@contextlib.contextmanager
def _connecting(settings: Settings) -> Iterator[Future[tuple[Dsn, Session, str]]]:
    """A connection in the making, while the workbook is read: the server's DSN, a session, the server's version.

    Connecting reads the catalog of types, and the embedded server may have to start first.
    """
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as thread:

        def connect() -> tuple[Dsn, Session, str]:
            dsn = stack.enter_context(_server(settings))
            session = stack.enter_context(Session(dsn))
            version = check_server(session)
            import xlsxwriter  # noqa: F401 - 70 ms that the rejects, if there are any, need not wait for

            return dsn, session, version

        yield thread.submit(connect)


# ---- PLAN -------------------------------------------------------------------------------------------------------


def plan_load(
    settings: Settings, source: Source, target: Target, contract: Contract | None, session: Session
) -> tuple[Contract, LoadPlan]:
    """The contract that holds (given, else the existing table, else inferred), and the plan that follows from it."""
    columns, ignored = choose_columns(source.header, settings.columns)
    if settings.hidden == "skip":
        hidden = hidden_columns(source)
        ignored += [c for c in columns if c.index in hidden]
        columns = [c for c in columns if c.index not in hidden]
    if contract is None:
        contract = contract_from_table(target.table, columns) if target.table else infer_contract(columns, source.facts)
    found, left = match_fields(contract, columns, lenient=settings.columns is not None)
    contract = with_table_rules(contract, target.table) if target.table else contract
    contract = with_required_keys(contract)
    check_keys(contract, found)
    types = {} if target.table else new_types(session, contract)
    planned = plan_columns(contract, target, found, types)
    return contract, LoadPlan(
        planned, tuple(ignored + left), tuple(contract.all_keys()), settings.timezone, settings.error_cells
    )


# ---- VALIDATE ---------------------------------------------------------------------------------------------------


def validate(
    settings: Settings, source: Source, plan: LoadPlan, pool: Pool, folder: Path, clock: Clock
) -> dict[int, WindowChecked]:
    """Every window judged by the plan, by its number; windows with repeated keys are judged again.

    Raises:
        ConservationError: a column whose cells do not add up.
    """
    skip = settings.hidden == "skip"
    tasks = [CheckTask(w.number, w.path, folder, plan, source.header.last_row, skip) for w in source.windows if w.rows]
    clock.expect(source.rows)
    windows: dict[int, WindowChecked] = {}
    died = partial(_checker_died, source)
    for checked in pool.run(check_window, tasks, died):
        clock.advance(checked.rows)
        windows[checked.number] = checked
    repeated = duplicates(((w.number, w.keys) for w in windows.values()), plan.keys)
    for checked in pool.run(check_window, _again(tasks, repeated), died):
        windows[checked.number] = checked
    _check_conservation(source, windows)
    return windows


def _again(tasks: list[CheckTask], refusals: dict[int, list[Refusal]]) -> list[CheckTask]:
    return [replace(task, refusals=tuple(refusals[task.number])) for task in tasks if task.number in refusals]


def _checker_died(source: Source, task: CheckTask, how: str) -> ImporterError:
    rows = next(f"{w.first_row}-{w.last_row}" for w in source.windows if w.number == task.number)
    return MachineError(
        f"the process that validated sheet {source.sheet.name!r}, rows {rows}, {how}",
        place=str(source.workbook.path),
        choice="nothing was loaded; raise --memory, or lower --chunk-rows",
    )


def _totals(windows: dict[int, WindowChecked]) -> dict[int, ColumnCount]:
    totals: dict[int, ColumnCount] = {}
    for window in windows.values():
        for column, count in window.counts.items():
            totals[column] = totals.get(column, ColumnCount()) + count
    return totals


def _check_conservation(source: Source, windows: dict[int, WindowChecked]) -> None:
    """Every cell that was read must be loaded, missing, ignored or rejected; the count of the reader is the judge."""
    totals = _totals(windows)
    for column, facts in source.facts.items():
        count = totals.get(column, ColumnCount())
        if not count.balanced or count.cells != facts.cells:
            raise ConservationError(
                f"column {source.address(1, column)}: {facts.cells:,} cells were read but {count} were accounted for"
            )


def _check_budget(settings: Settings, report: Report, clock: Clock) -> None:
    budget = settings.max_rejects
    if budget is None or budget.allows(report.error_count, report.total_records):
        return
    error = BudgetExceeded(
        f"{report.error_count:,} of {report.total_records:,} rows were rejected, over the budget of {budget}; "
        "nothing was published",
        choice=f"mend the rows in {report.rejects_file}, or raise --max-rejects",
    )
    error.report = replace(report, outcome="over-budget", timings=clock.timings, duration=clock.elapsed)
    raise error


# ---- LOAD -------------------------------------------------------------------------------------------------------


def _load(
    settings: Settings, session: Session, dsn: Dsn, target: Target, contract: Contract, plan: LoadPlan,
    windows: dict[int, WindowChecked], pool: Pool, clock: Clock, *, sheet: str, dry_run: bool,
) -> None:  # fmt: skip
    """Write all chunks to staging, verify it, and publish it in one transaction."""
    accepted = sum(w.accepted for w in windows.values())
    with staging_table(session, target, plan.columns, contract) as staging:
        with clock.stage("write"):
            clock.expect(accepted)
            lanes = 1 if settings.method == "sequential" else None
            try:
                for _, rows in pool.run(
                    ingest_chunk, _chunks(settings, dsn, staging, windows), partial(_writer_died, sheet), lanes=lanes
                ):
                    clock.advance(rows)
            finally:
                close_session()
            pool.retire()
        with clock.stage("verify"):
            verify(session, staging, accepted, _checksums(windows))
        with clock.stage("publish"):
            publish(session, staging, target, contract, settings.mode, keep=not dry_run)


def _chunks(settings: Settings, dsn: Dsn, staging: Staging, windows: dict[int, WindowChecked]) -> Iterator[IngestTask]:
    from .staging import SCHEMA

    for number, window in sorted(windows.items()):
        if window.chunk is not None:
            yield IngestTask(
                number, window.chunk, window.first_row, window.last_row, dsn, SCHEMA, staging.name, settings.method
            )


def _writer_died(sheet: str, task: IngestTask, how: str) -> ImporterError:
    rows = f"{task.first_row}-{task.last_row}"
    return MachineError(
        f"the process that wrote sheet {sheet!r}, rows {rows}, {how}", choice="nothing was published; run again"
    )


def _checksums(windows: dict[int, WindowChecked]) -> dict[str, Checksum]:
    totals: dict[str, Checksum] = {}
    for window in windows.values():
        for name, checksum in window.checksums.items():
            totals[name] = add(totals.get(name), checksum)
    return totals


# ---- REPORT -----------------------------------------------------------------------------------------------------


def _report(
    settings: Settings,
    source: Source,
    plan: LoadPlan,
    target: Target,
    windows: dict[int, WindowChecked],
    rejects: Rejects,
    version: str,
) -> Report:
    totals = _totals(windows)
    types = {c.column.index: str(c.pg_type) for c in plan.columns if c.column}
    names = {c.column.index: c.field.name for c in plan.columns if c.column}
    columns = tuple(
        ColumnReport(
            c.letter, c.header, names.get(c.index, c.name),
            source.facts[c.index].kinds if c.index in source.facts else {},
            types.get(c.index), totals.get(c.index, ColumnCount()),
        )
        for c in source.header.columns
    )  # fmt: skip
    book = source.workbook
    return Report(
        outcome="planned",
        workbook={"name": book.path.name, "path": str(book.path), "sha256": book.sha256, "size": book.size},
        sheet=source.sheet.name,
        header_rows=(source.header.first_row, source.header.last_row),
        target={
            "schema": target.schema,
            "table": target.name,
            "mode": settings.mode,
            "created": target.table is None,
            "server": version,
        },
        method={
            "name": settings.method,
            "workers": settings.workers,
            "chunks": sum(w.chunk is not None for w in windows.values()),
        },
        columns=columns,
        total_records=sum(w.rows for w in windows.values()),
        error_count=len(rejects),
        rows={"blank": source.blank_rows, "hidden": source.hidden_rows, "above_header": source.above_header},
        rules=_rules(source, windows),
        rejects_file=None,
        timings={},
        duration=0.0,
        notes=tuple(source.notes() + _plan_notes(settings, plan)),
    )


def _rules(source: Source, windows: dict[int, WindowChecked]) -> tuple[RuleReport, ...]:
    found: dict[str, RuleReport] = {}
    for _, window in sorted(windows.items()):
        for key, (count, row, column) in window.rules.items():
            before = found.get(key)
            found[key] = RuleReport(
                key, count + (before.count if before else 0), before.example if before else source.address(row, column)
            )
    return tuple(sorted(found.values(), key=lambda rule: (-rule.count, rule.key)))


def _plan_notes(settings: Settings, plan: LoadPlan) -> list[str]:
    notes = []
    zoned = [c.field.name for c in plan.columns if c.pg_type.name == "timestamp with time zone"]
    if zoned:
        notes.append(f"dates and times without a zone are taken in {settings.timezone} for {', '.join(zoned)}")
    single = [c.field.name for c in plan.columns if c.pg_type.name == "real" and c.field.type == "number"]
    if single:
        notes.append(f"fractions are rounded to single precision for {', '.join(single)}, as type real does")
    if plan.ignored:
        notes.append(f"columns left out: {', '.join(f'{c.letter} ({c.header or c.name})' for c in plan.ignored)}")
    return notes


def _rejects_path(settings: Settings, source: Source, rejects: Rejects) -> Path | None:
    """Where the rejects go; None when there are none."""
    if not len(rejects):
        return None
    return settings.rejects or _free_path(Path.cwd() / f"{source.workbook.path.stem}.rejects.xlsx")


@contextlib.contextmanager
def _kept_rejects(rejects: Rejects, path: Path | None, sheet: str, clock: Clock) -> Iterator[None]:
    """The rejects file, written whole before anything is published; when nothing was, the old one comes back.

    A run over its budget keeps the new one: it says which rows to mend.
    """
    if path is None:
        yield
        return
    old = path.with_name(f"{path.name}.old")
    if path.is_file():
        path.replace(old)
    try:
        with clock.stage("rejects"):
            rejects.write(path, sheet)
        yield
    except BudgetExceeded:
        old.unlink(missing_ok=True)
        raise
    except BaseException:
        if path.is_file():
            path.unlink()
        if old.is_file():
            old.replace(path)
        raise
    old.unlink(missing_ok=True)


def _free_path(path: Path) -> Path:
    """`path`, or the same with a number: an earlier file may be half mended by now."""
    number = 2
    free = path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free
