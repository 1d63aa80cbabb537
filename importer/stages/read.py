"""Reads a sheet in the workers, while its later windows are still being cut."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.decoding.tasks import ReadTask, StringsTask, WindowRead
from importer.errors import CellsDisputed, ImporterError, LimitExceeded
from importer.footer.footer import TAIL_ROWS
from importer.number_formats.styles import read_cell_formats
from importer.pieces.known_table import settle_table
from importer.pieces.piece import find_piece
from importer.reading.area import begins_far_down, head_rows, head_windows, is_head_blank, refuse_wide_head
from importer.reading.sheet_source import SheetSource, make_source, sort_windows
from importer.reading.text_windows import TextSplitter
from importer.reading.windows import WINDOWS_AHEAD, WindowSizes, WindowSplitter, judged_bytes
from importer.runtime.prefetch import ahead
from importer.runtime.stage import Stage
from importer.workers.file_size import is_small_part

from .open_file import Place, open_file, reader_error
from .tasks import parse_strings, read_window

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from importer.decoding.tasks import Window
    from importer.excel.workbook import Sheet, Workbook
    from importer.reading.windows import SheetFacts
    from importer.runtime.progress import Clock
    from importer.settings import Dsn, Settings
    from importer.workers.pool import Pool
    from importer.workers.task_result import Death

    from .stream import Stream
    from .streamed_load import StreamedLoad
    from .workspace import RunContext

#: One worker is used for every so many bytes of XML: reading less takes no longer than starting a worker.
XML_BYTES_PER_WORKER = 1 << 20
#: Sheets of at least that much XML are written while they are read; for smaller ones a connection per worker costs
#: more than it saves (see `load.copy.max_writers`).
STREAM_MIN_BYTES = 8 << 20


def open_source(settings: Settings, clock: Clock, place: Place | None = None) -> tuple[Workbook, Sheet]:
    """Open the workbook and find the sheet that the settings name; no cell is read, unless it is of another format.

    Args:
        settings: settings of the run.
        clock: receives the stage.
        place: the spool folder and the workers, see `open_file`.

    Raises:
        InputError: the workbook or the sheet is refused.
    """
    with clock.stage(Stage.OPEN), contextlib.ExitStack() as until:
        return find_piece(open_file(settings, place, until), settings)


def _do_nothing() -> None:
    pass


def read_source(
    settings: Settings,
    pool: Pool,
    folder: Path,
    clock: Clock,
    opened: tuple[Workbook, Sheet] | None = None,
    between_windows: Callable[[], None] = _do_nothing,
) -> SheetSource:
    """Read the sheet that the settings name into `folder`.

    Args:
        settings: settings of the run, which say what sheet to read and how.
        pool: workers that read.
        folder: the spool folder, where frames are written.
        clock: receives stages and row counts.
        opened: the result of `open_source`, if the caller has it already.
        between_windows: called before the first window and after each; an exception that it raises ends the reading.

    Raises:
        CellsDisputed: the engine reads a cell otherwise.
        InputError: the workbook, the sheet or the header is refused.
    """
    opened = opened or open_source(settings, clock, (folder, pool))
    between_windows()
    with _open_reader(opened, settings, pool, folder, clock) as reader:
        return reader.read(between_windows)


def dispute_note(exc: CellsDisputed) -> str:
    """Return the note of a report on a sheet that the engine has to read."""
    return f"{exc.fact}; so {exc.choice or 'the whole sheet was read by the engine'}"


def read_and_load(
    run: RunContext,
    opened: tuple[Workbook, Sheet],
    stream: Stream,
    unfinished: contextlib.ExitStack,
    between_windows: Callable[[], None],
) -> tuple[SheetSource, StreamedLoad | None]:
    """Read the sheet and, where possible, check and write its rows meanwhile; for the rest see `read_source`.

    Args:
        run: context of the run.
        opened: the result of `open_source`.
        stream: begins the load after the first windows.
        unfinished: enters the load; its owner decides whether to publish it.
        between_windows: see `read_source`.

    Returns:
        The sheet, and the load; None if the sheet was only read.

    Raises:
        CellsDisputed: see `read_source`.
    """
    between_windows()
    with _open_reader(opened, run.settings, run.pool, run.folder, run.clock) as reader:
        return reader.read_and_load(stream, unfinished, between_windows)


@contextlib.contextmanager
def _open_reader(
    opened: tuple[Workbook, Sheet], settings: Settings, pool: Pool, folder: Path, clock: Clock
) -> Iterator[_SheetReader]:
    with clock.stage(Stage.UNPACK):
        workers = 1 if pool.own_process else pool.workers
        sizes = WindowSizes(head_rows(settings), settings.chunk_rows, workers)
        workbook, sheet = opened
        splitter: WindowSplitter | TextSplitter
        if workbook.dialect is not None:
            quick = settings.engine != "calamine"  # there is no engine for texts, but a second, slower look
            splitter = TextSplitter(workbook, workbook.dialect, folder, settings.limits, sizes, quick=quick)
        else:
            splitter = WindowSplitter(workbook, sheet, folder, settings.limits, sizes)
    with splitter:
        yield _SheetReader(opened, splitter, settings, pool, folder, clock)


def _hold_back(tasks: Iterable[ReadTask], tail: deque[ReadTask]) -> Iterator[ReadTask]:
    """Yield all tasks but those of the last rows, which are in `tail` in the end."""
    for task in tasks:
        tail.append(task)
        while sum(map(_rows, tail)) - _rows(tail[0]) >= TAIL_ROWS:
            yield tail.popleft()


def _rows(task: ReadTask) -> int:
    return task.window.last_row - task.window.first_row + 1


class _SheetReader:
    """The reading of one sheet: its tasks and the results so far."""

    def __init__(
        self,
        opened: tuple[Workbook, Sheet],
        splitter: WindowSplitter | TextSplitter,
        settings: Settings,
        pool: Pool,
        folder: Path,
        clock: Clock,
    ) -> None:
        (self._workbook, self._sheet), self._splitter = opened, splitter
        self._settings, self._pool, self._folder, self._clock = settings, pool, folder, clock
        self._strings = folder / "strings.views" if self._workbook.shared_strings else None
        self._formats = read_cell_formats(splitter.styles)
        self._windows: list[WindowRead] = []
        self._rows = 0
        #: Whether all windows were read.
        self._complete = False

    def read(self, between_windows: Callable[[], None]) -> SheetSource:
        """Read the whole sheet."""
        with self._tasks_ahead() as tasks, self._clock.stage(Stage.READ):
            self._parse_strings(None)
            self._take(self._read(tasks), between_windows)
            return self._whole_source()

    def read_and_load(
        self, stream: Stream, unfinished: contextlib.ExitStack, between_windows: Callable[[], None]
    ) -> tuple[SheetSource, StreamedLoad | None]:
        """Read the whole sheet; load the windows after the first ones, if the stream can begin."""
        if begins_far_down(self._workbook.piece) or self._settings.merged == "fill":
            return self.read(between_windows), None
        with self._tasks_ahead() as tasks:
            with self._clock.stage(Stage.READ):
                self._parse_strings(stream.dsn())
                first = head_windows(self._settings) + stream.extra_windows()
                early = (self._with_dsn(task, stream) for task in itertools.islice(tasks, first))
                self._take(self._read(early), between_windows)
                later = list(itertools.islice(tasks, 1))  # one is drawn to see whether there are more
                left = itertools.chain(later, tasks)
                size = self._splitter.xml_bytes
                can = later and not is_head_blank(self._windows, self._settings)
                streamed = stream.begin(self._source_so_far, big=self._is_big(), xml_bytes=size) if can else None
                if streamed is None:
                    self._take(self._read(left), between_windows)
                    return self._whole_source(), None
                unfinished.enter_context(streamed)
            with self._clock.stage(Stage.LOAD):
                tail: deque[ReadTask] = deque()
                self._take(streamed.load(_hold_back(left, tail), self._rows_error), between_windows)
                # Totals and remarks at the end are known only now: its rows are checked and written like those of a
                # sheet that was read before.
                self._take(self._read(tail), between_windows)
                return self._whole_source(), streamed

    @contextlib.contextmanager
    def _tasks_ahead(self) -> Iterator[Iterator[ReadTask]]:
        """Yield the read tasks of all windows; a thread cuts the next ones ahead."""
        if not is_small_part(max(self._splitter.xml_bytes, self._splitter.strings_bytes), self._pool.workers):
            self._pool.use_workers()
        self._pool.limit(max(1, self._splitter.xml_bytes // XML_BYTES_PER_WORKER))
        cut = self._clock.time_items("cutter", "cut", self._splitter.windows())
        with ahead((self._task(window) for window in cut), WINDOWS_AHEAD) as tasks:
            yield tasks

    def _whole_source(self) -> SheetSource:
        self._complete = True
        return settle_table(self._source_so_far(), self._settings)

    def _source_so_far(self) -> SheetSource:
        return self._make_source(self._splitter.facts())

    def _make_source(self, cut: SheetFacts) -> SheetSource:
        windows = sort_windows(self._windows, self._sheet)
        return make_source((self._workbook, self._sheet), cut, windows, self._settings, complete=self._complete)

    def _with_dsn(self, task: ReadTask, stream: Stream) -> ReadTask:
        """Return the task, with a DSN to connect to meanwhile if its worker will write; window 0's always will."""
        return replace(task, dsn=stream.dsn()) if self._is_big() or task.window.number == 0 else task

    def _is_big(self) -> bool:
        return self._splitter.xml_bytes >= STREAM_MIN_BYTES

    def _task(self, window: Window) -> ReadTask:
        return ReadTask(
            window, self._splitter.width(), self._workbook.epoch_1904, self._settings.limits.window_cells,
            self._folder / f"window-{window.number}.arrow", self._strings, self._splitter.styles,
            missing=self._settings.missing, formats=self._formats, engine=self._settings.engine,
            judged=judged_bytes(self._splitter.xml_bytes, window.number), marks=self._settings.footer != "keep",
            dialect=self._workbook.dialect,
        )  # fmt: skip

    def _read(self, tasks: Iterable[ReadTask]) -> Generator[WindowRead, None, None]:
        return self._pool.run(read_window, tasks, self._task_error, again=True)

    def _take(self, results: Generator[WindowRead, None, None], between_windows: Callable[[], None]) -> None:
        with contextlib.closing(results):
            for result in results:
                if result.dispute:
                    again = "the whole file was read again, quote by quote" if result.textual else None
                    raise CellsDisputed(result.dispute, choice=again)
                self._splitter.release(result.number)
                self._count(result)
                self._clock.advance(result.rows)
                between_windows()
                self._windows.append(result)

    def _count(self, result: WindowRead) -> None:
        """Add to the rows read so far; refuse a sheet with more than the limits as soon as that is known."""
        if result.number == 0:
            refuse_wide_head(result, self._workbook.piece, self._settings.limits.columns)
        self._rows += result.rows
        most = self._settings.limits.rows
        if most is not None and self._rows > most:
            raise LimitExceeded(f"the sheet has more than {most:,} rows", choice="split it")

    def _parse_strings(self, dsn: Dsn | None) -> None:
        """Parse the shared strings in the first worker, which also connects if it can, while windows are cut."""
        if self._strings is None or self._workbook.shared_strings is None:
            return
        limits = self._settings.limits
        task = StringsTask(self._workbook.container, self._workbook.shared_strings, limits, self._strings, dsn)
        for _ in self._pool.run(parse_strings, [task], self._strings_error, again=True):
            pass

    def _strings_error(self, _: StringsTask, how: Death) -> ImporterError:
        return self._reader_error("the process that read the shared strings", how)

    def _task_error(self, task: ReadTask, how: Death) -> ImporterError:
        return self._rows_error(task.window.first_row, task.window.last_row, how)

    def _rows_error(self, first_row: int, last_row: int, how: Death) -> ImporterError:
        return self._reader_error(
            f"the process that read sheet {self._sheet.name!r}, rows {first_row}-{last_row},", how
        )

    def _reader_error(self, who: str, how: Death) -> ImporterError:
        return reader_error(who, how, self._workbook.path, self._settings.limits)
