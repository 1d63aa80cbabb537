"""Knows the keys of a descriptor, and refuses one that nobody knows: a typo would otherwise be a rule that never holds.

The keys are those of Table Schema (Data Package v2, with the metadata that the standard gives to any of its
descriptors), and `postgresql` and `excel`, which are ours. Keys that begin with `x-` belong to whoever wrote them.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING, Any

from importer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Metadata that says nothing about loading; accepted and ignored.
_METADATA = (
    "name", "title", "description", "$schema", "profile", "id", "homepage", "version", "created", "keywords",
    "contributors", "sources", "licenses", "examples",
)  # fmt: skip
DESCRIPTOR_KEYS = (
    "fields", "fieldsMatch", "missingValues", "primaryKey", "uniqueKeys", "foreignKeys", "postgresql", "excel",
    *_METADATA,
)  # fmt: skip
POSTGRESQL_KEYS = ("schema", "table", "types", "extraColumns", "indexes")
EXTRA_COLUMN_KEYS = ("name", "type", "default", "identity", "primaryKey", "notNull")
FOREIGN_KEY_KEYS = ("fields", "reference", "name", "title", "description")
REFERENCE_KEYS = ("resource", "fields", "package")
#: What a field says of texts that the standard has no key for.
FIELD_EXCEL_KEYS = ("percent",)
CONSTRAINTS = (
    "required", "unique", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum", "jsonSchema",
)  # fmt: skip
#: Options of a type; a field of another type may have them, too, as the standard says.
_OPTIONS = (
    "decimalChar", "groupChar", "bareNumber", "trueValues", "falseValues", "delimiter", "itemType", "categories",
    "categoriesOrdered",
)  # fmt: skip
FIELD_KEYS = (
    "name", "type", "title", "format", "constraints", "missingValues", *_OPTIONS,
    "description", "example", "examples", "rdfType", "excel",
)  # fmt: skip
#: Keys that are often written one level too high: by the keys there, the object that they stand in.
_CHILDREN: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = {
    DESCRIPTOR_KEYS: {"postgresql": POSTGRESQL_KEYS},
    FIELD_KEYS: {"constraints": CONSTRAINTS},
}
#: Share of equal characters from which a key is taken for a misspelling of another.
_SIMILAR = 0.6


@contextlib.contextmanager
def within(*path: str | int) -> Iterator[None]:
    """Say of a ContractError in the block where it is: keys and list positions (from 0) that lead to the value."""
    try:
        yield
    except ContractError as exc:
        exc.path = (*path, *exc.path)
        raise


def check_keys(given: dict[Any, Any], known: Sequence[str], place: str | None = None, what: str = "key") -> None:
    """Refuse an unknown key of an object.

    Args:
        given: the object.
        known: the keys that it may have; `x-…` may always be there.
        place: where the object is, for the message.
        what: what its keys are.

    Raises:
        ContractError: a key is not among them; the message has the nearest one.
    """
    for key in given:
        if key in known or (isinstance(key, str) and key.startswith("x-")):
            continue
        error = ContractError(f"unknown {what} {key!r}", place=place, choice=_advice(str(key), known))
        error.path = (key,)
        raise error


def _advice(key: str, known: Sequence[str]) -> str:
    for parent, children in _CHILDREN.get(tuple(known), {}).items():
        if key in children:
            return f"{key!r} stands in the object {parent!r}"
    near = nearest(key, known)
    listed = ", ".join(k for k in known if k not in _METADATA or known is not DESCRIPTOR_KEYS)
    return f"did you mean {near!r}?" if near else f"{listed}; a key of your own begins with 'x-'"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the name that is spelled most like a word, whatever its case, `_`, `-` and spaces; None if none is."""
    by_letters = {_letters(name): name for name in reversed(known)}
    found = difflib.get_close_matches(_letters(word), list(by_letters), 1, _SIMILAR)
    return by_letters[found[0]] if found else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
