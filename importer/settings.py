"""Owns the settings of one run, frozen and checked on construction."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import UsageError
from .option_values import AgreedColumn, RejectBudget, as_texts, check_timezone, parse_header_rows, parse_types
from .table_options import TableOptions, parse_rows
from .text_files import TextFileOptions
from .text_options import TextOptions
from .urls import RemoteSource, Url, path_or_url, source_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

Method = Literal["batch", "concurrent", "sequential"]
Mode = Literal["append", "create", "replace", "upsert"]
OnDuplicate = Literal["reject", "first", "last"]
HiddenPolicy = Literal["include", "skip", "error"]
ErrorCells = Literal["reject", "null"]
DriftPolicy = Literal["refuse", "add-columns", "ignore-extra"]
MixedPolicy = Literal["text", "reject", "ask"]
Engine = Literal["builtin", "calamine"]

MIB = 1 << 20
#: The formats of a rejects file.
REJECTS_SUFFIXES = (".xlsx", ".csv", ".parquet")
#: Connection options that never hold a secret; messages hide the values of all others.
PUBLIC_OPTIONS = frozenset({
    "host", "hostaddr", "port", "dbname", "user", "service",
    "sslmode", "options", "application_name", "connect_timeout",
    "client_encoding", "target_session_attrs", "sslrootcert", "gssencmode", "keepalives",
})  # fmt: skip
#: libpq's own variables that name a server; if any of them is set, the user means a server.
LIBPQ_VARIABLES = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on what a workbook may cost. Sizes are in bytes, times in seconds.

    The defaults admit every sheet that Excel itself can save; a hostile file exceeds them early.
    """

    #: A deflate stream cannot exceed 1032:1. Sheets of repeated text reach about 100:1, because row numbers differ.
    inflate_ratio: int = 200
    #: The ratio is checked only above this size: small parts full of blanks compress extremely well and are harmless.
    ratio_grace_bytes: int = 64 * MIB
    #: Size of one part (a sheet, the shared strings). A full sheet of 1,048,576 x 50 short texts is about 4 GiB.
    part_bytes: int = 16 * 1024 * MIB
    #: Number of parts. Those other than sheets, strings and styles are never inflated; this bounds the directory.
    part_count: int = 20_000
    #: XML of one sheet row. 16,384 cells of 1,000 characters are 16 MiB.
    row_bytes: int = 256 * MIB
    #: Cells that the engine may hold at once for one window; each takes 24-32 bytes, empty or not.
    window_cells: int = 8_000_000
    #: Number of header cells. Excel's own limit is 16,384, PostgreSQL's is 1,600 columns.
    columns: int = 1_600
    #: Number of sheet rows with cells, the header's too; None: as many as there are.
    rows: int | None = None
    #: Heap that one worker may allocate beyond what it starts with.
    memory_bytes: int = 2048 * MIB
    #: Wall time of one task (reading a window, writing a chunk).
    task_seconds: float = 900.0
    #: Size of a source that is fetched from an address; far more than a workbook can have.
    source_bytes: int = 16 * 1024 * MIB
    #: Wall time of fetching one source.
    source_seconds: float = 3600.0


@dataclass(frozen=True, repr=False)
class Dsn:
    """A libpq connection string or URI; its `repr` and `str` hide the password."""

    text: str

    def __repr__(self) -> str:
        return f"Dsn({self.masked!r})"

    def __str__(self) -> str:
        return self.masked

    @property
    def masked(self) -> str:
        """The connection string with the password replaced by `***`."""
        if re.match(r"\s*\w+\s*=", self.text):
            return _KEYWORD.sub(_masked_option, self.text)
        text = self.text
        if "@" in text:
            # A password may hold any character, even unescaped by mistake: it ends at the last @.
            head, _, place = text.rpartition("@")
            text = re.sub(r"^((?>(?:(?:[\w+.-]+:)+//)?)[^:]*:).*", r"\1***", head, flags=re.DOTALL) + "@" + place
        elif "://" in text:
            text = re.sub(r"^((?:[\w+.-]+:)+//[^:/?]*:)(?!\d*(?:[/?,]|$))[^?]*", r"\1***", text)
        else:
            text = "***"
        return re.sub(r"(?<=[?&])(\w+)=([^&]*)", _masked_option, text)

    @property
    def misread(self) -> bool:
        """Whether it is a URI with a bare `@` or `/` in user or password: libpq takes a part of those for the host."""
        user = re.sub(r"^\w+://", "", self.text.partition("?")[0]).rpartition("@")[0]
        return "://" in self.text and re.search(r"[@/]", user) is not None


