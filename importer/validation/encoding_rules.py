"""Makes the rules for texts that the encoding of the database cannot hold; a UTF-8 database needs none."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import polars as pl

from importer.cells.constraints import TYPE_ERROR
from importer.postgres.encoding import holds_texts
from importer.postgres.types import TEXT_WIRE_TYPE, wire_type_of

from .errors_frame import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.postgres.encoding import Encoding
    from importer.postgres.types import PgType

#: An escape within a JSON text; group 1 holds the digits of one by number.
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def encoding_rules(position: int, pg_type: PgType, encoding: Encoding) -> Iterator[Rule]:
    """Yield the rules for the wire values (`w{position}`, see `evaluate`) of a column of that type."""
    if wire_type_of(pg_type) != TEXT_WIRE_TYPE:
        return
    value, database = pl.col(f"w{position}"), f"the database (encoding {encoding.name})"
    reason = f"has a character that {database} cannot hold"
    if encoding.characters is not None:
        yield Rule(position, TYPE_ERROR, ~holds_texts(value, encoding.characters), reason)
    if encoding.escapable is not None and pg_type.name == "jsonb":
        escaped = value.map_elements(_escaped_characters, return_dtype=pl.String)
        yield Rule(position, TYPE_ERROR, ~holds_texts(escaped, encoding.escapable), f"{reason}, written as an escape")
    if (
        encoding.counts_bytes
        and not pg_type.array
        and pg_type.name in {"character varying", "character"}
        and pg_type.args
    ):
        too_long = (value.str.len_bytes() > pg_type.args[0]).fill_null(value=False)
        yield Rule(position, TYPE_ERROR, too_long, f"is longer than {pg_type}, which counts bytes in {database}")


def _escaped_characters(text: str) -> str:
    r"""Return the characters that a JSON text writes as `\u` escapes."""
    digits = "".join(f"\\u{found[1]}" for found in _JSON_ESCAPE.finditer(text) if found[1])
    return str(json.loads(f'"{digits}"')).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
