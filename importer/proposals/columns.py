"""Proposes what the texts of columns are, from all of their cells, and puts the proposals into a contract."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from importer.cells import spool
from importer.cells.facts import ColumnFacts
from importer.cells.frame import part
from importer.cells.text_forms import TYPES
from importer.contract.field_loader import parse_field
from importer.contract.model import dump_field
from importer.errors import SheetError

from .dates import may_be_date, propose_date
from .model import MAIN_SHARE, Proposal, Question
from .nearly import find_others, propose_nearly
from .numbers import may_be_number, propose_number
from .words import is_boolean_word, is_missing_word, missing_words, propose_boolean

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
    "duration": ("duration",),
}  # fmt: skip
#: What a column is, as far as its texts say, where all of these stand for missing values: beside its other cells.
_MISSING_BESIDE = {kind: types[-1] for kind, types in _BESIDE.items() if kind} | {"date": "date"}
#: Types of a table's columns about whose texts a proposal of a type says something; else only its own.
_SAYS_OF = {
    "number": ("number", "integer"),
    "integer": ("number", "integer"),
    "date": ("date", "datetime"),
    "datetime": ("datetime", "date"),
}
#: What texts are that all stand for missing values.
_ONLY_MISSING = "missing values"
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
        nearly: what nearly all texts of a column are, and the others, for people.
    """

    found: dict[int, Proposal]
    questions: dict[int, Question]
    nearly: dict[int, tuple[Proposal, str]] = field(default_factory=dict)

    def note(self, column: SheetColumn) -> str | None:
        """Return what a column was found to be, for people; None if nothing was."""
        proposal, question = self.found.get(column.index), self.questions.get(column.index)
        if question is not None:
            return f"{column.name}: {question.what}; {question.choice}"
        if proposal is None and column.index in self.nearly:
            most, others = self.nearly[column.index]
            return f"{column.name}: its texts are {most.what}, but for {others}"
        if proposal is None:
            return None
        words = ", ".join(map(repr, proposal.missing[:_SHOWN]))
        if proposal.what == _ONLY_MISSING:
            return f"{column.name}: its texts are {_ONLY_MISSING} ({words})"
        missing = f", {words} missing values" if proposal.missing else ""
        return f"{column.name}: its texts are {proposal.what}{missing}"

    def notes(self, columns: Iterable[SheetColumn]) -> list[str]:
        """Return for each column whose texts are values, or may be, what they are, and what loads them as such."""
        notes = {column.index: note for column in columns if (note := self.note(column)) is not None}
        advice = "; --parse-texts loads values"
        others = ": loaded as text; --parse-texts --mixed reject loads values, and rejects the others"
        return [
            note + (advice if index in self.found else others if index in self.nearly else "")
            for index, note in notes.items()
        ]

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
        texts = distinct_texts(source, column.index, hint=hint)
        texts = texts.filter(~texts.is_in(list(settings.missing)))
        answer = _propose(texts, settings) or _only_missing(texts, others)
        if answer is None and not hint and not others:
            answer = _nearly(settings, source, column, texts, proposals)
        if isinstance(answer, Question):
            proposals.questions[column.index] = answer
        elif answer is not None and _fits_beside(answer, others):
            proposals.found[column.index] = _beside(answer, facts)
    return proposals


def _nearly(
    settings: Settings, source: SheetSource, column: SheetColumn, texts: pl.Series, proposals: Proposals
) -> Proposal | None:
    """Add what nearly all texts of a column are, or return it, if `mixed` rejects the others."""
    most = int(source.facts[column.index].value_counts["text"] * (1 - MAIN_SHARE))
    found = propose_nearly(texts, most, lambda some: _propose(some, settings)) if most else None
    if found is None:
        return None
    count, shown = find_others(source, column, found[1])
    if count > most:
        return None
    if settings.mixed == "reject":
        return found[0]
    proposals.nearly[column.index] = found[0], shown
    return None


def _only_missing(texts: pl.Series, others: list[str]) -> Proposal | None:
    """Return that texts beside values of one kind are nothing but words for missing ones; None if they are not."""
    kind = _MISSING_BESIDE.get(others[0]) if others else None
    missing = missing_words(texts)
    if kind is None or texts.is_empty() or len(missing) < len(texts):
        return None
    return Proposal(kind, _ONLY_MISSING, missing=tuple(missing))


def _fits_beside(answer: Proposal, others: list[str]) -> bool:
    """Return whether texts may be proposed to be that beside cells of other kinds, of which there is one at most."""
    return answer.type in _BESIDE.get(others[0] if others else None, ()) and (answer.pg_type is None or not others)


def _comes_into_question(facts: ColumnFacts, settings: Settings) -> bool:
    """Return whether the first texts of a column may be values: most columns of texts are only that."""
    examples = [value for _, value in facts.examples.get("text", ()) if isinstance(value, str)]
    texts = [text for text in examples if not is_missing_word(text)]
    if len(texts) < len(examples) or is_boolean_word(texts):
        return True
    # To find out as much from a few texts takes polars a hundred times as long.
    if not (all(map(may_be_number, texts)) or all(map(may_be_date, texts))):
        return False
    return _propose(pl.Series(texts, dtype=pl.String), settings) is not None


def distinct_texts(source: SheetSource, column: int, *, hint: bool = False) -> pl.Series:
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
    fields, types = [], {**contract.types}
    for own in contract.fields:
        column = found.get(own.name)
        proposal = proposals.found.get(column.index) if column else None
        if proposal is not None and keep_types and own.type not in _SAYS_OF.get(proposal.type, (proposal.type,)):
            proposal = None
        fields.append(own if proposal is None else _with_proposal(contract, own, proposal, keep_types=keep_types))
        if proposal is not None and proposal.pg_type is not None and not keep_types:
            types[own.name] = proposal.pg_type
    return replace(contract, fields=tuple(fields), types=types)


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
