"""Compares importer with what else loads a workbook into PostgreSQL: same files, same server, whole processes in turns.

    pip install -e '.[bench]'
    python bench/peers.py [--to DSN] [--shapes 100k-shared,1m-inline] [--peers importer,polars] [--runs 5]

No time is kept before the rows in the table were counted. The result goes to bench/results/peers.md, .json and .svg.
Peak memory and CPU seconds are those of the client's processes; the server's are not counted for anybody.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contestants import CONTESTANTS, is_here
from measuring import Measured, measure, running_server

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
TABLE = "bench_peers"
#: Most shapes side by side in the chart.
_CHART_COLUMNS = 5
#: Pandas and openpyxl need minutes for a million rows.
SLOW = {"pandas": 100_000}
COLUMNS = ("name", "category", "phone", "email", "address", "city", "country", "website", "description")


@dataclass(frozen=True)
class Shape:
    """A kind of workbook: what the program in `data/` that makes it is told, how many files, where the rows go.

    `asked` are options of importer, where it does not do by default what the others do.
    """

    rows: int
    options: tuple[str, ...]
    files: int = 1
    append: bool = False
    maker: tuple[str, ...] = ("make_businesses.py", "--bad", "0")
    asked: tuple[str, ...] = ()


SHAPES = {
    "10k-shared": Shape(10_000, ("--strings", "shared")),
    "100k-shared": Shape(100_000, ("--strings", "shared")),
    "100k-inline": Shape(100_000, ("--strings", "inline")),
    "1m-shared": Shape(1_000_000, ("--strings", "shared")),
    "1m-inline": Shape(1_000_000, ("--strings", "inline")),
    "1m-numbers": Shape(1_000_000, ("--shape", "numbers")),
    "50k-wide": Shape(50_000, ("--shape", "wide")),
    # The others load error cells as NULL, and do not say so.
    "100k-office": Shape(100_000, (), maker=("make_office.py",), asked=("--error-cells", "null")),
    "16-files": Shape(50_000, ("--strings", "shared"), files=16),
    "1m-append": Shape(1_000_000, ("--strings", "shared"), append=True),
}


@dataclass
class Figures:
    """The runs of one contestant on one shape."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    error: str = ""

    def add(self, run: Measured) -> None:
        """Keep one run."""
        self.seconds.append(run.seconds)
        self.cpu.append(run.cpu)
        self.peak.append(run.peak)


