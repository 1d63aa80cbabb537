"""Reads the key `excel` of a contract: which sheet to read and where the table is in it, as options of a run say it.

An option that the command line (or any caller) gives takes precedence; what is said there is what the user wants now.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, get_args

from importer.errors import ContractError, UsageError
from importer.option_values import parse_header_rows
from importer.settings import DriftPolicy, Settings
from importer.table_options import Footer, Merged, parse_rows
from importer.text_files import normalize_delimiter, normalize_encoding

from .descriptor_checks import require_object, short_repr
from .known_keys import check_keys, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _text(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ContractError(f"{short_repr(given)} is not a text of at least one character")
    return given


def _rows(given: Any) -> tuple[int, int]:
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ContractError(f"{short_repr(given)} is not a row", choice="3 or '2-4'; 0 for none")
    return parse_header_rows(str(given))


def _data_rows(given: Any) -> tuple[int, int]:
    return parse_rows(_text(given))


def _row(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ContractError(f"{short_repr(given)} is not a row", choice="1 or more")
    return given


def _flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ContractError(f"{short_repr(given)} is not true or false")
    return given


def _encoding(given: Any) -> str:
    normalize_encoding(_text(given))
    return str(given)


def _delimiter(given: Any) -> str:
    normalize_delimiter(_text(given))
    return str(given)


def _one_of(*words: str) -> Callable[[Any], str]:
    def parse(given: Any) -> str:
        if given not in words:
            raise ContractError(f"it cannot be {short_repr(given)}", choice=" | ".join(words))
        return str(given)

    return parse


#: Keys of `excel`: the setting that each is, and the function that makes the setting's value of the key's value.
EXCEL_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sheet": ("sheet", _text),
    "range": ("range", _text),
    "excelTable": ("excel_table", _text),
    "headerRow": ("header_rows", _rows),
    "rows": ("rows", _data_rows),
    "lastRow": ("last_row", _row),
    "untilBlank": ("until_blank", _flag),
    "footer": ("footer", _one_of(*get_args(Footer))),
    "merged": ("merged", _one_of(*get_args(Merged))),
    "mixed": ("mixed", _one_of("text", "reject")),
    "drift": ("drift", _one_of(*get_args(DriftPolicy))),
    "encoding": ("encoding", _encoding),
    "delimiter": ("delimiter", _delimiter),
}


def parse_excel(given: Any) -> dict[str, Any]:
    """Return the object `excel` of a contract, checked.

    Raises:
        ContractError: a key is unknown, or its value is not that of the option.
    """
    with within("excel"):
        found = require_object(given, "excel")
        check_keys(found, tuple(EXCEL_KEYS), "excel")
        _parse(found)
    return found


def _parse(excel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the object is for, by name."""
    settings = {}
    for key, value in excel.items():
        if key not in EXCEL_KEYS:
            continue  # `x-…`
        name, parse = EXCEL_KEYS[key]
        try:
            settings[name] = parse(value)
        except (ContractError, UsageError) as exc:
            error = ContractError(f"excel.{key}: {exc.fact}", place="excel", choice=exc.choice)
            error.path = (key,)
            raise error from None
    return settings


def with_excel(settings: Settings, excel: Mapping[str, Any], labels: tuple[tuple[str, ...], ...] = ()) -> Settings:
    """Return the settings with what a contract says of the sheet, where a setting still has its default.

    Args:
        settings: settings of the run.
        excel: the object `excel` of the contract.
        labels: the labels of the contract's columns (see `Contract.labels`).

    Raises:
        UsageError: a setting of the contract contradicts another one.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in _parse(excel).items() if getattr(settings, name) == defaults[name]}
    if settings.range is not None or settings.excel_table is not None:
        # A piece that the caller names is not the one of the contract, and may be on another sheet.
        elsewhere = settings.excel_table is not None or "!" in str(settings.range)
        others = {"range", "excel_table", "header_rows", "rows", "last_row", *(("sheet",) if elsewhere else ())}
        given = {name: value for name, value in given.items() if name not in others}
    given |= {"wanted": labels} if labels else {}
    return dataclasses.replace(settings, **given) if given else settings


def excel_keywords(excel: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a contract says of the sheet as keywords of `importer.import_workbook`."""
    words = {key: re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key) for key in EXCEL_KEYS}
    return {words[key]: value for key, value in excel.items() if key in words}
