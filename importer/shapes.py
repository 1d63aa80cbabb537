"""Owns the shapes of what a contract is made of: lists, objects, names, tokens; anything else is an error."""

from __future__ import annotations

import reprlib
from typing import Any

from .errors import ContractError
from .pgtypes import NAME_BYTES

#: YAML can make values that are short to write and endless to print.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def a_list(given: Any, place: str) -> list[Any]:
    """A list, as it is given.

    Raises:
        ContractError: it is none.
    """
    if not isinstance(given, list):
        raise ContractError(f"{place} is a list, not {shown(given)}", place=place)
    return given


def an_object(given: Any, place: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """An object, as it is given, with no other keys than those.

    Raises:
        ContractError: it is none.
    """
    if not isinstance(given, dict):
        raise ContractError(f"{place} is an object, not {shown(given)}", place=place)
    for key in given:
        if keys is not None and key not in keys:
            raise ContractError(f"unknown key {key!r}", place=place, choice=", ".join(keys))
    return given


def shown(given: Any) -> str:
    """A value of the wrong kind, short enough for a message."""
    return _SHORT.repr(given)


def refuse_repeated(names: list[str], what: str) -> None:
    """See to it that no name stands there twice.

    Raises:
        ContractError: one does.
    """
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"two {what}s are named {name!r}", place=f"{what} {name!r}")


def is_name(name: Any) -> bool:
    """Whether PostgreSQL can have a table or column of that name."""
    return (
        isinstance(name, str) and bool(name) and "\0" not in name and len(name.encode("utf-8", "replace")) <= NAME_BYTES
    )


def missing_tokens(given: Any, place: str) -> tuple[str, ...]:
    """Tokens from a list of texts, or of objects with a `value` (v2)."""
    values = [v.get("value") if isinstance(v, dict) else v for v in given] if isinstance(given, list) else [None]
    texts = tuple(v for v in values if isinstance(v, str))
    if len(texts) < len(values):
        raise ContractError("missingValues is a list of texts", place=place)
    return texts


def field_names(given: Any, known: list[str], place: str) -> tuple[str, ...]:
    """One or more names of known fields.

    Raises:
        ContractError: none, an unknown one, or one twice.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise ContractError(f"a key is a non-empty list of field names, not {shown(given)}", place=place)
    for name in names:
        if name not in known:
            raise ContractError(
                f"{place} names an unknown field {shown(name)}", place=place, choice=f"fields: {', '.join(known)}"
            )
    if len(set(names)) < len(names):
        raise ContractError(f"{place} names a field twice: {', '.join(names)}", place=place)
    return tuple(names)
