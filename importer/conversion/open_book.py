"""Opens a workbook of another format with its reader; says what to install if that is not there."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from importer.errors import WorkbookRefused

if TYPE_CHECKING:
    from pathlib import Path

    from importer.settings import Limits

    from .model import OtherBook, OtherFormat

#: The libraries that read each format.
_LIBRARIES = {"ods": ("python_calamine",), "xls": ("xlrd", "python_calamine"), "xlsb": ("python_calamine",)}


def require_libraries(path: Path, form: OtherFormat) -> None:
    """Raise WorkbookRefused if a library is missing that reads this format."""
    missing = [name for name in _LIBRARIES[form] if importlib.util.find_spec(name) is None]
    if missing:
        raise WorkbookRefused(
            f"the file is a workbook of another format (.{form}), and what reads it is not installed",
            place=path.name, choice="pip install 'importer[formats]', or save it as .xlsx",
        )  # fmt: skip


def open_book(path: Path, form: OtherFormat, limits: Limits) -> OtherBook:
    """Open a workbook.

    Raises:
        WorkbookRefused: it is damaged, encrypted or hostile.
    """
    if form == "ods":
        from .opendocument.book import OdsBook

        return OdsBook(path, limits)
    if form == "xls":
        from .xls import XlsBook

        return XlsBook(path)
    from .xlsb import XlsbBook

    return XlsbBook(path, limits)
