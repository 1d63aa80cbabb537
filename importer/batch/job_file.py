"""Reads a job file: many imports in YAML, JSON or TOML, with the keys of the options; refuses unknown keys, with lines.

A file is a list of imports, or an object with `imports`, whose other keys hold for all of them. An import has a
`source` (or a list `sources`) besides its options. A list file (.txt) has a source on each line. Both may be at
addresses; then relative paths in them are addresses of the same folder.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from importer.contract.decode import decode, locate
from importer.contract.known_keys import nearest
from importer.contract.positions import find_position
from importer.errors import ContractError, UsageError
from importer.remote.local_copy import fetch_text
from importer.sources.stdin import STDIN
from importer.urls import Url, as_url, path_or_url

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_IMPORTS, _SOURCES = "imports", ("source", "sources")
#: Options whose values are paths, which are those of the file's own folder.
_PATHS = ("contract", "rejects", "temp_dir", "timeline")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LIST_SUFFIXES = frozenset({".txt", ".lst"})


class Job(NamedTuple):
    """One entry of a job file.

    Attributes:
        sources: paths, patterns and folders.
        options: options by parameter name, such as `header_row`.
        place: file, line and column of the entry.
    """

    sources: tuple[str, ...]
    options: dict[str, Any]
    place: str


class _JobFile:
    """A job file that is being read; it knows where its values stand."""

    def __init__(self, path: Path | Url, known: Collection[str], convert: Callable[[str, Any], Any]) -> None:
        try:
            content = fetch_text(path) if isinstance(path, Url) else path.read_bytes()
            # `>` of Windows PowerShell writes UTF-16.
            self._text = content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise UsageError(f"cannot read the job file {str(path)!r} ({reason})") from None
        self._path, self._known, self._convert = path, known, convert
        self._is_list = path.suffix.lower() in _LIST_SUFFIXES
        self._suffix = path.suffix.lower() if path.suffix.lower() in {".json", ".toml"} else ".yaml"

    def jobs(self) -> list[Job]:
        """Return the entries of the file."""
        if self._is_list:
            return self._listed()
        try:
            content = decode(self._text, self._suffix, str(self._path))
        except ContractError as exc:
            raise UsageError(exc.fact.replace("contract", "job file"), place=exc.place, choice=exc.choice) from None
        shared: dict[str, Any] = {}
        entries: Any = content
        at: tuple[Any, ...] | None = ()
        if isinstance(content, dict) and _IMPORTS in content:
            entries, at = content[_IMPORTS], (_IMPORTS,)
            shared = self._options({k: v for k, v in content.items() if k != _IMPORTS}, ())
        elif isinstance(content, dict):
            entries, at = [content], None
        if not isinstance(entries, list) or not entries:
            raise UsageError("a job file is a list of imports, or an object with 'imports'", place=self._place(()))
        return [self._job(entry, shared, () if at is None else (*at, n)) for n, entry in enumerate(entries)]

    def _listed(self) -> list[Job]:
        """Return the lines of a list file, but for blank ones and remarks (#)."""
        lines = [(number, line.strip()) for number, line in enumerate(self._text.split("\n"), 1)]
        named = [(number, line) for number, line in lines if line and not line.startswith("#")]
        if not named:
            raise UsageError("the list of workbooks is empty", place=str(self._path))
        return [Job((self._in_folder(line),), {}, f"{self._path}:{number}") for number, line in named]

    def _job(self, entry: Any, shared: dict[str, Any], at: tuple[Any, ...]) -> Job:
        if isinstance(entry, str):
            entry = {"source": entry}
        if not isinstance(entry, dict):
            raise UsageError("an import is an object with a 'source'", place=self._place(at))
        given: list[Any] = []
        for name in _SOURCES:
            value = entry.get(name, [])
            given += value if isinstance(value, list) else [value]
        if not given or not all(isinstance(source, str) for source in given):
            raise UsageError("an import needs a 'source': a path, a pattern or a folder", place=self._place(at))
        options = self._options({k: v for k, v in entry.items() if k not in _SOURCES}, at)
        sources = tuple(self._in_folder(source) for source in given)
        return Job(sources, shared | options, self._place(at))

    def _options(self, given: dict[Any, Any], at: tuple[Any, ...]) -> dict[str, Any]:
        options = {}
        for key, value in given.items():
            # YAML reads a bare `null:` as the value of that name.
            name = "null" if key is None else str(key).replace("-", "_")
            if name not in self._known:
                words = [word.replace("_", "-") for word in (*self._known, *_SOURCES, *(() if at else (_IMPORTS,)))]
                near = nearest(str(key), words)
                choice = (
                    f"did you mean {near!r}?" if near else f"the options of importer run: {', '.join(sorted(words))}"
                )
                raise UsageError(f"unknown key {key!r}", place=self._place((*at, key)), choice=choice)
            try:
                options[name] = self._convert(name, value)
            except ValueError as exc:
                raise UsageError(f"{key}: {exc}", place=self._place((*at, key))) from None
            if name in _PATHS and options[name]:
                ends = "/" if str(value).endswith("/") and as_url(options[name]) is None else ""
                options[name] = self._in_folder(options[name]) + ends
        return options

    def _in_folder(self, path: str) -> str:
        """Return a path as one of the file's folder; an address stays what it is, and an absolute path."""
        if as_url(path) or path == STDIN:
            return path
        if isinstance(self._path, Url):
            return path if Path(path).is_absolute() else self._path.sibling(path).text
        return str(self._path.parent / path)

    def _place(self, at: tuple[Any, ...]) -> str:
        return locate(str(self._path), find_position(self._text, self._suffix, at))


def read_job_file(path: str | Path, known: Collection[str], convert: Callable[[str, Any], Any]) -> list[Job]:
    """Return the entries of a job file (YAML, JSON or TOML), or of a list file.

    Args:
        path: the file, or its address.
        known: parameter names of the options that an entry may have.
        convert: returns the value of an option, from its name and what the file has; raises ValueError.

    Raises:
        UsageError: the file cannot be read, is not well-formed, or has a key or value that is none.
        ImporterError: it cannot be fetched, see `remote.fetch.fetch_into`.
    """
    return _JobFile(path_or_url(path), known, convert).jobs()