def main() -> None:
    """Run the comparison, print it, and write it down."""
    options = _arguments()
    with running_server(options.to) as dsn:
        figures = _compare(options, dsn)
    _write(figures, options)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", help="server (default: the environment's, else the embedded one)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shapes", default=",".join(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--peers", default=",".join(CONTESTANTS), help=f"of {', '.join(CONTESTANTS)}")
    parser.add_argument("--data", type=Path, default=RESULTS / "workbooks", help="where the workbooks are kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _compare(options: argparse.Namespace, dsn: str) -> dict[str, dict[str, Figures]]:
    found: dict[str, dict[str, Figures]] = {}
    peers = [name for name in options.peers.split(",") if is_here(name)]
    for shape_name in options.shapes.split(","):
        shape = SHAPES[shape_name]
        books = _workbooks(shape_name, shape, options.data)
        taking_part = [p for p in peers if shape.rows * shape.files <= SLOW.get(p, shape.rows * shape.files)]
        figures = found[shape_name] = {name: Figures() for name in taking_part}
        for turn in range(-1, options.runs):  # turn -1 fills the caches and is not counted
            for name in taking_part:
                if not figures[name].error:
                    _run(name, shape, books, dsn, figures[name], counted=turn >= 0)
        print(_table(shape_name, figures), flush=True)
    return found


def _workbooks(name: str, shape: Shape, folder: Path) -> list[Path]:
    """The workbooks of a shape, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = shape.options or (shape.maker[0].removeprefix("make_").removesuffix(".py"),)
    key = f"{shape.rows}-{'-'.join(o.strip('-') for o in kind)}"
    first = folder / f"{key}.xlsx"
    if not first.exists():
        print(f"making {first.name} for {name}", file=sys.stderr)
        made = first.with_suffix(".part")
        program, *told = shape.maker
        maker = [sys.executable, str(ROOT / "data" / program), "--rows", str(shape.rows), *told]
        subprocess.run([*maker, *shape.options, str(made)], check=True)
        made.rename(first)
    books = [first]
    for number in range(1, shape.files):
        books.append(folder / f"{key}-{number}.xlsx")
        # The same rows in another file: equal ones are imported once.
        if not books[-1].is_file() or books[-1].is_symlink():
            books[-1].unlink(missing_ok=True)
            shutil.copyfile(first, books[-1])
            with zipfile.ZipFile(books[-1], "a") as archive:
                archive.comment = str(number).encode()
    return books


def _run(name: str, shape: Shape, books: list[Path], dsn: str, figures: Figures, *, counted: bool) -> None:
    _prepare(dsn, append=shape.append)
    command = CONTESTANTS[name](books, dsn, TABLE, shape.append)
    run = measure([*command, *shape.asked] if name == "importer" else command)
    rows = _count(dsn)
    if run.code or rows != shape.rows * shape.files:
        figures.error = f"{rows:,} of {shape.rows * shape.files:,} rows; {run.errors.strip()[-200:]}"
    elif counted:
        figures.add(run)


def _prepare(dsn: str, *, append: bool) -> None:
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn), autocommit=True) as session:
        session.run(f"DROP TABLE IF EXISTS public.{TABLE}")
        session.run("DROP SCHEMA IF EXISTS importer CASCADE")  # what was imported before would be a no-op
        if append:
            fields = ", ".join(f"{name} text" for name in COLUMNS)
            session.run(f"CREATE TABLE public.{TABLE} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {fields})")
        session.run("CHECKPOINT")


def _count(dsn: str) -> int:
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn)) as session:
        there = session.value("SELECT to_regclass($1)::text", [f"public.{TABLE}"])
        return int(session.value(f"SELECT count(*) FROM public.{TABLE}")) if there else 0


# ---- RESULT -----------------------------------------------------------------------------------------------------


def _table(shape: str, figures: dict[str, Figures]) -> str:
    lines = [
        f"### {shape}\n",
        "| | seconds, median (min-max) | importer takes | CPU s | peak, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    ours = figures.get("importer")
    for name, runs in figures.items():
        if not runs.seconds:
            lines.append(f"| {name} | failed: {runs.error} | | | |")
            continue
        seconds = statistics.median(runs.seconds)
        share = f"{statistics.median(ours.seconds) / seconds:.2f} of it" if ours and ours.seconds else ""
        spread = f"{seconds:.2f} ({min(runs.seconds):.2f}-{max(runs.seconds):.2f})"
        cpu, peak = statistics.median(runs.cpu), max(runs.peak) / 1e6
        lines.append(f"| {name} | {spread} | {'' if name == 'importer' else share} | {cpu:.1f} | {peak:,.0f} |")
    return "\n".join(lines) + "\n"


def _write(found: dict[str, dict[str, Figures]], options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    import os

    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    head = f"{machine}; {options.runs} runs each, in turns.\n\n"
    text = head + "\n".join(_table(shape, figures) for shape, figures in found.items())
    (options.out / "peers.md").write_text(text)
    figures = {shape: {n: asdict(f) for n, f in runs.items()} for shape, runs in found.items()}
    (options.out / "peers.json").write_text(json.dumps({"machine": machine, "shapes": figures}, indent=2))
    _chart(found, options.out / "peers.svg", machine)


def _chart(found: dict[str, dict[str, Figures]], path: Path, machine: str) -> None:
    """Bars of the medians by shape, relative to the slowest that is drawn."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    drawn = {s: {n: f for n, f in runs.items() if f.seconds and n != "pandas"} for s, runs in found.items()}
    columns = min(len(drawn), _CHART_COLUMNS)
    lines = -(-len(drawn) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.2 * columns + 1, 2.7 * lines + 0.3), squeeze=False)
    for axis in axes.flat[len(drawn) :]:
        axis.set_visible(False)
    for axis, (shape, runs) in zip(axes.flat, drawn.items(), strict=False):
        medians = [statistics.median(f.seconds) for f in runs.values()]
        colours = ["#1f6feb" if name == "importer" else "#b8bfc9" for name in runs]
        bars = axis.bar(list(runs), medians, color=colours)
        axis.bar_label(bars, fmt="%.1f", fontsize=8)
        axis.set_title(shape, fontsize=9)
        axis.tick_params(axis="x", rotation=60, labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for line in axes:
        line[0].set_ylabel("seconds (whole process)", fontsize=8)
    figure.suptitle(machine, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
