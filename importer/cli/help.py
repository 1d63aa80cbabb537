"""Arranges the help of commands by what their options are about, and says what a mistyped command may mean."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from importer.text_files import WORKBOOK_SUFFIXES
from importer.urls import file_name

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Titles and the options below them, by parameter name; options that are not named follow under `Other`.
_SECTIONS = {
    "What to read": (
        "sheet", "sheets", "range", "excel_table", "header_row", "no_header", "footer", "last_row", "rows",
        "until_blank", "merged", "columns", "keep_names", "hidden", "contract", "types", "null", "mixed", "parse_texts",
        "date_order", "decimal", "timezone", "encoding", "delimiter", "jobs", "import_spec",
    ),
    "Where to": ("to", "table", "mode", "key", "on_duplicate", "drift", "lineage", "again"),
    "What is bad": ("error_cells", "max_text", "rejects", "max_rejects"),
    "Where it goes": ("done", "failed"),
    "When it fails": ("retry_for", "timeout", "each", "together", "stop_on_error"),
    "How it is done": (
        "on", "engine", "method", "workers", "memory", "chunk_rows", "temp_dir", "timeline", "once", "poll",
    ),
    "Output": ("form", "report_to", "as_json", "quiet", "verbose", "debug", "help"),
}  # fmt: skip


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections that have options."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        left = {_name(p): record for p in options if (record := p.get_help_record(ctx)) is not None}
        for title, names in _SECTIONS.items():
            _write_section(formatter, title, [left.pop(name) for name in names if name in left])
        _write_section(formatter, "Other", left.values())


def _name(option: click.Option) -> str | None:
    return "help" if "--help" in option.opts else option.name


def _write_section(formatter: click.HelpFormatter, title: str, records: Iterable[tuple[str, str]]) -> None:
    if rows := list(records):
        with formatter.section(title):
            formatter.write_dl(rows)


class ProposingGroup(click.Group):
    """A group that proposes a command for a word that is none."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that the first argument names.

        Raises:
            UsageError: it names none.
        """
        word = args[0] if args else ""
        if self.get_command(ctx, word) is None and not word.startswith("-") and not ctx.resilient_parsing:
            proposed = _proposal(word, args[1:], list(self.commands))
            if proposed:
                ctx.fail(f"No such command {word!r}. Did you mean: importer {proposed}")
        return super().resolve_command(ctx, args)


def _proposal(word: str, others: list[str], commands: list[str]) -> str | None:
    import difflib
    import shlex

    if PurePath(file_name(word)).suffix.lower() in WORKBOOK_SUFFIXES:
        return shlex.join(["run", word, *others])
    near = difflib.get_close_matches(word, commands, 1)
    return near[0] if near else None
