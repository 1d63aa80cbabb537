"""Finds the imports that go to the same table, checks that they may, and decides the columns of a new one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from importer.contract.excel_options import with_excel
from importer.contract.loader import load_contract
from importer.errors import ImporterError, UsageError
from importer.plan.drift import find_new_columns, without_field
from importer.plan.model import find_column
from importer.plan.target import contract_from_table
from importer.postgres.catalog import find_table, parse_table_name
from importer.postgres.embedded import EmbeddedServer
from importer.postgres.session import Session
from importer.reading.header import SheetColumn
from importer.runtime.retry import Retry
from importer.urls import path_or_url

from .agreed_types import agree, agree_on_added
from .execution.schedule import Chain, Order, survey_all
from .one_import import task_settings
from .report import ImportReport, failed_report
from .survey import SheetSurvey
from .table_names import target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from importer.contract.model import Contract
    from importer.postgres.catalog import Table
    from importer.settings import Dsn, Settings

    from .agreed_types import Agreement
    from .execution.workplace import Workplace
    from .import_spec import ImportSpec
    from .one_import import ImportTask

#: Numbers of the imports that go to a table, by the table as text.
Groups = dict[str, list[int]]


@dataclass(frozen=True)
class PlannedTables:
    """The imports as they are to run.

    Attributes:
        tasks: the imports by number, with the columns that their tables are to have.
        chains: the order in which they run.
        failed: reports on imports that do not fit the others of their table, by number.
        notes: how the columns of new tables were decided.
    """

    tasks: dict[int, ImportTask]
    chains: tuple[Chain, ...]
    failed: dict[int, ImportReport]
    notes: tuple[str, ...]


@contextlib.contextmanager
def target_dsn(settings: Settings) -> Iterator[Dsn]:
    """Yield the connection string of the target server; the embedded one is started once, for all imports."""
    if settings.dsn is not None:
        yield settings.dsn
        return
    with EmbeddedServer().running() as dsn:
        yield dsn


def group_by_table(specs: Sequence[ImportSpec]) -> Groups:
    """Return the imports that go to each table, as far as that shows without a server.

    Raises:
        ContractError: a contract is refused.
    """
    known: dict[str, tuple[str | None, str] | None] = {}
    groups: Groups = {}
    for number, spec in enumerate(specs):
        given = spec.options.get("contract")
        if repr(given) not in known:
            known[repr(given)] = _contract_table(given)
        named = known[repr(given)]
        groups.setdefault(target_of(spec.table, named, spec.source, spec.sheet), []).append(number)
    return groups


def _contract_table(given: str | dict[str, Any] | None) -> tuple[str | None, str] | None:
    contract = load_contract(path_or_url(given) if isinstance(given, str) else given) if given else None
    return (contract.schema, contract.table) if contract and contract.table else None


def check_modes(groups: Groups, specs: Sequence[ImportSpec], *, together: bool = False) -> None:
    """Raise UsageError where several imports cannot go to one table in their mode.

    Args:
        groups: the imports by table.
        specs: all imports.
        together: whether they are published as one, so that several can make a table, or replace its rows, together.
    """
    advice = {
        "create": "--together, a --table with {stem} or {sheet}, or --mode append",
        "replace": "--together, for all rows of all of them; or a --table with {stem} or {sheet}",
    }
    for table, numbers in groups.items():
        modes = {specs[n].options.get("mode", "append") for n in numbers} & set(advice)
        if together and all(specs[n].options.get("mode", "append") in modes for n in numbers) and len(modes) == 1:
            continue
        if len(numbers) > 1 and modes:
            mode = min(modes)
            named = ", ".join(specs[n].label for n in numbers[:3]) + (", …" if len(numbers) > 3 else "")  # noqa: PLR2004
            verb = "create" if mode == "create" else "replace all rows of"
            raise UsageError(f"{len(numbers)} imports would each {verb} {table}", place=named, choice=advice[mode])


def plan_tables(
    groups: Groups, tasks: dict[int, ImportTask], workplace: Workplace, dsn: Dsn, *, dry_run: bool
) -> PlannedTables:
    """Decide the order of the imports, and the columns of each new table that several of them go to.

    Args:
        groups: the imports by table.
        tasks: the imports that can run, by number.
        workplace: where sheets are surveyed.
        dsn: connection string of the target server.
        dry_run: whether no table is created, so that no import waits for another one.

    Raises:
        DatabaseError: the server cannot be reached.
    """
    chains: list[Chain] = []
    failed: dict[int, ImportReport] = {}
    notes: list[str] = []
    tasks = dict(tasks)
    groups = {table: left for table, numbers in groups.items() if (left := [n for n in numbers if n in tasks])}
    shared = {table for table, numbers in groups.items() if len(numbers) > 1}
    known = _find_tables(shared, dsn, task_settings(tasks[min(tasks)]).retry_for) if shared else {}
    new = {table for table, found in known.items() if found is None}
    for table, numbers in groups.items():
        settings = task_settings(tasks[numbers[0]])
        contract = load_contract(settings.contract) if settings.contract and table in known else None
        settings = with_excel(settings, contract.excel) if contract else settings
        if table in known and (settings.drift == "add-columns" or (table in new and contract is None)):
            decide = _Decision(settings, contract, known[table])
            found = _agree(numbers, tasks, decide, workplace)
            failed |= found.failed
            tasks = {n: found.tasks.get(n, task) for n, task in tasks.items() if n not in found.failed}
            notes += found.notes
        order = _order(settings, new=table in new) if table in shared and not dry_run else "free"
        ready = tuple(n for n in numbers if n in tasks)
        chains += [Chain(ready, order)] if ready else []
    return PlannedTables(tasks, tuple(chains), failed, tuple(notes))


def _order(settings: Settings, *, new: bool) -> Order:
    """Return the order of several imports into one table.

    Rows of an upsert replace those of the imports before it. Two that add columns to a table at once would have each
    other plan again.
    """
    if settings.mode == "upsert" or (settings.drift == "add-columns" and not new):
        return "serial"
    return "first" if new else "free"


def _find_tables(tables: set[str], dsn: Dsn, retry_for: float) -> dict[str, Table | None]:
    """Return what the tables are, None for one that does not exist; none whose name is refused, as its imports say."""
    retry = Retry(retry_for)
    while True:
        found: dict[str, Table | None] = {}
        try:
            with Session(dsn) as session:
                for table in sorted(tables):
                    found |= _find_table(session, table)
                return found
        except ImporterError as exc:
            retry.wait_or_raise(exc)


def _find_table(session: Session, table: str) -> dict[str, Table | None]:
    try:
        return {table: find_table(session, *parse_table_name(table))[1]}
    except ImporterError as exc:
        if exc.transient:
            raise
        session.rollback()
        return {}


@dataclass(frozen=True)
class _Decision:
    """What decides the columns of a table: settings, a contract, and the table itself if it exists."""

    settings: Settings
    contract: Contract | None
    table: Table | None

    def agree(self, surveys: dict[str, SheetSurvey]) -> Agreement:
        """Return the columns that the sheets agree on: all of a new table, else those that are added."""
        given, mixed = self._given(surveys.values()), self.settings.mixed
        if self.contract is None and self.table is None:
            return agree(surveys, drift=self.settings.drift, mixed=mixed, given=given)
        added = {s: found for s, survey in surveys.items() if (found := self._added(survey)) is not None}
        return agree_on_added(added, mixed=mixed, given=given)

    def _given(self, surveys: Iterable[SheetSurvey]) -> set[str]:
        """Return the names of the columns whose types the settings name."""
        words = [word for word, _ in self.settings.types]
        found = (find_column(_sheet_columns(survey), word) for survey in surveys for word in words)
        return {column.name for column in found if column}

    def _added(self, survey: SheetSurvey) -> SheetSurvey | None:
        """Return the survey with the columns that an import of the sheet adds; None if it has no other."""
        columns = _sheet_columns(survey)
        try:
            contract = self.contract or contract_from_table(cast("Table", self.table), columns)
        except ImporterError:
            return None
        left = without_field(contract, columns)
        if len(left) == len(columns):
            return None
        new = {c.column.index for c in find_new_columns(contract, left, self.table) if c.known is None}
        return replace(survey, columns=tuple(c for n, c in enumerate(survey.columns) if n in new))


def _sheet_columns(survey: SheetSurvey) -> list[SheetColumn]:
    return [SheetColumn(n, c.header, c.name) for n, c in enumerate(survey.columns)]


def _agree(numbers: list[int], tasks: dict[int, ImportTask], decide: _Decision, workplace: Workplace) -> PlannedTables:
    """Survey all sheets of a table, and return their imports with the columns on which they agree."""
    answers = dict(sorted(survey_all({n: tasks[n] for n in numbers}, workplace).items()))
    surveys = {n: answer for n, answer in answers.items() if isinstance(answer, SheetSurvey)}
    failed = {n: failed_report(tasks[n].spec, a) for n, a in answers.items() if not isinstance(a, SheetSurvey)}
    labels = {_label(tasks[n].spec, n): n for n in surveys}
    agreed = decide.agree({label: surveys[n] for label, n in labels.items()})
    failed |= {labels[label]: failed_report(tasks[labels[label]].spec, e) for label, e in agreed.refused.items()}
    columns: list[Any] = [list(column) for column in agreed.columns]
    planned = {
        n: replace(tasks[n], spec=tasks[n].spec.with_options(agreed=columns)) for n in surveys if n not in failed
    }
    return PlannedTables(planned, (), failed, agreed.notes)


def _label(spec: ImportSpec, number: int) -> str:
    return spec.label or str(number)
