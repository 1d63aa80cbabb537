"""Validates a sheet: checks every window against the plan, keys across all windows, and the balance of cells."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from importer.errors import ImporterError, MachineError, NotSpooled
from importer.load.copy import max_writers
from importer.validation.conservation import check_conservation
from importer.validation.tasks import CheckTask, WindowChecked
from importer.validation.unique_keys import find_duplicates, find_superseded

from .tasks import check_window

if TYPE_CHECKING:
    from importer.plan.model import LoadPlan
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Dsn
    from importer.workers.task_result import Death

    from .workspace import RunContext


def validate(
    run: RunContext, source: SheetSource, plan: LoadPlan,
    dsn: Dsn | None = None, known: dict[int, WindowChecked] | None = None,
) -> dict[int, WindowChecked]:  # fmt: skip
    """Check every window against the plan, those with repeated keys twice; return the results by window number.

    With a DSN the workers connect there meanwhile. The windows in `known` were checked against this plan before.

    Raises:
        NotSpooled: a window that was not kept has to be checked.
        ConservationError: the cells of a column do not add up.
    """
    clock, pool = run.clock, run.pool
    writers = max_writers(source.rows * len(plan.columns))
    # The first tasks go to the first workers, which will write.
    tasks = [
        CheckTask(w.number, w.path, run.folder, plan, source.data, dsn=dsn if n < writers else None, nul=w.may_hold_nul)
        for n, w in enumerate(w for w in source.windows if w.rows)
    ]
    clock.expect(source.rows)
    windows = dict(known or {})
    left = [task for task in tasks if task.number not in windows]
    if not {task.number for task in left}.isdisjoint(w.number for w in source.windows if not w.kept):
        raise NotSpooled("windows that were not kept must be checked against another plan")
    clock.advance(sum(w.rows for w in windows.values()))
    checker_error = partial(_checker_error, source)
    for checked in pool.run(check_window, left, checker_error, again=True):
        clock.advance(checked.rows)
        windows[checked.number] = checked
    for checked in pool.run(check_window, _recheck_tasks(tasks, windows, plan, source), checker_error, again=True):
        windows[checked.number] = checked
    check_conservation(source, windows)
    return windows


def _recheck_tasks(
    tasks: list[CheckTask], windows: dict[int, WindowChecked], plan: LoadPlan, source: SheetSource
) -> list[CheckTask]:
    """Return the tasks of windows with repeated keys, with the rows to reject or to leave out."""
    spooled = [(w.number, w.keys) for w in windows.values()]
    left_out: dict[int, tuple[int, ...]] = {}
    if plan.on_duplicate != "reject":
        left_out = find_superseded(spooled, plan.key, plan.on_duplicate)
    superseded_rows = [row for rows in left_out.values() for row in rows]
    keys = plan.keys if plan.on_duplicate == "reject" else tuple(k for k in plan.keys if set(k[1]) != set(plan.key))
    refusals = find_duplicates(spooled, keys, superseded_rows, source.places.row)
    return [
        replace(task, refusals=tuple(refusals.get(task.number, ())), superseded=left_out.get(task.number, ()))
        for task in tasks
        if task.number in refusals or task.number in left_out
    ]


def _checker_error(source: SheetSource, task: CheckTask, how: Death) -> ImporterError:
    rows = next(f"{w.first_row}-{w.last_row}" for w in source.windows if w.number == task.number)
    return MachineError(
        f"the process that validated sheet {source.sheet.name!r}, rows {rows}, {how}",
        place=str(source.workbook.path),
        choice="nothing was loaded; raise --memory, or lower --chunk-rows",
    )