#: `key = value`, `key='quoted value'`, also unterminated, or a stray word: the rest of a value with a space in it.
_KEYWORD = re.compile(r"(\w+)\s*=\s*('(?:\\.|[^'\\])*'?|\S*)|\S+", re.DOTALL)


def _masked_option(match: re.Match[str]) -> str:
    if match[1] is None:
        return "***"
    return match[0] if match[1].lower() in PUBLIC_OPTIONS else f"{match[1]}=***"


@dataclass(frozen=True, kw_only=True)
class Settings(TableOptions, TextFileOptions, TextOptions):
    """The settings of a run, checked on construction, so that no stage has to check them again.

    Raises:
        UsageError: a value is invalid, or two contradict each other.
    """

    #: The file; for a source at an address its name, until there is a copy of it (see `remote.local_copy`).
    workbook: Path
    #: Where the workbook is, if that is no path.
    source: RemoteSource | None = None
    sheet: str | None = None
    #: A descriptor, or the file that holds one.
    contract: Path | Url | dict[str, Any] | None = None
    columns: tuple[str, ...] | None = None
    #: What reads the cells. `builtin`: our own decoder, and calamine what it leaves; `calamine`: that alone.
    engine: Engine = "builtin"
    keep_names: bool = False
    hidden: HiddenPolicy = "include"
    error_cells: ErrorCells = "reject"
    #: Types of columns as (column, field type or PostgreSQL type), in place of those that are decided otherwise.
    types: tuple[tuple[str, str], ...] = ()
    #: Texts that mean a missing value in every column, besides the empty one and those of the contract.
    null: tuple[str, ...] = ()
    #: The type of a column whose kinds mix: text; of the kind that nearly all cells have; what the user is asked for.
    mixed: MixedPolicy = "text"
    #: Columns of the sheet that contract or table lack: the sheet is refused, or they are added, or left out.
    drift: DriftPolicy = "refuse"
    timezone: str = "UTC"
    #: Most characters of a text, unless its field allows more (`maxLength`). Excel's own limit, by its "specifications
    #: and limits"; counted in code points, as `maxLength` and PostgreSQL do (Excel counts one above U+FFFF twice).
    max_text: int = 32_767
    dsn: Dsn | None = None
    table: str | None = None
    mode: Mode = "append"
    #: The mode that was asked for, where an earlier sheet of a set has made the table or exchanged its rows already.
    asked_mode: Mode | None = None
    #: Hash of the sheets that exchange the rows of the table together; None: this one alone, if it does.
    union: str | None = None
    #: Columns that identify a row in an upsert, by header, name or letter; empty: the primary key.
    key: tuple[str, ...] = ()
    #: Which of several sheet rows with the same key is loaded. `reject`: the first, and the others are rejects;
    #: `first` or `last`: that one, and the others are left out (superseded).
    on_duplicate: OnDuplicate = "reject"
    #: Columns on which the sources of a table agreed (see `batch.agreed_types`): it gets all of those that it lacks.
    agreed: tuple[AgreedColumn, ...] = ()
    #: Add columns that record where each row came from.
    lineage: bool = False
    #: File for a chart of what each process did when (`.svg`, `.html` or `.json`).
    timeline: Path | None = None
    method: Method = "batch"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    #: Whether a small workbook may be loaded in this process: where nothing that divides the work is given.
    own_process: bool = False
    chunk_rows: int | None = None
    rejects: Path | Url | None = None
    #: Name of that file where `rejects` gives none (a free one is made of it); None: made of the workbook's, here.
    default_rejects: Path | Url | None = None
    #: Folder for packed rejects, of which another process makes a file (see `report.rejects.packed`); None: a file.
    packed_rejects: Path | None = None
    #: File for a list of the first bad cells (JSON).
    bad_cells: Path | None = None
    max_rejects: RejectBudget | None = None
    temp_dir: Path | None = None
    #: Load the workbook even if it was imported already.
    again: bool = False
    #: What the run's id is made of, where there may be several attempts: what one published is done for all of them.
    run_seed: str | None = None
    #: Seconds to keep retrying while the server fails.
    retry_for: float = 60.0
    #: Seconds for the whole run.
    timeout: float | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mode", Mode), ("method", Method), ("hidden", HiddenPolicy), ("error_cells", ErrorCells),
            ("mixed", MixedPolicy), ("drift", DriftPolicy), ("on_duplicate", OnDuplicate), ("engine", Engine),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in get_args(allowed):
                raise UsageError(f"{name} cannot be {value!r}", choice=" | ".join(get_args(allowed)))
        if self.key and self.mode != "upsert":
            raise UsageError(f"--key is for --mode upsert, not {self.mode}", choice="--mode upsert, or no --key")
        self._check_amounts()
        self.check_table()
        self.check_texts(has_contract=self.contract is not None)
        self.check_text_file()
        if self.timeline and self.timeline.suffix.lower() not in {".svg", ".html", ".json"}:
            raise UsageError(f"cannot draw a timeline as {self.timeline.suffix!r}", choice=".svg, .html or .json")
        if self.rejects and self.rejects.suffix.lower() not in REJECTS_SUFFIXES:
            raise UsageError(f"cannot write rejects as {self.rejects.suffix!r}", choice=".xlsx, .csv or .parquet")
        if self.rejects and self._is_workbook(self.rejects):
            raise UsageError(
                "the rejects would overwrite the workbook", place=str(self.rejects), choice="another --rejects FILE"
            )
        check_timezone(self.timezone)

    @property
    def missing(self) -> tuple[str, ...]:
        """The texts that mean a missing value in every column."""
        return ("", *self.null)

    @property
    def key_mode(self) -> Mode:
        """The mode that was asked for."""
        return self.asked_mode or self.mode

    def _is_workbook(self, place: Path | Url) -> bool:
        """Return whether a place is that of the workbook."""
        if isinstance(place, Url) or self.source is not None:
            return self.source is not None and place == self.source.url
        return os.path.realpath(place) == os.path.realpath(self.workbook)

    def _check_amounts(self) -> None:
        if self.workers < 0:
            raise UsageError("workers cannot be negative", choice="0 runs everything in this process")
        if self.limits.task_seconds <= 0 or self.limits.memory_bytes <= 0:
            raise UsageError("limits must be positive")
        if not self.retry_for >= 0 or (self.timeout is not None and not self.timeout > 0):
            raise UsageError("--retry-for takes seconds, 0 for no retry; --timeout takes more than 0 seconds")
        if self.max_text < 1 or (self.chunk_rows is not None and self.chunk_rows < 1):
            raise UsageError("--max-text takes a number of characters, --chunk-rows one of rows; both at least 1")


