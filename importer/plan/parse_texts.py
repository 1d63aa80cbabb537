"""Decides what texts become where no contract says it: values (`--parse-texts`), or texts, with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.proposals.columns import propose, require_answers, with_proposals

from .model import find_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.contract.model import Contract
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
    proposals = propose(settings, source, texts, hint=True)
    hints = [proposals.note(c) for c in texts if c.index in proposals.found]
    return contract, tuple(f"{hint}, it seems: loaded as text; --parse-texts loads values" for hint in hints)
