"""Decides the columns of a new table that many sheets go to, or of those that they add, so that order never matters.

A column belongs to the table if at least half of the sheets have it. Whether those of fewer sheets do is the `drift`
policy, as for the columns of one sheet that a table does not have. The type of a column is the one that a single sheet
with the cells of all would get.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from importer.cells.facts import merge_facts
from importer.errors import ContractError
from importer.option_values import AgreedColumn
from importer.plan.infer import infer_type, special_type

from .one_import import describe

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from typing import Any

    from importer.settings import DriftPolicy, MixedPolicy

    from .survey import SheetSurvey, SurveyedColumn

#: Most sources that a note names.
_MOST_NAMED = 3


class Agreement(NamedTuple):
    """What the sheets of a new table agree on.

    Attributes:
        columns: the columns of the table.
        refused: errors of the sheets that do not fit, by source.
        notes: columns that not all sheets have, and columns whose kinds differ between them.
    """

    columns: tuple[AgreedColumn, ...]
    refused: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def agree(
    surveys: Mapping[str, SheetSurvey], *, drift: DriftPolicy, mixed: MixedPolicy, given: Container[str] = ()
) -> Agreement:
    """Return the columns of a new table, and the sheets that do not fit.

    Args:
        surveys: the sheets, by what names them in messages.
        drift: what to do with columns that fewer than half of the sheets have.
        mixed: see `plan.infer.infer_type`.
        given: names of columns whose types the user gives, whatever their kinds.
    """
    refused = {source: _strange(survey) for source, survey in _strangers(surveys).items()}
    left = {source: survey for source, survey in surveys.items() if source not in refused}
    counts = _counts(left)
    table = {name for name, count in counts.items() if count * 2 >= len(left) or drift == "add-columns"}
    if drift == "refuse":
        refused |= {s: error for s, survey in left.items() if (error := _extra(survey, table, counts, len(left)))}
        left = {source: survey for source, survey in left.items() if source not in refused}
    columns, notes = _decide(left, table, mixed, given)
    return Agreement(columns, refused, notes)


def agree_on_added(surveys: Mapping[str, SheetSurvey], *, mixed: MixedPolicy, given: Container[str] = ()) -> Agreement:
    """Return the columns that sheets add to a table or to those of a contract; no sheet is refused here.

    Args:
        surveys: the sheets with their new columns alone, by what names them in messages.
        mixed: see `plan.infer.infer_type`.
        given: as for `agree`.
    """
    columns, notes = _decide(surveys, set(_counts(surveys)), mixed, given)
    return Agreement(columns, {}, notes)


def _decide(
    left: Mapping[str, SheetSurvey], table: set[str], mixed: MixedPolicy, given: Container[str]
) -> tuple[tuple[AgreedColumn, ...], tuple[str, ...]]:
    """Return those columns of the sheets that belong to the table, and notes."""
    columns, notes = [], []
    for name in _in_order(left):
        having = {source: column for source, survey in left.items() if (column := _column(survey, name))}
        if name not in table:
            notes.append(f"column {name!r} is left out: only {_listed(list(having))} has it, of {len(left)} sheets")
            continue
        agreed, note = _agreed(name, having, mixed)
        columns.append(agreed)
        notes += [note] if note and name not in given else []
        lacking = [source for source in left if source not in having]
        notes += [f"column {name!r} is NULL or its default for {_listed(lacking)}: no such column"] if lacking else []
    return tuple(columns), tuple(notes)


def _counts(surveys: Mapping[str, SheetSurvey]) -> Counter[str]:
    return Counter(column.name for survey in surveys.values() for column in survey.columns)


def _in_order(surveys: Mapping[str, SheetSurvey]) -> list[str]:
    """Return the names of all columns in an order that does not depend on that of the sheets.

    It is that of the sheet with the most columns; those that it lacks follow by name.
    """
    widest = max(surveys.values(), key=lambda s: (len(s.columns), [c.name for c in s.columns]), default=None)
    first = [column.name for column in widest.columns] if widest else []
    return first + sorted(set(_counts(surveys)) - set(first))


def _column(survey: SheetSurvey, name: str) -> SurveyedColumn | None:
    return next((column for column in survey.columns if column.name == name), None)


def _strangers(surveys: Mapping[str, SheetSurvey]) -> dict[str, SheetSurvey]:
    """Return the sheets that have no column in common with any other; none if there is only one."""
    if len(surveys) < 2:  # noqa: PLR2004 - two that can have something in common
        return {}
    counts = _counts(surveys)
    return {s: survey for s, survey in surveys.items() if all(counts[c.name] == 1 for c in survey.columns)}


def _strange(survey: SheetSurvey) -> dict[str, Any]:
    listed = ", ".join(repr(c.header or c.name) for c in survey.columns)
    return describe(
        ContractError(
            "missing-label: the sheet has no column in common with the others that go to the same table",
            choice=f"its header, as found: {listed}; name another row with --header-row, or load it alone",
        )
    )


def _extra(survey: SheetSurvey, table: set[str], counts: Counter[str], sheets: int) -> dict[str, Any] | None:
    """Return the error of a sheet with columns that fewer than half of the sheets have, or None."""
    extra = [c for c in survey.columns if c.name not in table]
    if not extra:
        return None
    shown = ", ".join(f"{c.header or c.name!r} (in {counts[c.name]} of {sheets} sheets)" for c in extra)
    missing = sorted(table - {c.name for c in survey.columns})
    fact = f"extra-label: most sheets that go to the same table have no column {shown}"
    fact += f"; this one has no {', '.join(map(repr, missing))}" if missing else ""
    return describe(ContractError(fact, choice="rename it, --drift add-columns, or --drift ignore-extra"))


def _agreed(name: str, having: dict[str, SurveyedColumn], mixed: MixedPolicy) -> tuple[AgreedColumn, str | None]:
    """Return a column of the table, and a note if its kinds differ."""
    facts = merge_facts([c.facts for c in having.values()])
    kind = infer_type(facts, mixed)
    titles = Counter(c.header for c in having.values() if c.header)
    title = min(titles, key=lambda text: (-titles[text], text), default=None)
    agreed = AgreedColumn(name, title, kind, special_type(kind, facts))
    kinds = facts.value_counts
    if len(kinds) < 2 or all(len(c.facts.value_counts) == len(kinds) for c in having.values()):  # noqa: PLR2004
        return agreed, None
    each = [f"{_word(k)} in {_listed(_with_kind(having, k))}" for k in sorted(kinds)]
    loaded = "text" if kind == "string" else kind
    return agreed, f"column {name!r} is loaded as {loaded}, because its kinds differ: {'; '.join(each)}"


def _with_kind(having: dict[str, SurveyedColumn], kind: str) -> list[str]:
    found = []
    for source, column in having.items():
        kinds = {kind, "date"} if kind == "datetime" else {kind}
        if kinds & set(column.facts.value_counts):
            example = column.example.get(kind)
            found.append(f"{source} ({example})" if example else source)
    return found


def _word(kind: str) -> str:
    return {"datetime": "date with time"}.get(kind, kind)


def _listed(sources: list[str]) -> str:
    more = len(sources) - _MOST_NAMED
    return ", ".join(sources[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