def make_settings(workbook: str | Path, *, to: str | None = None, **given: Any) -> Settings:
    """Return the settings for keywords of `importer.import_workbook`, with the same meaning.

    Raises:
        UsageError: a value is invalid, or two contradict each other.
    """
    row, budget, rows = (given.pop(name, None) for name in ("header_row", "max_rejects", "rows"))
    options: dict[str, Any] = {
        name: value for name, value in given.items() if value is not None or name not in {"workers", "limits"}
    }
    for name in ("contract", "rejects", "default_rejects"):
        value = options.get(name)
        options[name] = value if isinstance(value, dict) else path_or_url(value) if value else None
    for name in ("timeline", "bad_cells", "temp_dir", "packed_rejects"):
        options[name] = Path(options[name]) if options.get(name) else None
    options["columns"] = as_texts(options.get("columns")) or None
    options["key"] = as_texts(options.get("key"))
    options["types"] = parse_types(options.get("types") or ())
    options["null"] = as_texts(options.get("null"))
    options["agreed"] = tuple(AgreedColumn(*column) for column in options.get("agreed") or ())
    undivided = options.get("workers") is None and options.get("chunk_rows") is None
    options["own_process"] = undivided and options.get("method", "batch") == "batch"
    return Settings(
        **source_settings(workbook, options.pop("source_version", None), options.pop("copies", None)),
        header_rows=None if row is None else parse_header_rows(str(row)),
        dsn=find_dsn(to),
        rows=None if rows is None else parse_rows(str(rows)),
        max_rejects=None if budget is None else RejectBudget.parse(str(budget)),
        **options,
    )


def find_dsn(given: str | None, environ: Mapping[str, str] | None = None) -> Dsn | None:
    """Return the target server: `given`, else IMPORTER_DSN, else DATABASE_URL, else libpq's own variables, else None.

    Returns:
        None when no server is named: the embedded one is used.

    Raises:
        UsageError: `given` is blank, as from an unset shell variable, which does not mean the embedded server.
    """
    env = os.environ if environ is None else environ
    if given is not None and not given.strip():
        raise UsageError(
            "the target server is an empty text",
            choice="give a DSN after --to, or leave out --to to use the embedded server",
        )
    text = given or env.get("IMPORTER_DSN") or env.get("DATABASE_URL")
    if text:
        # libpq does not accept the spellings of SQLAlchemy and Heroku.
        return Dsn(re.sub(r"^postgres(?:ql)?(?:\+\w+)?://", "postgresql://", text.strip()))
    if any(env.get(name) for name in LIBPQ_VARIABLES):
        return Dsn("postgresql://")
    return None
