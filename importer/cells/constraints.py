"""Builds masks over the values of a field from Table Schema constraints: true where a value breaks the rule."""

from __future__ import annotations

import json
import operator
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from importer.errors import ContractError

from .convert import convert_literal
from .text import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .field import Field

TYPE_ERROR, CONSTRAINT_ERROR = "type-error", "constraint-error"
ERROR_CELL, UNCALCULATED, EXTRA_CELL = "error-cell", "uncalculated-formula", "extra-cell"

_EMAIL = r"^[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+$"
_URI = r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$"
_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_UUID = r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
FORMATS = {"email": _EMAIL, "uri": _URI, "binary": _BASE64, "uuid": _UUID}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class ConstraintCheck(NamedTuple):
    """One rule on one field.

    Attributes:
        rule: name of the rule.
        broken: mask, true where a value breaks the rule; null counts as not broken.
        reason: text of the error, to follow the field's name.
    """

    rule: str
    broken: pl.Expr
    reason: str


def format_check(field: Field, value: pl.Expr) -> ConstraintCheck | None:
    """Return the check of a string field's format, or None; breaking it is a type error, not a constraint error."""
    if field.type != "string" or field.format not in FORMATS:
        return None
    return ConstraintCheck(TYPE_ERROR, ~value.str.contains(FORMATS[field.format]), f"is not a valid {field.format}")


def checks(field: Field, value: pl.Expr, digits: pl.Expr | None = None) -> Iterator[ConstraintCheck]:
    """Yield a check for every constraint of a field except `required` and `unique`, over its converted values.

    Args:
        field: the field.
        value: its values.
        digits: for a field of type number, the digits of the values that a float does not hold, or None.

    Raises:
        ContractError: a bound or an enum member is not a value of the field's type.
    """
    given = field.constraints
    yield from _length_checks(field, value)
    for bound in _BOUNDS:
        if bound in given:
            yield _bound_check(field, value, bound, digits)
    if "pattern" in given:
        yield ConstraintCheck(
            CONSTRAINT_ERROR,
            ~_matches(_pattern_text(field, value, digits), given["pattern"]),
            f"does not match pattern {given['pattern']!r}",
        )
    for key, allowed in (("enum", given.get("enum")), ("categories", field.options.get("categories"))):
        if allowed:
            yield _member_check(field, value, digits, key, allowed)
    if "jsonSchema" in given:
        yield ConstraintCheck(
            CONSTRAINT_ERROR, ~_matches_schema(value, given["jsonSchema"], field), "does not match its jsonSchema"
        )


def _length_checks(field: Field, value: pl.Expr) -> Iterator[ConstraintCheck]:
    least, most = (field.constraints.get(key) for key in ("minLength", "maxLength"))
    if least is not None:
        yield ConstraintCheck(CONSTRAINT_ERROR, _length(field, value) < least, f"is shorter than minLength {least}")
    if most is not None:
        yield ConstraintCheck(CONSTRAINT_ERROR, _length(field, value) > most, f"is longer than maxLength {most}")


def _member_check(
    field: Field, value: pl.Expr, digits: pl.Expr | None, key: str, allowed: list[Any]
) -> ConstraintCheck:
    """Return the check of `enum` or `categories`, whose members are values; a category may be an object with one."""
    plain = [m.get("value") if key == "categories" and isinstance(m, dict) else m for m in allowed]
    broken = ~value.is_in([_literal_or_raise(field, member) for member in plain])
    if digits is not None:
        exact = {_to_decimal(member) for member in plain}
        broken = _exactly(digits, broken, lambda number: number not in exact)
    return ConstraintCheck(CONSTRAINT_ERROR, broken, f"is not in {key} {_format_members(allowed)}")


def _length(field: Field, value: pl.Expr) -> pl.Expr:
    """Return the number of characters of a text, or of items of an array or object."""
    if field.type in {"array", "list", "object", "geojson"}:
        return value.map_elements(lambda text: len(json.loads(text)), return_dtype=pl.Int64)
    return value.str.len_chars()


def _pattern_text(field: Field, value: pl.Expr, digits: pl.Expr | None) -> pl.Expr:
    text = value if field.type in {"string", "any"} else to_text(field.type, value)
    return text if digits is None else pl.coalesce(digits, text)


