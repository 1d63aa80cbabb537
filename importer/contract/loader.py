"""Loads contracts from descriptors in JSON, YAML or TOML; trusts none of them, and checks them key by key.

A data contract of ODCS is translated first (see `odcs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importer.errors import ContractError
from importer.remote.local_copy import fetch_text
from importer.urls import Url

from .decode import decode, locate
from .descriptor_checks import (
    is_name,
    parse_field_names,
    parse_missing_values,
    require_list,
    require_object,
    require_unique,
    short_repr,
)
from .excel_options import parse_excel
from .field_loader import parse_field
from .known_keys import DESCRIPTOR_KEYS, FOREIGN_KEY_KEYS, REFERENCE_KEYS, check_keys, within
from .model import Contract, ForeignKey
from .odcs import from_odcs, is_odcs
from .positions import find_position
from .postgresql_options import parse_postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.cells.field import Field

FIELDS_MATCH = ("exact", "equal", "subset", "superset", "partial")


def load_contract(source: Path | Url | dict[str, Any]) -> Contract:
    """Load a contract.

    Args:
        source: a `.json`, `.yaml`, `.yml` or `.toml` file, its address, or the descriptor itself.

    Raises:
        ContractError: the file is unreadable or not a contract; the message names the field and the key.
        ImporterError: it cannot be fetched from its address, see `remote.fetch.fetch_into`.
    """
    return _load_descriptor(source) if isinstance(source, dict) else _load_file(source)


def _load_descriptor(descriptor: dict[str, Any]) -> Contract:
    try:
        return parse_contract(from_odcs(descriptor) if is_odcs(descriptor) else descriptor)
    except ContractError as exc:
        exc.place = exc.place or "the contract"
        raise


def _load_file(path: Path | Url) -> Contract:
    try:
        content = fetch_text(path) if isinstance(path, Url) else path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ContractError(f"no contract file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ContractError(f"cannot read the contract {str(path)!r} ({exc})") from None
    text, suffix = text.replace("\r\n", "\n").replace("\r", "\n"), path.suffix.lower()
    descriptor = decode(text, suffix, str(path))
    translated = is_odcs(descriptor)
    try:
        return parse_contract(from_odcs(descriptor) if translated else descriptor)
    except ContractError as exc:
        at = exc.path
        if translated:
            at = ("schema", 0, "properties", *at[1:2]) if at[:1] == ("fields",) else ("schema", 0)
        place = locate(str(path), find_position(text, suffix, at))
        exc.place = place + (f", {exc.place}" if exc.place else "")
        raise


def parse_contract(descriptor: Any) -> Contract:
    """Return the contract that a decoded descriptor describes.

    Raises:
        ContractError: see `load_contract`.
    """
    if isinstance(descriptor, dict):
        check_keys(descriptor, DESCRIPTOR_KEYS)
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("fields"), list) or not descriptor["fields"]:
        raise ContractError(
            "a contract is an object with a non-empty list 'fields'", choice="write one with: importer contract FILE"
        )
    fields = tuple(_parse_fields(descriptor["fields"]))
    names = [f.name for f in fields]
    require_unique(names, "field")
    with within("missingValues"):
        missing = parse_missing_values(descriptor.get("missingValues", [""]), "missingValues")
    keys = _parse_keys(descriptor, names)
    with within("postgresql"):
        postgresql = parse_postgresql(descriptor.get("postgresql", {}), names)
    return Contract(
        fields=fields,
        missing_values=missing,
        fields_match=_parse_match(descriptor.get("fieldsMatch", "equal")),
        excel=parse_excel(descriptor.get("excel", {})),
        **keys,
        **postgresql,
    )


def _parse_fields(given: list[Any]) -> Iterator[Field]:
    for number, field in enumerate(given):
        with within("fields", number):
            yield parse_field(field, number + 1)


def _parse_match(given: Any) -> str:
    match = given[0] if isinstance(given, list) and given else given
    if match not in FIELDS_MATCH:
        with within("fieldsMatch"):
            raise ContractError(f"fieldsMatch cannot be {match!r}", choice=" | ".join(FIELDS_MATCH))
    return str(match)


def _parse_keys(descriptor: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the keys of a contract, by the names that `Contract` has for them."""
    primary: tuple[str, ...] = ()
    if descriptor.get("primaryKey"):
        with within("primaryKey"):
            primary = parse_field_names(descriptor["primaryKey"], names, "primaryKey")
    with within("uniqueKeys"):
        given = require_list(descriptor.get("uniqueKeys", []), "uniqueKeys")
        unique = tuple(parse_field_names(key, names, "uniqueKeys") for key in given)
    with within("foreignKeys"):
        given = require_list(descriptor.get("foreignKeys", []), "foreignKeys")
        foreign = tuple(_parse_foreign_key(key, names) for key in given)
    return {"primary_key": primary, "unique_keys": unique, "foreign_keys": foreign}


def _parse_foreign_key(given: Any, names: list[str]) -> ForeignKey:
    place = "foreignKeys"
    key = require_object(given, place, FOREIGN_KEY_KEYS)
    reference = require_object(key.get("reference", {}), f"{place}, reference", REFERENCE_KEYS)
    fields = parse_field_names(given.get("fields"), names, place)
    there = reference.get("fields")
    references = [there] if isinstance(there, str) else require_list(there, f"{place}, reference, fields")
    if len(references) != len(fields) or not all(is_name(r) for r in references):
        raise ContractError("a foreign key must reference as many fields as it has", place=place)
    # Without a resource, or with an empty one, the key references its own table.
    table = reference.get("resource", "")
    if not isinstance(table, str) or "\0" in table:
        raise ContractError(f"resource must be the name of a table, not {short_repr(table)}", place=place)
    return ForeignKey(fields, table, tuple(references))
