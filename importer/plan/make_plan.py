"""Makes the plan of a load from the sheet, the contract and the target."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from importer.cells.frame import ROW
from importer.errors import ContractError, TargetRefused, UsageError
from importer.postgres.encoding import check_names
from importer.postgres.sql import quoted_list
from importer.postgres.type_catalog import find_type
from importer.postgres.types import FIELD_TYPES
from importer.reading.windows import hidden_columns
from importer.verification.checksum_sql import find_text_hash

from .drift import retyped_notes, with_new_columns
from .given_types import with_given
from .infer import agreed_contract, infer_contract
from .lineage import check_lineage_names, check_lineage_texts, with_lineage
from .model import LoadPlan, check_keys, choose_columns, field_columns, find_column, match_fields
from .parse_texts import read_texts, without_unclear_points
from .target import Target, contract_from_table, plan_columns, resolve_types, with_required_keys, with_table_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importer.contract.model import Contract
    from importer.postgres.session import Session
    from importer.reading.header import SheetColumn
    from importer.reading.sheet_source import SheetSource
    from importer.settings import Settings

    from .lineage import Lineage


#: Columns that frames of rows have besides the fields (see `cells.frame` and `keys`).
_RESERVED = frozenset({ROW, "_ok", "_window"})


class PlannedLoad(NamedTuple):
    """What is loaded, and how.

    Attributes:
        contract: the contract of the load: given, of the existing table, or inferred.
        plan: which column goes where, in which type.
        lineage: values of the lineage columns, or None.
    """

    contract: Contract
    plan: LoadPlan
    lineage: Lineage | None = None


def plan_load(
    settings: Settings, source: SheetSource, target: Target, contract: Contract | None, session: Session
) -> tuple[Contract, LoadPlan]:
    """Return the contract to use (the given one, else the existing table's, else an inferred one), and its plan.

    Raises:
        ContractError: the sheet does not fit it; the message names the other tables of the sheet.
    """
    try:
        return _plan_load(settings, source, target, contract, session)
    except ContractError as exc:
        others = (*source.cut.other_tables, *source.cut.doubtful_tables)
        if others and exc.fact.startswith(("missing-label", "extra-label")):
            listed = ", ".join(f"--range {area}" for area in others)
            exc.choice = f"{exc.choice}; or read another table of the sheet: {listed}"
        raise


def _plan_load(
    settings: Settings, source: SheetSource, target: Target, contract: Contract | None, session: Session
) -> tuple[Contract, LoadPlan]:
    _check_rejects(settings, source)
    target = with_lineage(target) if settings.lineage else target
    columns, ignored = _choose_columns(settings, source)
    contract, found, left, texts = _match_columns(settings, source, target, contract, columns)
    contract = with_given(settings, contract, found)
    contract, points = without_unclear_points(contract, source, found)
    if target.table:
        _check_types(session, settings)
        contract = with_table_rules(contract, target.table)
    contract, key = _resolve_key(settings, contract, target, found)
    contract = with_required_keys(contract, key)
    check_keys(contract, found)
    _check_reserved(found)
    if settings.lineage:
        check_lineage_names({*found, *(c.name for c in contract.extra_columns)})
        check_lineage_texts(source, session)
    added = _added(settings, contract, target)
    if target.table is None or added:
        check_names(session, [*found, *(c.name for c in contract.extra_columns)])
    contract, types = (contract, {}) if target.table and not added else resolve_types(session, contract)
    return contract, LoadPlan(
        plan_columns(contract, target, found, types, added), tuple(ignored + left), tuple(contract.all_keys()),
        settings.timezone, settings.error_cells, key, settings.on_duplicate, settings.lineage,
        find_text_hash(session), session.encoding, settings.max_text, added, (*texts, *points),
    )  # fmt: skip


def _check_rejects(settings: Settings, source: SheetSource) -> None:
    """Refuse a rejects workbook that would replace the table's rows, or whose sheet nobody named."""
    if source.workbook.origin and settings.mode == "replace":
        raise UsageError(
            f"the workbook holds rejects of {source.workbook.origin.workbook}; the table would keep no other rows",
            choice="--mode append or upsert",
        )
    if len(source.workbook.sheet_origins) > 1 and settings.sheet is None:
        raise UsageError(
            f"the workbook holds the rejects of {len(source.workbook.sheet_origins)} imports, a sheet each",
            place=source.workbook.path.name,
            choice="importer run with --sheets all; or name one with --sheet",
        )


def _choose_columns(settings: Settings, source: SheetSource) -> tuple[list[SheetColumn], list[SheetColumn]]:
    """Return the columns of the sheet that may be loaded, and those that are ignored."""
    columns, ignored = choose_columns(source.header, settings.columns)
    if settings.hidden == "skip":
        hidden = set(hidden_columns(source.cut, source.facts))
        ignored += [c for c in columns if c.index in hidden]
        columns = [c for c in columns if c.index not in hidden]
    return columns, ignored


class _Matched(NamedTuple):
    """A contract whose fields have found their columns.

    Attributes:
        contract: the contract.
        found: the sheet column of each field by name; None if it has none.
        left: columns that no field takes.
        texts: see `LoadPlan`.
    """

    contract: Contract
    found: dict[str, SheetColumn | None]
    left: list[SheetColumn]
    texts: tuple[str, ...]


def _match_columns(
    settings: Settings, source: SheetSource, target: Target, given: Contract | None, columns: list[SheetColumn]
) -> _Matched:
    """Find the column of each field of the given contract, or of the table's, agreed or inferred one."""
    contract = _own_contract(settings, source, target, columns) if given is None else given
    absent: frozenset[str] = frozenset()
    if settings.drift == "add-columns":
        contract, absent = with_new_columns(contract, columns, source.facts, target.table, settings)
    lenient = settings.columns is not None or settings.drift == "ignore-extra"
    with _naming_retyped(contract, columns, source, "the table" if given is None else "the contract"):
        found, left = match_fields(contract, columns, lenient=lenient, may_lack=absent)
    texts: tuple[str, ...] = ()
    if given is None:
        decided = bool(target.table or settings.agreed)
        contract, texts = read_texts(settings, source, contract, found, keep_types=decided)
    return _Matched(contract, found, left, texts)


@contextlib.contextmanager
def _naming_retyped(contract: Contract, columns: list[SheetColumn], source: SheetSource, what: str) -> Iterator[None]:
    """Add to a refusal of the sheet's columns those whose cells are of other kinds than before: one list of all."""
    try:
        yield
    except ContractError as exc:
        found = field_columns(contract.fields, columns)
        others = retyped_notes(((f, found[f.name]) for f in contract.fields), source.facts, what)
        exc.fact = "; ".join((exc.fact, *others))
        raise


def _own_contract(settings: Settings, source: SheetSource, target: Target, columns: list[SheetColumn]) -> Contract:
    """Return the contract of the existing table, else the one that several sheets agreed on, else an inferred one."""
    if target.table:
        return contract_from_table(target.table, columns)
    return (
        agreed_contract(settings.agreed) if settings.agreed else infer_contract(columns, source.facts, settings.mixed)
    )


def _added(settings: Settings, contract: Contract, target: Target) -> tuple[str, ...]:
    """Return the names of the fields whose columns the existing table gets."""
    if settings.drift != "add-columns" or target.table is None:
        return ()
    return tuple(f.name for f in contract.fields if target.table.column(f.name) is None)


def _check_types(session: Session, settings: Settings) -> None:
    """Raise TargetRefused for a type of `--types` that the server does not have, where the table decides the types."""
    for _, text in settings.types:
        if text not in FIELD_TYPES:
            find_type(session, text)


def _check_reserved(names: Iterable[str]) -> None:
    """Raise ContractError if a field has one of the names that frames of rows reserve."""
    taken = sorted(_RESERVED & set(names))
    if taken:
        raise ContractError(
            f"a loaded column cannot be named {', '.join(taken)}", choice="leave it out, or rename it in a contract"
        )


def _resolve_key(
    settings: Settings, contract: Contract, target: Target, found: dict[str, SheetColumn | None]
) -> tuple[Contract, tuple[str, ...]]:
    """Return the contract with the key that identifies rows, and that key: the upsert's, or the primary key.

    Raises:
        UsageError: an upsert has no key.
        ContractError: a key column is not loaded.
        TargetRefused: the table has no unique index on the key of an upsert.
    """
    if settings.mode != "upsert":
        return contract, contract.primary_key
    key = tuple(_key_field(word, found) for word in settings.key) or contract.primary_key
    if not key:
        raise UsageError(
            "an upsert needs a key that identifies each row",
            choice="--key A,B; or primaryKey in the contract; or a primary key of the table",
        )
    if target.table and not any(set(key) == set(arbiter) for arbiter in target.table.arbiters):
        listed = quoted_list(key)
        raise TargetRefused(
            f"{target.quoted} has no unique index on ({listed}), so new rows cannot be distinguished from old ones",
            choice=f"CREATE UNIQUE INDEX ON {target.quoted} ({listed});  or another --key",
        )
    if not contract.primary_key:
        contract = replace(contract, primary_key=key)
    elif set(key) not in (set(known) for _, known in contract.all_keys()):
        contract = replace(contract, unique_keys=(*contract.unique_keys, key))
    return contract, key


def _key_field(word: str, found: dict[str, SheetColumn | None]) -> str:
    """Return the field that a word of `--key` names."""
    if word in found:
        return word
    column = find_column([c for c in found.values() if c], word)
    for name, candidate in found.items():
        if candidate and candidate == column:
            return name
    raise ContractError(f"key column {word!r} is not loaded", choice=f"one of: {', '.join(found)}")
