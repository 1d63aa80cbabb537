"""Defines the unit of many imports: one sheet of one workbook into one table, as plain data that can travel."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from importer.errors import UsageError
from importer.remote.local_copy import fetch_text
from importer.sources.stdin import STDIN, is_from_stdin
from importer.urls import Url, as_url, hide_secrets, path_or_url

_KEYS = ("source", "sheet", "table", "options")
_CHOICE = "a line of importer plan --json"


@dataclass(frozen=True, repr=False)
class ImportSpec:
    """One import: one sheet of one workbook into one table.

    Attributes:
        source: path or address of the workbook.
        sheet: name of the sheet; None: the first visible one with rows.
        table: `table` or `schema.table`; None: the contract's, else derived from the workbook's name.
        options: other keywords of `importer.import_workbook`, with values that JSON can hold. Besides those there are
            `agreed`, the columns on which the sources of one table agreed (see `agreed_types`), and
            `default_rejects` (see `settings.Settings`), and of a source at an address `source_version` and `copies`
            (see `urls.source_settings`); and `run_seed` of one that is tried again elsewhere.
    """

    source: str
    sheet: str | None = None
    table: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the import without the secrets of its addresses: clusters log what they are given."""
        shown = self.shown()
        return f"ImportSpec({shown.source!r}, {shown.sheet!r}, {shown.table!r}, {shown.options!r})"

    @property
    def label(self) -> str:
        """The name of the import in messages: the source, and the sheet where one is named."""
        return self.shown_source if self.sheet is None else f"{self.shown_source} [{self.sheet}]"

    @property
    def shown_source(self) -> str:
        """The source as it is shown: an address without its secrets, standard input as `-`."""
        return STDIN if is_from_stdin(self.source) else str(as_url(self.source) or self.source)

    def with_options(self, **options: Any) -> Self:
        """Return the import with more options."""
        return replace(self, options={**self.options, **options})

    def with_absolute_paths(self) -> Self:
        """Return the import for a process that works in another folder."""
        options = dict(self.options)
        for name in ("contract", "rejects", "default_rejects", "temp_dir"):
            if isinstance(options.get(name), str):
                options[name] = _absolute(options[name])
        return replace(self, source=_absolute(self.source), options=options)

    def for_elsewhere(self) -> Self:
        """Return the import for a process that may be on another machine: it has no part in copies of this one."""
        found = self.with_absolute_paths()
        return replace(found, options={n: v for n, v in found.options.items() if n != "copies"})

    def shown(self) -> Self:
        """Return the import as it is shown, with addresses without their secrets, and without what is of this run."""
        options = {
            n: str(as_url(v) or v) if isinstance(v, str) else v for n, v in self.options.items() if n != "copies"
        }
        return replace(self, source=self.shown_source, options=options)

    def to_json(self) -> str:
        """Return the import as one line of JSON."""
        return json.dumps({name: getattr(self, name) for name in _KEYS}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, line: str | None = None) -> Self:
        """Return the import that a line of JSON describes; keys that `importer plan` adds for people are ignored.

        Args:
            text: the line.
            line: where it stands, such as `imports.txt:3`; None: nowhere.

        Raises:
            UsageError: the text describes none.
        """
        place = (f"{line}: " if line else "") + hide_secrets(text)[:80]
        try:
            described = json.loads(text)
        except ValueError:
            described = None
        if not isinstance(described, dict) or not isinstance(described.get("source"), str):
            raise UsageError(
                "an import is a JSON object with a 'source'",
                place=place or None,
                choice=_CHOICE,
            )
        given = {name: described[name] for name in _KEYS if described.get(name) is not None}
        if not all(isinstance(given.get(n, ""), str) for n in ("sheet", "table")) or not isinstance(
            given.get("options", {}), dict
        ):
            raise UsageError("'sheet' and 'table' of an import are texts, 'options' an object", place=place)
        return cls(**given)


def read_specs(given: str) -> list[ImportSpec]:
    """Return the imports that a text describes, the lines of a file or address, or those of standard input (`-`).

    Raises:
        UsageError: there is no such file, it has no line, or a line describes no import.
        ImporterError: the address cannot be fetched, see `remote.fetch.fetch_into`.
    """
    text, place = _read_lines(given)
    with contextlib.suppress(ValueError):
        json.loads(text)
        return [ImportSpec.from_json(text, place)]  # also over several lines
    # Names may hold what `splitlines` takes for the end of a line.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    specs = [ImportSpec.from_json(line, f"{place}:{number}" if place else None) for number, line in lines if line]
    if not specs:
        raise UsageError("no import is given", place=place, choice=_CHOICE)
    return specs


def _read_lines(given: str) -> tuple[str, str | None]:
    """Return the text that describes imports, and where it was read; None if it was given itself."""
    if given.lstrip().startswith("{"):
        return given, None
    shown = hide_secrets(given)[:80]
    try:
        if given == STDIN:
            content = sys.stdin.buffer.read() if sys.stdin is not None else b""
            return content.decode("utf-8-sig"), "standard input"
        place = path_or_url(given or " ")
        return (fetch_text(place) if isinstance(place, Url) else place.read_bytes()).decode("utf-8-sig"), shown
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        fact = f"cannot read the imports ({getattr(exc, 'strerror', None) or exc})"
        raise UsageError(fact, place=shown or None, choice=f"{_CHOICE}, a file of them, or -") from None


def _absolute(path: str) -> str:
    return path if as_url(path) else str(Path(path).absolute())
