"""Owns the planning of a load: from the sheet, the contract and the target to what every worker is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .contract import Contract, infer_contract
from .plan import LoadPlan, check_keys, choose_columns, match_fields
from .source import Source, hidden_columns
from .target import Target, contract_from_table, new_types, plan_columns, with_required_keys, with_table_rules

if TYPE_CHECKING:
    from .postgres import Session
    from .settings import Settings


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
