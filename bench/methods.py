"""Compares the three methods on the sample's 10,000 rows, and us with polars' three lines, on one server in one run.

    python bench/methods.py [--to DSN] [--runs 5] [--workbook data/businesses.xlsx]

Every run is a process of its own (as a user starts it), the methods take turns, and no time is printed before the rows
in the table were counted. `duration` is the report's own (without the interpreter's start), `process` the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from contestants import CONTESTANTS
from measuring import measure, running_server

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("sequential", "concurrent", "batch")
TABLE = "bench_methods"


@dataclass
class Runs:
    """The figures of one contestant."""

    process: list[float] = field(default_factory=list)
    duration: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    rows: int = 0


def main() -> None:
    """Run the comparison and print it as a table."""
    options = _arguments()
    with running_server(options.to) as dsn:
        _compare(options, dsn)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", help="server (default: the environment's, else the embedded one)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workbook", type=Path, default=ROOT / "data" / "businesses.xlsx")
    parser.add_argument("--contract", type=Path, help="contract for importer (default: types are inferred)")
    everybody = ",".join((*METHODS, "polars"))
    parser.add_argument("--only", default=everybody, help=f"contestants, of {everybody}")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


def _compare(options: argparse.Namespace, dsn: str) -> None:
    contestants = {name: Runs() for name in options.only.split(",")}
    for turn in range(-1, options.runs):  # turn -1 warms the caches and is not counted
        for name, runs in contestants.items():
            if turn < 0 and name in {"sequential", "concurrent"}:
                continue
            figures = _polars(options, dsn) if name == "polars" else _importer(options, dsn, name)
            runs.rows = figures[3]
            if turn >= 0:
                runs.process.append(figures[0])
                runs.duration.append(figures[1])
                runs.peak.append(figures[2])
    _print(contestants, options)


def _importer(options: argparse.Namespace, dsn: str, method: str) -> tuple[float, float, int, int]:
    rejects = Path(os.devnull).parent / "shm" / f"bench-{os.getpid()}.csv"
    rejects = rejects if rejects.parent.is_dir() else ROOT / "bench-rejects.csv"
    _drop(dsn)
    command = [sys.executable, "-m", "importer", "run", str(options.workbook), "--to", dsn, "--table", TABLE]
    command += ["--method", method, "--json", "--rejects", str(rejects)]
    command += ["--contract", str(options.contract)] if options.contract else []
    run = measure(command)
    rejects.unlink(missing_ok=True)
    report = json.loads(run.output)
    if run.code not in {0, 1} or report["outcome"] != "published":
        raise SystemExit(f"{method} failed: {run.output}")
    rows = _count(dsn)
    if rows != report["stats"]["success_count"]:
        raise SystemExit(f"{method}: {rows} rows in the table, {report['stats']['success_count']} reported")
    return run.seconds, report["stats"]["duration"], run.peak, rows


def _polars(options: argparse.Namespace, dsn: str) -> tuple[float, float, int, int]:
    _drop(dsn)
    run = measure(CONTESTANTS["polars"]([options.workbook], dsn, TABLE, False))
    if run.code:
        raise SystemExit(f"polars failed: {run.errors}")
    return run.seconds, run.seconds, run.peak, _count(dsn)


def _drop(dsn: str) -> None:
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn), autocommit=True) as session:
        session.run(f"DROP TABLE IF EXISTS public.{TABLE}")


def _count(dsn: str) -> int:
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn)) as session:
        return int(session.value(f"SELECT count(*) FROM public.{TABLE}"))


def _print(contestants: dict[str, Runs], options: argparse.Namespace) -> None:
    base = contestants.get("sequential")
    slowest = statistics.median(base.duration) if base else None
    print(f"{options.workbook.name}, {options.runs} runs each in turns; medians (min-max)\n")
    widths = (10, 9, 22, 10, 8, 22, 8)
    titles = ("method", "rows", "duration, s", "records/s", "speed-up", "process, s", "peak, MB")
    print("| " + " | ".join(title.rjust(width) for title, width in zip(titles, widths, strict=True)) + " |")
    print("|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    for name, runs in contestants.items():
        duration = statistics.median(runs.duration)
        factor = f"{slowest / duration:.1f}" if slowest and name in METHODS else ""
        figures = (
            name,
            f"{runs.rows:,}",
            _spread(runs.duration),
            f"{runs.rows / duration:,.0f}",
            factor,
            _spread(runs.process),
            f"{max(runs.peak) / 1e6:.0f}",
        )
        print("| " + " | ".join(text.rjust(width) for text, width in zip(figures, widths, strict=True)) + " |")
    if options.json:
        options.json.write_text(json.dumps({name: vars(runs) for name, runs in contestants.items()}, indent=2))


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
