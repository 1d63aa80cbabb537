"""Makes the name of each import's table, from a template such as `shop.{stem}_{sheet}` or as for one workbook."""

from __future__ import annotations

import re
from pathlib import Path

from importer.errors import UsageError
from importer.excel.rejects_origin import original_stem
from importer.plan.target import table_name_of
from importer.postgres.catalog import parse_table_name
from importer.postgres.sql import quote
from importer.table.labels import shorten, to_identifier
from importer.urls import file_name

_PLACEHOLDERS = ("stem", "sheet")
_BRACES = re.compile(r"\{([^{}]*)\}")


def needs_sheet(template: str | None) -> bool:
    """Return whether the name of a table depends on the sheet.

    Raises:
        UsageError: the template has a placeholder that nobody knows.
    """
    names = _BRACES.findall(template or "")
    for name in names:
        if name not in _PLACEHOLDERS:
            raise UsageError(f"--table has an unknown placeholder {{{name}}}", choice="{stem} and {sheet}")
    if re.search(r"[{}]", _BRACES.sub("", template or "")):
        raise UsageError(f"--table {template!r} has a brace without its other one", choice="{stem} and {sheet}")
    return "sheet" in names


def is_template(table: str | None) -> bool:
    """Return whether the name of a table has placeholders."""
    return table is not None and _BRACES.search(table) is not None


def table_for(template: str | None, source: str, sheet: str | None) -> str | None:
    """Return the table of an import as text for `--table`, or None where its default is meant.

    What replaces a placeholder is normalised as the default name is; the rest of the template stays as it is.
    """
    if template is None or not is_template(template):
        return template
    parts = {
        "stem": to_identifier(original_stem(Path(file_name(source)).stem)) or "workbook",
        "sheet": to_identifier(sheet or "") or "sheet",
    }
    text = _BRACES.sub(lambda match: _within(template, match, parts[match[1]]), template)
    schema, table = parse_table_name(text)
    short = shorten(table, "")
    if short == table:
        return text
    return quote(schema, short) if schema else quote(short)


def _within(template: str, match: re.Match[str], part: str) -> str:
    """Return what replaces a placeholder: within a name a digit may come first, and needs no `_` before it."""
    is_within = match.start() > 0 and (template[match.start() - 1].isalnum() or template[match.start() - 1] in "_}")
    return part[1:] if is_within and re.match(r"_[0-9]", part) else part


def target_of(table: str | None, contract_table: tuple[str | None, str] | None, source: str, sheet: str | None) -> str:
    """Return a text that two imports share exactly if they go to the same table, as far as that shows without a server.

    Args:
        table: the table that was named, or None.
        contract_table: schema and table of the contract, or None.
        source: path or address of the workbook.
        sheet: the sheet that was named, or None.
    """
    if table is not None:
        schema, name = parse_table_name(table)
    elif contract_table is not None:
        schema, name = contract_table
    else:
        name = table_name_of(source)
        schema, name = None, shorten(f"{name}_{to_identifier(sheet)}", "") if sheet is not None else name
    return quote(schema, name) if schema else quote(name)
