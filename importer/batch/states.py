"""Says of each import what it would load and what the ledger knows of it, and does nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from importer.contract.excel_options import with_excel
from importer.contract.loader import load_contract
from importer.errors import DatabaseError, ImporterError, UsageError
from importer.ledger.migrations import find_ledger
from importer.ledger.tables import find_runs
from importer.plan.target import find_target
from importer.postgres.session import Session
from importer.postgres.sql import quote
from importer.remote.local_copy import local_copy
from importer.run.import_key import contract_sha256, run_key
from importer.run.reload import reload_reason
from importer.runtime.progress import Clock
from importer.stages.read import open_source

from .execution.workplace import Workplace
from .many import prepare, shared_copies
from .one_import import ImportTask, describe, spec_settings
from .rejects.names import shared_workbook
from .tables import check_modes, plan_tables, target_dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.plan.target import Target

    from .import_spec import ImportSpec
    from .many import ManyRequest

#: States of an import: the ledger does not know it; a run of it died; it is done; it cannot be.
NEW, UNFINISHED, IMPORTED, REFUSED = "new", "unfinished", "imported", "refused"


def import_states(request: ManyRequest) -> Iterator[dict[str, Any]]:
    """Yield for each import a dict that JSON can hold: the import (see `ImportSpec`), and what is known of it.

    Besides the keys of an import a dict has `sha256`, `size` (bytes) and `state`, and `error` where it is `refused`.
    The columns of new tables that several imports go to are decided, and are among the options, so that the imports can
    run anywhere, by themselves, in any order. Paths are absolute. The connection string is left out.

    Raises:
        UsageError: the options contradict each other, or a pattern matches nothing.
        DatabaseError: the server cannot be reached.
    """
    if request.together:
        raise UsageError("imports that are planned run each by itself", choice="leave out --together")
    with shared_copies(request) as shared:
        yield from _states(shared)


def _states(request: ManyRequest) -> Iterator[dict[str, Any]]:
    prepared = prepare(request)
    check_modes(prepared.groups, prepared.specs)
    if any(shared_workbook(spec.options) is not None for spec in prepared.specs):
        raise UsageError("each of these imports would replace the rejects of the others", choice="--rejects FOLDER/")
    slots = 0 if request.workers == 0 else min(2, len(prepared.specs))
    with target_dsn(prepared.settings) as dsn, Workplace(None, slots) as workplace, Session(dsn) as session:
        tasks = {
            n: ImportTask(spec.with_absolute_paths(), dsn.text, quiet=True)
            for n, spec in enumerate(prepared.specs)
            if n not in prepared.failed
        }
        planned = plan_tables(prepared.groups, tasks, workplace, dsn, dry_run=True)
        failed = {**prepared.failed, **planned.failed}
        has_ledger = find_ledger(session, writes=False)
        session.rollback()
        for number, given in enumerate(prepared.specs):
            spec = planned.tasks[number].spec if number in planned.tasks else given.with_absolute_paths()
            known = failed.get(number)
            if known is not None:
                yield _described(spec, {"state": REFUSED, "error": known.error})
            else:
                yield _state(session, spec, dsn.text, has_ledger=has_ledger)


def _described(spec: ImportSpec, found: dict[str, Any]) -> dict[str, Any]:
    spec = spec.shown()
    shown = {"source": spec.source, "sheet": spec.sheet, "table": spec.table}
    return {**shown, "sha256": None, "size": None, **found, "options": spec.options}


def _state(session: Session, spec: ImportSpec, to: str, *, has_ledger: bool) -> dict[str, Any]:
    try:
        return _found(session, spec, to, has_ledger=has_ledger)
    except (ImporterError, OSError) as exc:
        if isinstance(exc, DatabaseError) and exc.transient:
            raise
        session.rollback()
        return _described(spec, {"state": REFUSED, "error": describe(exc)})


def _found(session: Session, spec: ImportSpec, to: str, *, has_ledger: bool) -> dict[str, Any]:
    settings = spec_settings(spec, to)
    contract = load_contract(settings.contract) if settings.contract else None
    settings = with_excel(settings, contract.excel) if contract else settings
    with local_copy(settings) as settings:
        workbook, sheet = open_source(settings, Clock())
    if settings.source is not None:
        # Whoever runs the import loads what was planned, or nothing.
        spec = spec.with_options(source_version=settings.source.version)
    target = find_target(session, settings, contract, sheet, workbook.origin)
    key, _ = run_key(settings, workbook, sheet, contract_sha256(contract), target)
    state = NEW
    if has_ledger:
        published, dead = find_runs(session, key, target.quoted)
        if published is not None and reload_reason(session, target, published, settings.mode) is None:
            state = IMPORTED
        elif dead is not None:
            state = UNFINISHED
    session.rollback()
    spec = replace(spec, sheet=sheet.name, table=spec.table or _table_text(target))
    return _described(spec, {"sha256": workbook.sha256, "size": workbook.size, "state": state})


def _table_text(target: Target) -> str:
    return quote(target.schema, target.name)
