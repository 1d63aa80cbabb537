"""Finds the workbooks that paths, patterns and folders name; says which files were left out."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from importer.errors import UsageError
from importer.excel.rejects_origin import origin_workbooks
from importer.text_files import WORKBOOK_SUFFIXES
from importer.urls import Url, as_url, file_name

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What Excel keeps beside a workbook that is open.
_LOCK_FILE = re.compile(r"^~\$")
_MOST_NOTES = 3
#: What this program writes beside a workbook.
_REJECTS_FILE = re.compile(r"\.rejects(-\d+)?\.(xlsx|csv)$", re.IGNORECASE)


class FoundSources(NamedTuple):
    """The workbooks of a command.

    Attributes:
        paths: each of them once, in the order of the arguments, and sorted within a pattern or folder.
        notes: what was left out, and why.
    """

    paths: tuple[str, ...]
    notes: tuple[str, ...]


def is_pattern(source: str) -> bool:
    """Return whether a source is a pattern such as `in/**/*.xlsx`, and no file of that name exists."""
    if (url := as_url(source)) is not None:
        return url.is_pattern
    return glob.has_magic(source) and not os.path.lexists(source)


def is_single(source: str) -> bool:
    """Return whether a source names one file, which need not exist; a folder at an address ends with a slash."""
    if (url := as_url(source)) is not None:
        return not url.is_pattern and not url.is_folder
    return not is_pattern(source) and not os.path.isdir(source)  # noqa: PTH112 - before pathlib is needed


def find_sources(given: Iterable[str]) -> FoundSources:
    """Return the workbooks that paths, patterns and folders name, here or at addresses.

    A folder stands for the workbooks directly in it, but for hidden ones. Lock files and rejects files are left out
    where a pattern or folder finds them; where a shell named them among others, lock files, and rejects of workbooks
    that are named in the same folder, too. Any other path is taken as it is: its import says whether it can be read.

    Raises:
        UsageError: a pattern matches no workbook, or a folder has none.
        ImporterError: the folder at an address cannot be listed, see `remote.listing.list_urls`.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    again: list[str] = []
    given = list(given)
    for source in given:
        url = as_url(source)
        if is_single(source):
            paths = [source]
            if len(given) > 1 and (note := _byproduct_note(source, given)):
                notes.append(note)
                continue
        else:
            paths, left_out = _without_byproducts(_of_url(url) if url else _of_path(source), is_pattern(source))
            if not paths and not left_out and url is None and _is_named_as_workbook(source):
                paths = [source]
            if not paths:
                raise _nothing_found(source, left_out)
            notes += left_out
        for path in paths:
            real = path if url else os.path.realpath(path)
            if real in found:
                again.append(path)
            found.setdefault(real, path)
    notes += _named_again(list(dict.fromkeys(again)))
    return FoundSources(tuple(found.values()), tuple(dict.fromkeys(notes)))


def _named_again(paths: list[str]) -> list[str]:
    """Return notes on files that have several names; a link to a folder above gives each of them dozens."""
    notes = [f"{_shown(path)} is named twice, and imported once" for path in paths[:_MOST_NOTES]]
    if others := paths[_MOST_NOTES:]:
        notes.append(f"{len(others):,} further names are of files that have one already, and are imported once")
    return notes


def _of_url(url: Url) -> list[str]:
    from importer.remote.listing import list_urls

    return [found.text for found in list_urls(url) if found.name.lower().endswith(WORKBOOK_SUFFIXES)]


def _of_path(source: str) -> list[str]:
    return _of_folder(source) if Path(source).is_dir() else _of_pattern(source)


def _of_folder(folder: str) -> list[str]:
    return _files(sorted(str(path) for path in Path(folder).iterdir()))


def _of_pattern(pattern: str) -> list[str]:
    found = _files(glob.glob(pattern, recursive=True))  # noqa: PTH207 - `**` also names the folder itself
    if len({os.path.realpath(path) for path in found}) == len(found):
        return sorted(found)
    # Of the names of one file, the one with the fewest folders comes first, and is the one that is imported.
    return sorted(found, key=lambda path: (path.count(os.sep), path))


def _is_named_as_workbook(source: str) -> bool:
    """Return whether a folder has the name of a workbook, as what a shell's `*.xlsx` finds: its import says so."""
    return Path(source).is_dir() and source.lower().endswith(WORKBOOK_SUFFIXES)


def _files(paths: Iterable[str]) -> list[str]:
    return [p for p in paths if p.lower().endswith(WORKBOOK_SUFFIXES) and Path(p).is_file()]


def _byproduct_note(source: str, given: list[str]) -> str | None:
    """Return why a file that is named among others, as by `*.xlsx` in a shell, is not meant; None if it is."""
    name = file_name(source)
    if _LOCK_FILE.match(name):
        return _lock_file_note(source)
    if as_url(source) or not _REJECTS_FILE.search(name):
        return None
    workbooks = origin_workbooks(Path(source))
    # In another folder, a workbook of that name is another one: of the next month, say.
    folder = Path(source).parent.resolve()
    beside = {file_name(other) for other in given if Path(other).parent.resolve() == folder}
    if workbooks and workbooks <= beside:
        listed = ", ".join(sorted(workbooks))
        return f"{source} is left out: it holds rejects of {listed}, named beside it; name it without to load it"
    return None


def _lock_file_note(path: str) -> str:
    return f"{_shown(path)} is left out: it is the lock file of a workbook that is open"


def _without_byproducts(paths: list[str], by_pattern: bool) -> tuple[list[str], list[str]]:
    kept, notes = [], []
    for path in paths:
        name = file_name(path)
        if _LOCK_FILE.match(name):
            notes.append(_lock_file_note(path))
        elif name.startswith(".") and not by_pattern:
            # Among them what macOS keeps beside each file on a foreign disk, `._a.xlsx`. A pattern has to ask for them.
            notes.append(f"{_shown(path)} is left out: it is hidden; name it to load it")
        elif _REJECTS_FILE.search(name):
            notes.append(f"{_shown(path)} is left out: it holds rejects; name it to load it")
        else:
            kept.append(path)
    return kept, notes


def _shown(path: str) -> str:
    return str(as_url(path) or path)


def _nothing_found(source: str, left_out: list[str]) -> UsageError:
    url, source = as_url(source), _shown(source)
    folder = url.is_folder if url else Path(source).is_dir()
    fact = f"folder {source!r} has no workbook" if folder else f"pattern {source!r} matches no workbook"
    if left_out:
        return UsageError(fact, choice="; ".join(left_out[:3]))
    deeper = f"{source}**/*.xlsx" if url else str(Path(source) / "**" / "*.xlsx")
    named = f"workbooks are files named {', '.join(WORKBOOK_SUFFIXES)}"
    advice = f"for those in folders below: {deeper!r}" if folder else named
    return UsageError(fact, choice=advice)