def _exactly(digits: pl.Expr, broken: pl.Expr, is_broken: Callable[[Decimal], bool]) -> pl.Expr:
    """Return a mask that goes by the digits where there are any: rounded to floats, two numbers may be equal."""
    exact = digits.map_elements(lambda text: is_broken(Decimal(text)), return_dtype=pl.Boolean)
    return pl.when(digits.is_null()).then(broken).otherwise(exact)


def _to_decimal(literal: Any) -> Decimal | None:
    try:
        return Decimal(str(literal).strip())
    except InvalidOperation:
        return None


_IS_BROKEN: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": operator.lt, "maximum": operator.gt, "exclusiveMinimum": operator.le, "exclusiveMaximum": operator.ge,
}  # fmt: skip


def _bound_check(field: Field, value: pl.Expr, bound: str, digits: pl.Expr | None) -> ConstraintCheck:
    limit = pl.lit(_literal_or_raise(field, field.constraints[bound]))
    broken: pl.Expr = _IS_BROKEN[bound](value, limit)
    exact = None if digits is None else _to_decimal(field.constraints[bound])
    if digits is not None and exact is not None:
        broken = _exactly(digits, broken, lambda number: _IS_BROKEN[bound](number, exact))
    return ConstraintCheck(CONSTRAINT_ERROR, broken, f"breaks {bound} {field.constraints[bound]}")


def _literal_or_raise(field: Field, value: Any) -> Any:
    found = convert_literal(field, value)
    if found is None:
        raise ContractError(f"{value!r} is not a value of type {field.type}", place=f"field {field.name!r}")
    return found


def _format_members(allowed: list[Any]) -> str:
    shown = ", ".join(str(a) for a in allowed[:8])
    return f"({shown}{', …' if len(allowed) > 8 else ''})"  # noqa: PLR2004 - enough to recognise the list


def _matches(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return whether the whole text matches: as in XML Schema, patterns of Table Schema are anchored."""
    if _rust_supports(pattern):
        return text.str.contains(_anchor(pattern))
    # Look-arounds and backreferences need Python's engine, cell by cell.
    compiled = re.compile(pattern)
    return text.map_elements(lambda t: compiled.fullmatch(t) is not None, return_dtype=pl.Boolean)


def regex_fault(pattern: str) -> str | None:
    """Return why a text cannot be used as a pattern, or None if it can."""
    operator = _class_operator(pattern)
    if operator:
        return f"{operator} inside [...] has different meanings in different regular expression engines; escape it"
    if _rust_supports(pattern):
        return None
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as exc:
        return str(exc) or "it is nested too deeply"
    return None


def _class_operator(pattern: str) -> str | None:
    """Return the first `[` or set operator in a character class, or None; engines disagree on what these mean."""
    inside = False
    for match in re.finditer(r"\\.|\[\^?\]?|&&|--|~~|\]", pattern, re.DOTALL):
        found = match[0]
        if not inside:
            inside = found.startswith("[")
        elif found == "]":
            inside = False
        elif not found.startswith("\\"):
            return found[:2] if found[0] in "&-~" else "["
    return None


def _anchor(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _rust_supports(pattern: str) -> bool:
    try:
        # Also try it unanchored: `a)|(b` is not a pattern, but becomes one inside the group.
        pl.select(pl.lit("").str.contains(pattern), pl.lit("").str.contains(_anchor(pattern)).alias("anchored"))
    except pl.exceptions.PolarsError:
        return False
    return True


class _RefuseAllSchemes(dict[str, Any]):
    """Handlers for references of every URI scheme, known or not, that refuse to follow them."""

    def __contains__(self, scheme: object) -> bool:
        return True

    def __getitem__(self, scheme: str) -> Any:
        return _refuse_reference


def _refuse_reference(uri: str) -> Any:
    raise ContractError(f"jsonSchema refers to {uri!r}; references outside the contract are not followed")


def _matches_schema(value: pl.Expr, schema: dict[str, Any], field: Field) -> pl.Expr:
    import fastjsonschema

    try:
        validate = fastjsonschema.compile(schema, handlers=_RefuseAllSchemes())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SyntaxError, re.error) as exc:
        raise ContractError(f"jsonSchema is not a JSON Schema ({exc})", place=f"field {field.name!r}") from None

    def follows(text: str) -> bool:
        try:
            validate(json.loads(text))
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return value.map_elements(follows, return_dtype=pl.Boolean)
