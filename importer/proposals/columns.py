"""Proposes what the texts of columns are, from all of their cells, and puts the proposals into a contract."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells import spool
from importer.cells.facts import ColumnFacts
from importer.cells.frame import part
from importer.cells.text_forms import TYPES
from importer.contract.field_loader import parse_field
from importer.contract.model import dump_field
from importer.errors import SheetError

from .dates import propose_date
from .model import Proposal, Question
from .numbers import propose_number
from .words import is_boolean_word, missing_words, propose_boolean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from importer.cells.field import Field
    from importer.contract.model import Contract
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings

#: Field types that texts may be proposed to be beside cells of a kind; None: beside no other cells.
_BESIDE: dict[str | None, tuple[str, ...]] = {
    None: ("number", "integer", "date", "datetime", "time", "boolean"), "number": ("number", "integer"),
    "date": ("date", "datetime"), "datetime": ("date", "datetime"), "time": ("time",), "boolean": ("boolean",),
}  # fmt: skip
#: Types of a table's columns about whose texts a proposal of a type says something; else only its own.
_SAYS_OF = {
    "number": ("number", "integer"),
    "integer": ("number", "integer"),
    "date": ("date", "datetime"),
    "datetime": ("datetime", "date"),
}
#: Most texts for a missing value that a note lists.
_SHOWN = 5
#: Rows whose texts are looked at for a hint.
_HINT_ROWS = 200


@dataclass(frozen=True)
class Proposals:
    """What was found out about the texts of columns, by the index of the column in the sheet.

    Attributes:
        found: the proposals.
        questions: the questions that are open.
    """

    found: dict[int, Proposal]
    questions: dict[int, Question]

    def note(self, column: SheetColumn) -> str | None:
        """Return what a column was found to be, for people; None if nothing was."""
        proposal, question = self.found.get(column.index), self.questions.get(column.index)
        if question is not None:
            return f"{column.name}: {question.what}; {question.choice}"
        if proposal is None:
            return None
        missing = f", {', '.join(map(repr, proposal.missing[:_SHOWN]))} missing values" if proposal.missing else ""
        return f"{column.name}: its texts are {proposal.what}{missing}"

    def notes(self, columns: Iterable[SheetColumn]) -> list[str]:
        """Return for each column whose texts are values, or may be, what they are, and what loads them as such."""
        notes = {column.index: note for column in columns if (note := self.note(column)) is not None}
        advice = "; --parse-texts loads values"
        return [note + advice if index in self.found else note for index, note in notes.items()]

    def to_dict(self, column: SheetColumn) -> dict[str, Any] | None:
        """Return what was found out about a column, as in the JSON of an inspection; None if nothing was.

        Returns:
            `what` in words; of a proposal the keys of a field (`type`, `format`, `decimalChar`…) and `missingValues`;
            of a question the `choice` between options.
        """
        proposal, question = self.found.get(column.index), self.questions.get(column.index)
        if question is not None:
            return {"what": question.what, "choice": question.choice}
        if proposal is None:
            return None
        missing = {"missingValues": list(proposal.missing)} if proposal.missing else {}
        return {"what": proposal.what, "type": proposal.type, "format": proposal.format, **proposal.options, **missing}


def propose(
    settings: Settings, source: SheetSource, columns: Iterable[SheetColumn], *, hint: bool = False
) -> Proposals:
    """Return what the texts of columns are.

    Args:
        settings: settings of the run: what is known of the texts.
        source: the sheet, whose windows are kept.
        columns: columns to look at.
        hint: look at a few rows only.
    """
    proposals = Proposals({}, {})
    for column in columns:
        facts = source.facts.get(column.index, ColumnFacts())
        others = [kind for kind in facts.value_counts if kind != "text"]
        if facts.form in TYPES and not others:
            continue  # the file has texts only, and these are inferred to be values
        if not facts.value_counts.get("text") or len(others) > 1 or not _comes_into_question(facts, settings):
            continue
        texts = _texts(source, column.index, hint=hint)
        answer = _propose(texts.filter(~texts.is_in(list(settings.missing))), settings)
        if isinstance(answer, Question):
            proposals.questions[column.index] = answer
        elif answer is not None and answer.type in _BESIDE[others[0] if others else None]:
            proposals.found[column.index] = _beside(answer, facts)
    return proposals


def _comes_into_question(facts: ColumnFacts, settings: Settings) -> bool:
    """Return whether the first texts of a column may be values: most columns of texts are only that."""
    examples = [value for _, value in facts.examples.get("text", ()) if isinstance(value, str)]
    texts = pl.Series(examples, dtype=pl.String)
    texts = texts.filter(~texts.is_in(missing_words(texts)))
    return len(texts) < len(examples) or is_boolean_word(texts) or _propose(texts, settings) is not None


def _texts(source: SheetSource, column: int, *, hint: bool) -> pl.Series:
    """Return the distinct texts of a column, in the order of the sheet."""
    found, name = [], part(column, "text")
    for window in source.windows:
        frame = source.data.of(spool.read(window.path))
        frame = frame.head(_HINT_ROWS) if hint else frame
        if name in frame.columns:
            found.append(frame[name].drop_nulls().unique(maintain_order=True))
        if hint and len(frame):
            break
    return pl.concat(found).unique(maintain_order=True) if found else pl.Series(dtype=pl.String)


def _propose(texts: pl.Series, settings: Settings) -> Proposal | Question | None:
    """Return what distinct texts are; words for a missing value among them are no hindrance."""
    if (found := propose_boolean(texts)) is not None:
        return found
    missing = missing_words(texts)
    texts = texts.filter(~texts.is_in(missing)) if missing else texts
    if texts.is_empty():
        return None
    answer = (
        propose_boolean(texts)
        or propose_date(texts, settings.date_order)
        or propose_number(texts, {"point": ".", "comma": ",", None: None}[settings.decimal])
    )
    return replace(answer, missing=tuple(missing)) if isinstance(answer, Proposal) else answer


def _beside(proposal: Proposal, facts: ColumnFacts) -> Proposal:
    """Return the proposal in the type that holds the other cells of its column, too."""
    if proposal.type == "integer" and not facts.integral:
        return replace(proposal, type="number")
    if proposal.type == "date" and "datetime" in facts.value_counts and facts.kinds.get("datetime"):
        return replace(proposal, type="datetime")
    return proposal


def with_proposals(
    contract: Contract, found: Mapping[str, SheetColumn | None], proposals: Proposals, *, keep_types: bool
) -> Contract:
    """Return the contract with the fields that proposals say.

    Args:
        contract: the contract.
        found: sheet column by field name.
        proposals: what the texts of the columns are.
        keep_types: whether the types of the fields are those of a table; a proposal then only says how to read texts.
    """
    fields = []
    for field in contract.fields:
        column = found.get(field.name)
        proposal = proposals.found.get(column.index) if column else None
        if proposal is not None and keep_types and field.type not in _SAYS_OF.get(proposal.type, (proposal.type,)):
            proposal = None
        fields.append(field if proposal is None else _with_proposal(contract, field, proposal, keep_types=keep_types))
    return replace(contract, fields=tuple(fields))


def _with_proposal(contract: Contract, field: Field, proposal: Proposal, *, keep_types: bool) -> Field:
    missing = (*contract.missing_values_of(field), *proposal.missing) if proposal.missing else field.missing_values
    kind = field.type if keep_types else proposal.type
    changed = replace(
        field, type=kind, format=proposal.format, missing_values=missing, options={**field.options, **proposal.options}
    )
    return parse_field(dump_field(changed), 1)


def require_answers(columns: Iterable[SheetColumn], proposals: Proposals, source: SheetSource) -> None:
    """Raise SheetError for the first column whose texts have two meanings.

    Raises:
        SheetError: nothing decides between them.
    """
    for column in columns:
        question = proposals.questions.get(column.index)
        if question is not None:
            raise SheetError(
                f"the texts of column {column.name!r} have two meanings: {question.what}",
                place=f"{source.sheet.name}, column {column.letter}",
                choice=f"{question.choice}; or --types {column.name}=string loads them as texts",
            )
