"""Shows what loading a workbook costs step by step: CPU seconds, in one process and one after the other.

    python bench/steps.py big.xlsx [--to DSN] [--runs 3] [--engine calamine]

Not a run as users start it, where the steps overlap on several cores: what each of them costs, and what none of them
can do without. `bare` are inflating, the engine (all cells are its, with `--engine calamine`) and COPY, which any
program pays that reads with this engine and writes with COPY; the rest is what accounting for every cell costs, and
shared strings. `server` is the backend's own CPU time during COPY (servers on this machine only).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["POLARS_MAX_THREADS"] = "1"

import psutil
from measuring import running_server

from importer.cells.facts import profile
from importer.decoding.engine import Engine
from importer.decoding.shared_strings import parse_strings
from importer.decoding.tasks import ReadTask, StringsTask
from importer.excel.workbook import open_workbook
from importer.number_formats.styles import read_cell_formats
from importer.plan.infer import infer_contract
from importer.plan.model import LoadPlan, match_fields
from importer.plan.target import Target, plan_columns
from importer.postgres.session import Session
from importer.reading import read_window as read
from importer.reading.header import read_header
from importer.reading.windows import HEAD_ROWS, WindowSizes, WindowSplitter
from importer.settings import Dsn, Limits
from importer.stages import preload  # noqa: F401 - as a worker is set up
from importer.table.data_rows import DataRows
from importer.table.header_rows import given_header
from importer.validation.check_window import check_rows
from importer.verification.checksum_frame import source_checksums

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

TABLE = "bench_steps"
BARE = ("cut", "engine", "COPY")


class Steps:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def step(self, name: str, outer: str | None = None) -> Iterator[None]:
        """A step; a part of another one is taken out of that."""
        start = time.process_time()
        try:
            yield
        finally:
            spent = time.process_time() - start
            self.seconds[name] += spent
            if outer:
                self.seconds[outer] -= spent

    def watch(self, owner: Any, function: str, name: str, outer: str) -> Any:
        """Measure a function that a step calls; returns the function as it was."""
        original = getattr(owner, function)

        def measured(*args: Any, **options: Any) -> Any:
            with self.step(name, outer):
                return original(*args, **options)

        setattr(owner, function, measured)
        return original


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workbook", type=Path, help="with a header in its first row")
    parser.add_argument("--to", help="server (default: the environment's, else the embedded one)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", default="builtin", help="builtin (default) or calamine")
    options = parser.parse_args()
    with running_server(options.to) as dsn:
        runs = [_measured(options.workbook, Dsn(dsn), options.engine) for _ in range(options.runs)]
    if not all("COPY" in run for run in runs):
        raise SystemExit(
            f"{options.workbook} has no more rows than the {HEAD_ROWS} of the first window: too few to measure"
        )
    _print(options.workbook, runs)


def _measured(workbook: Path, dsn: Dsn, engine: str) -> dict[str, float]:
    steps = Steps()
    parts = {"find_tags": "find the cells", "find_plain_cells": "find the cells", "decode_cells": "decode cells",
             "decode_window": "find the cells and decode them"}  # fmt: skip
    watched = {name: steps.watch(read, name, step, "rest of reading") for name, step in parts.items()}
    load = steps.watch(Engine, "load", "engine", "rest of reading")
    try:
        with tempfile.TemporaryDirectory() as folder, Session(dsn) as session:
            _load(workbook, Path(folder), session, steps, engine)
            session.run(f"DROP TABLE IF EXISTS public.{TABLE}")
            session.commit()
    finally:
        Engine.load = load  # type: ignore[method-assign]
        for name, function in watched.items():
            setattr(read, name, function)
    return dict(steps.seconds)


def _load(workbook: Path, folder: Path, session: Session, steps: Steps, engine: str) -> None:
    limits = Limits()
    with steps.step("open"):
        opened = open_workbook(workbook, limits)
        sheet = opened.sheet(None)
    strings = folder / "strings.views" if opened.shared_strings else None
    if strings is not None and opened.shared_strings:
        with steps.step("shared strings"):
            parse_strings(StringsTask(workbook, opened.shared_strings, limits, strings))
    backend = _backend(session)
    plan = None
    with WindowSplitter(opened, sheet, folder, limits, WindowSizes(HEAD_ROWS, None, workers=2)) as cutting:
        windows = cutting.windows()
        head: pl.DataFrame | None = None
        while True:
            with steps.step("cut"):
                window = next(windows, None)
            if window is None:
                break
            task = ReadTask(
                window, cutting.width(), opened.epoch_1904, limits.window_cells, folder / "frame", strings,
                cutting.styles, formats=read_cell_formats(cutting.styles), engine=engine, marks=True,
            )  # fmt: skip
            with steps.step("rest of reading"):
                frame, told = read.read_frame(task)
            cutting.release(window.number)
            if head is None:
                head = frame
                continue
            plan = plan or _plan(head, told.columns, session)
            _write((DataRows(after=1).of(frame), told.nul), plan, session, steps, backend)


def _plan(head: pl.DataFrame, facts: Any, session: Session) -> LoadPlan:
    """A plan by the types of the first window, and the table for it."""
    header = read_header(head, given_header(1, 1), set(profile(head)), (), keep_names=False, most_columns=1600)
    contract = infer_contract(list(header.columns), facts)
    found, left = match_fields(contract, list(header.columns), lenient=False)
    plan = LoadPlan(plan_columns(contract, Target("public", TABLE, None), found, {}), tuple(left), (), "UTC", "reject")
    columns = ", ".join(f'"{column.field.name}" {column.pg_type}' for column in plan.columns)
    session.run(f"DROP TABLE IF EXISTS public.{TABLE}")
    session.run(f"CREATE UNLOGGED TABLE public.{TABLE} ({columns})")
    session.commit()
    return plan


def _write(
    read: tuple[pl.DataFrame, bool], plan: LoadPlan, session: Session, steps: Steps, backend: psutil.Process | None
) -> None:
    """Check and write the rows of a window, given with whether a text may hold NUL."""
    rows, nul = read
    with steps.step("check"):
        accepted = check_rows(rows, plan, [], may_hold_nul=nul).accepted.drop("_row")
    with steps.step("checksums"):
        source_checksums(accepted, "crc32c")
    before = _seconds(backend)
    with steps.step("COPY"):
        session.copy(accepted, "public", TABLE)
        session.commit()
    steps.seconds["server"] += _seconds(backend) - before


def _backend(session: Session) -> psutil.Process | None:
    try:
        found = psutil.Process(int(session.value("SELECT pg_backend_pid()")))
        return found if "postgres" in found.name() else None
    except psutil.Error:
        return None


def _seconds(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    spent = process.cpu_times()
    return spent.user + spent.system


def _print(workbook: Path, runs: list[dict[str, float]]) -> None:
    median = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in runs[0]}
    ours = sum(seconds for name, seconds in median.items() if name != "server")
    bare = sum(median.get(name, 0.0) for name in BARE)
    print(f"{workbook.name}: CPU seconds of each step, medians of {len(runs)}\n")
    print("| step | CPU, s |\n|---|---:|")
    for name in sorted(median, key=lambda name: (name == "server", -median[name])):
        print(f"| {name}{' (bare)' if name in BARE else ''} | {median[name]:.2f} |")
    print(f"| all but the server | {ours:.2f} |\n| bare | {bare:.2f} |\n\nall / bare = {ours / bare:.2f}")


if __name__ == "__main__":
    main()
