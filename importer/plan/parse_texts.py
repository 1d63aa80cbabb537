"""Decides what texts become where no contract says it: values (`--parse-texts`), or texts, with a hint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from importer.cells.facts import ColumnFacts
from importer.proposals.columns import distinct_texts, propose, require_answers, with_proposals
from importer.proposals.nearly import find_others
from importer.proposals.points import Points, find_unclear_points

from .model import find_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.proposals.model import Question
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings


def read_texts(
    settings: Settings,
    source: SheetSource,
    contract: Contract,
    found: Mapping[str, SheetColumn | None],
    *,
    keep_types: bool,
) -> tuple[Contract, tuple[str, ...]]:
    """Return the contract by which texts are read, and notes on them.

    Args:
        settings: settings of the run.
        source: the sheet.
        contract: contract that was inferred, or agreed on, or is that of the table.
        found: sheet column by field name.
        keep_types: whether the contract's types stay: those of a table, or agreed on by several sheets.

    Raises:
        SheetError: the texts of a column have two meanings.
    """
    texts = [column for f in contract.fields if f.type == "string" and (column := found.get(f.name))]
    if settings.parse_texts:
        # Where the types stay, a column of texts takes its texts as they are, whatever they may mean.
        columns = [c for c in found.values() if c and not (keep_types and c in texts)]
        named = [find_column(columns, word) for word, _ in settings.types]
        proposals = propose(settings, source, columns)
        require_answers([c for c in columns if c not in named], proposals, source)
        said = {**proposals.found, **proposals.nearly}
        notes = tuple(note for c in columns if (note := proposals.note(c)) and c.index in said)
        return with_proposals(contract, found, proposals, keep_types=keep_types), notes
    if keep_types:
        return contract, ()
    named = [find_column(texts, word) for word, _ in settings.types]
    undecided = [column for column in texts if column not in named]
    proposals = propose(settings, source, undecided, hint=True)
    hints = [proposals.note(c) for c in undecided if c.index in proposals.found]
    seeming = [f"{hint}, it seems: loaded as text; --parse-texts loads values" for hint in hints]
    asked = [(c.name, proposals.questions[c.index]) for c in undecided if c.index in proposals.questions]
    return contract, (*seeming, *(_question_note(name, question) for name, question in asked))


def _question_note(name: str, question: Question) -> str:
    """Return what the first texts of a column leave open, which others may decide."""
    what = question.what.partition(", and no other")[0]
    return f"{name}: {what}: loaded as text; --parse-texts loads values, where no cell decides with {question.choice}"


def without_unclear_points(
    contract: Contract, source: SheetSource, found: Mapping[str, SheetColumn | None]
) -> tuple[Contract, tuple[str, ...]]:
    """Return the contract by which no text such as `1.234` quietly becomes a thousandth of what it means, and notes.

    Beside texts with a decimal comma, it is rejected; where nothing decides, it is the number that the standard says.
    What a field itself says about its characters stays.
    """
    fields, notes = list(contract.fields), []
    for place, field in enumerate(fields):
        column = found.get(field.name)
        facts = source.facts.get(column.index, ColumnFacts()) if column else ColumnFacts()
        if column is None or not facts.value_counts.get("text") or not _is_plain_number(field):
            continue
        points = find_unclear_points(distinct_texts(source, column.index))
        if points is not None:
            notes.append(_points_note(source, column, points))
        if points is not None and points.comma is not None:
            fields[place] = replace(field, options={**field.options, "excel": {"points": "unclear"}})
    return replace(contract, fields=tuple(fields)), tuple(notes)


def _is_plain_number(field: Field) -> bool:
    return field.type == "number" and not {"decimalChar", "groupChar", "bareNumber", "excel"} & set(field.options)


def _points_note(source: SheetSource, column: SheetColumn, points: Points) -> str:
    _, shown = find_others(source, column, points.texts)
    if points.comma is not None:
        return (
            f'{column.name}: {shown} may be thousands, for other texts have a decimal comma ("{points.comma}"): '
            "rejected; --parse-texts loads such texts as numbers"
        )
    return (
        f"{column.name}: {shown}: the point is taken for a decimal one; --parse-texts --decimal comma takes it for "
        "one between thousands"
    )
