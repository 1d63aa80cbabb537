"""Checks the parts of a contract's descriptor (lists, objects, names, tokens), and refuses anything else."""

from __future__ import annotations

import reprlib
from typing import Any

from importer.errors import ContractError
from importer.postgres.types import NAME_BYTES

from .known_keys import check_keys

#: Limits what is printed: a short YAML text can decode to a value with an endless representation.
_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxstring = _SHORT_REPR.maxother = 60


def require_list(given: Any, place: str) -> list[Any]:
    """Return a value that must be a list, unchanged.

    Raises:
        ContractError: the value is not a list.
    """
    if not isinstance(given, list):
        raise ContractError(f"{place} must be a list, not {short_repr(given)}", place=place)
    return given


def require_object(given: Any, place: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return a value that must be an object, unchanged; if `keys` is given, it may have no others (`x-…` aside).

    Raises:
        ContractError: the value is not an object, or has an unknown key.
    """
    if not isinstance(given, dict):
        raise ContractError(f"{place} must be an object, not {short_repr(given)}", place=place)
    if keys is not None:
        check_keys(given, keys, place)
    return given


def short_repr(given: Any) -> str:
    """Return the representation of a wrong value, short enough for a message."""
    return _SHORT_REPR.repr(given)


def require_unique(names: list[str], what: str) -> None:
    """Refuse a list in which a name occurs twice.

    Raises:
        ContractError: a name occurs twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"two {what}s are named {name!r}", place=f"{what} {name!r}")


def is_name(name: Any) -> bool:
    """Return whether a value can be the name of a table or column in PostgreSQL."""
    return (
        isinstance(name, str) and bool(name) and "\0" not in name and len(name.encode("utf-8", "replace")) <= NAME_BYTES
    )


def parse_missing_values(given: Any, place: str) -> tuple[str, ...]:
    """Return the tokens in a list of texts, or of objects with a `value` (v2)."""
    values = [v.get("value") if isinstance(v, dict) else v for v in given] if isinstance(given, list) else [None]
    texts = tuple(v for v in values if isinstance(v, str))
    if len(texts) < len(values):
        raise ContractError("missingValues must be a list of texts", place=place)
    return texts


def parse_field_names(given: Any, known: list[str], place: str) -> tuple[str, ...]:
    """Return one or more names of known fields.

    Raises:
        ContractError: there is no name, an unknown one, or one that occurs twice.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise ContractError(f"a key must be a non-empty list of field names, not {short_repr(given)}", place=place)
    for name in names:
        if name not in known:
            raise ContractError(
                f"{place} names an unknown field {short_repr(name)}", place=place, choice=f"fields: {', '.join(known)}"
            )
    if len(set(names)) < len(names):
        raise ContractError(f"{place} names a field twice: {', '.join(names)}", place=place)
    return tuple(names)
