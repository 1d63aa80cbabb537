"""Measures the service: small uploads at once, its memory meanwhile, and a large upload beside the command line.

    python bench/service.py [--to DSN] [--uploads 60] [--large big.xlsx --runs 3]

Every small upload is another workbook of 1,000 rows for the same table; the rows in it are counted before a time is
printed. `--large` is sent to the service and loaded by `importer run`, in turns, into a fresh table each time; make one
with `data/make_businesses.py --rows 1000000 --strings inline big.xlsx`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import psutil
import xlsxwriter
from measuring import measure, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = "bench_service_small", "bench_service_large"
CONCURRENCY = (1, 4, 16)
ROWS = 1_000


def main() -> None:
    """Measure, and print the figures as tables."""
    options = _arguments()
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(running_server(options.to))
        _sql(dsn, f"DROP TABLE IF EXISTS public.{SMALL}, public.{LARGE}")
        url, memory = stack.enter_context(_service(dsn))
        load = f"load average {os.getloadavg()[0]:.2f} before, "
        _small(options, dsn, url, memory)
        if options.large:
            _large(options, dsn, url)
        print(load + f"{os.getloadavg()[0]:.2f} after")
        _sql(dsn, f"DROP TABLE IF EXISTS public.{SMALL}, public.{LARGE}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", help="server (default: the environment's, else the embedded one)")
    parser.add_argument("--uploads", type=int, default=60, help="small uploads at each concurrency")
    parser.add_argument("--large", type=Path, help="a large workbook")
    parser.add_argument("--runs", type=int, default=3, help="of the large workbook, each way")
    return parser.parse_args()


@contextlib.contextmanager
def _service(dsn: str) -> Iterator[tuple[str, Memory]]:
    """A service of our own, and what watches its memory."""
    with tempfile.TemporaryDirectory(prefix="ib-") as folder, (Path(folder) / "out").open("w+") as out:
        command = [sys.executable, "-m", "importer", "serve", "--port", "0", "--to", dsn, "--queue", "64"]
        command += ["--folder", f"{folder}/s", "--allow-tables", "bench_service_*"]
        process = subprocess.Popen(command, stdout=out)
        try:
            while not (found := re.search(r"http://\S+:\d+", Path(out.name).read_text())):
                if process.poll() is not None:
                    raise SystemExit("the service did not start")
                time.sleep(0.05)
            with Memory(process.pid) as memory:
                yield found[0], memory
        finally:
            process.terminate()
            process.wait()


class Memory:
    """Watches the proportional memory (PSS) of a process tree, once a second; its points are MB."""

    def __init__(self, pid: int) -> None:
        self.points: list[float] = []
        self._root = psutil.Process(pid)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(1.0):
            total = 0
            with contextlib.suppress(psutil.Error):
                for process in [self._root, *self._root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        total += getattr(process.memory_full_info(), "pss", 0)
            self.points.append(total / 1e6)


def _small(options: argparse.Namespace, dsn: str, url: str, memory: Memory) -> None:
    print(f"{ROWS:,} rows a workbook, {options.uploads} uploads at each concurrency, 2 imports at once\n")
    print("| at once | uploads/s | median, s | p95, s | rows/s | memory, MB: first, most, last |")
    print("|---:|---:|---:|---:|---:|---:|")
    _send_all(url, [_workbook(-1 - n) for n in range(4)], 2)  # warms the children, not counted
    sent = 4
    for at_once in CONCURRENCY:
        books = [_workbook(1000 * at_once + n) for n in range(options.uploads)]
        before = len(memory.points)
        start = time.perf_counter()
        times = sorted(_send_all(url, books, at_once))
        seconds = time.perf_counter() - start
        time.sleep(1.1)
        sent += len(books)
        rows = _sql(dsn, f"SELECT count(*) FROM public.{SMALL}")
        if rows != sent * ROWS:
            raise SystemExit(f"{rows} rows in the table, {sent * ROWS} sent")
        points = memory.points[before:]
        held = f"{points[0]:.0f}, {max(points):.0f}, {points[-1]:.0f}"
        p95 = times[max(0, int(len(times) * 0.95) - 1)]
        print(
            f"| {at_once} | {len(books) / seconds:.2f} | {statistics.median(times):.3f} | {p95:.3f} | "
            f"{len(books) * ROWS / seconds:,.0f} | {held} |",
            flush=True,
        )


def _send_all(url: str, books: list[bytes], at_once: int) -> list[float]:
    with httpx.Client(base_url=url, timeout=300, trust_env=False) as client, ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda book: _send(client, book), books))


def _send(client: httpx.Client, book: bytes) -> float:
    start = time.perf_counter()
    answer = client.post("/upload", params={"table": SMALL}, files={"file": ("small.xlsx", book)})
    if answer.status_code != 200 or answer.json()["stats"]["success_count"] != ROWS:
        raise SystemExit(answer.text)
    return time.perf_counter() - start


def _workbook(number: int) -> bytes:
    """A workbook that differs from all others."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["book", "row", "name", "city", "amount"])
        for row in range(1, ROWS + 1):
            sheet.write_row(row, 0, [number, row, f"name {row} of {number}", f"city {row % 40}", row * 0.25])
    return content.getvalue()


def _large(options: argparse.Namespace, dsn: str, url: str) -> None:
    ways = {"command line": _by_command, "HTTP": _by_http}
    times: dict[str, list[float]] = {name: [] for name in ways}
    counts = set()
    for _ in range(options.runs):
        for name, load in ways.items():
            _sql(dsn, f"DROP TABLE IF EXISTS public.{LARGE}")
            times[name].append(load(options.large, dsn, url))
            counts.add(_sql(dsn, f"SELECT count(*) FROM public.{LARGE}"))
    if len(counts) != 1:
        raise SystemExit(f"the tables had {counts} rows")
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"\n{options.large.name}, {counts.pop():,} rows loaded, {options.runs} runs each in turns\n")
    print("| way | seconds: median (min-max) | of the command line |\n|---|---:|---:|")
    for name, values in times.items():
        spread = f"{medians[name]:.2f} ({min(values):.2f}-{max(values):.2f})"
        print(f"| {name} | {spread} | {medians[name] / medians['command line']:.2f} |")


def _by_command(path: Path, dsn: str, _url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "importer", "run", str(path), "--to", dsn, "--table", LARGE, "--json"]
        ran = measure([*command, "--rejects", f"{folder}/r.xlsx"])
    if json.loads(ran.output)["outcome"] != "published":
        raise SystemExit(ran.output)
    return ran.seconds


def _by_http(path: Path, _dsn: str, url: str) -> float:
    start = time.perf_counter()
    with path.open("rb") as file, httpx.Client(base_url=url, timeout=900, trust_env=False) as client:
        answer = client.post("/upload", params={"table": LARGE}, files={"file": (path.name, file)})
    if answer.status_code != 200 or answer.json()["outcome"] != "published":
        raise SystemExit(answer.text)
    return time.perf_counter() - start


def _sql(dsn: str, sql: str) -> int:
    from importer.postgres.session import Session
    from importer.settings import Dsn

    with Session(Dsn(dsn), autocommit=True) as session:
        return int(session.value(sql) or 0) if sql.startswith("SELECT") else session.run(sql)


if __name__ == "__main__":
    main()
