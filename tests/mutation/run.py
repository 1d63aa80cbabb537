"""Runs the tests of a module against its mutants, and prints those that no test noticed.

    python tests/mutation/run.py [--sample 40] [--seed 1] [importer/ledger/history.py ...]
    python tests/mutation/run.py importer/ledger/history.py:88,120    # those of two lines

Each mutant stands in a copy of the checkout, and has an empty database on a server of its own. What fails, hangs or
cannot be imported was noticed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "mutation")]

from forked import Forked  # noqa: E402
from mutants import Mutant, mutants  # noqa: E402
from support.asking import user_session  # noqa: E402
from support.faults import Server, own_server  # noqa: E402

from importer.settings import Dsn  # noqa: E402

_LEDGER = ["tests/ledger/test_ledger.py", "-k", "not patience and not eight_threads and not newer_ledger"]
_REJECTS = ["tests/report/test_rejects.py", "tests/report/test_rejects_file.py", "tests/report/test_mending.py"]
_KEPT = ["tests/report/test_kept_rejects.py"]
_PUBLISH = [
    "tests/load/test_publish.py",
    "tests/load/test_upsert.py",
    "tests/plan/test_drift.py",
    "tests/postgres/test_privileges.py",
    "-k",
    "not sampling and not many_first",
]
_STREAMED = [
    "tests/load/test_direct.py",
    "tests/load/test_few_rows.py",
    "tests/stages/test_streamed_load.py",
    "tests/stages/test_streaming.py",
]
_REFUSALS = ["tests/load/test_insert_bisect.py", "tests/load/test_upsert.py", "tests/stages/test_refusals.py"]
_CHECKSUMS = ["tests/verification/test_checksums.py", "tests/postgres/test_encodings.py"]
_RESUME = ["tests/ledger/test_ledger.py", "tests/run", "tests/faults/test_faults.py"]
_DECODE = ["tests/columns", "tests/reading/test_windows.py", "tests/decoding/test_traps.py"]
_NUMBERS = ["tests/numbers", "tests/columns", "tests/decoding/test_formats_padded.py"]
_FORMATS = ["tests/number_formats", "tests/decoding/test_formats_padded.py"]
#: The modules that keep the promise, and pytest's arguments for the tests that hold them.
TESTS = {
    "importer/columns/alike_tags.py": _DECODE,
    "importer/columns/attributes.py": _DECODE,
    "importer/columns/cell_tags.py": _DECODE,
    "importer/columns/decode.py": _DECODE,
    "importer/columns/digits.py": _NUMBERS,
    "importer/columns/plain_cells.py": _DECODE,
    "importer/columns/row_numbers.py": _DECODE,
    "importer/columns/texts.py": _DECODE,
    "importer/columns/values.py": _DECODE,
    "importer/number_formats/date_serials.py": ["tests/columns", "tests/decoding"],
    "importer/decoding/iso_dates.py": ["tests/decoding/test_iso_dates.py"],
    "importer/decoding/tag_scan.py": [*_DECODE, "tests/excel/test_foreign.py", "tests/excel/test_hostile.py"],
    "importer/number_formats/number_format.py": _FORMATS,
    "importer/number_formats/tokens.py": _FORMATS,
    "importer/ledger/history.py": [
        "tests/ledger/test_ledger.py",
        "tests/faults/test_leftovers.py",
        "-k",
        "runs_ or forgotten or leftovers_are or killed_check",
    ],
    "importer/ledger/locks.py": _LEDGER,
    "importer/ledger/rejects.py": _KEPT,
    "importer/ledger/tables.py": _RESUME,
    "importer/load/direct_copy.py": _STREAMED,
    "importer/load/insert_bisect.py": _REFUSALS,
    "importer/load/insert_select.py": [*_REFUSALS, "tests/plan/test_lineage.py"],
    "importer/load/publish.py": _PUBLISH,
    "importer/load/staging.py": [*_PUBLISH, *_STREAMED, "tests/contract/test_contract.py"],
    "importer/load/target_lock.py": ["tests/load/test_changed_target.py", "tests/faults/test_isolation.py"],
    "importer/verification/checksum_frame.py": _CHECKSUMS,
    "importer/verification/checksum_sql.py": _CHECKSUMS,
    "importer/verification/verify.py": [
        "tests/load/test_publish.py",
        "tests/validation/test_long_texts.py",
        "-k",
        "verification or staging_that_changes or long",
    ],
    "importer/reading/row_splitter.py": ["tests/reading/test_row_splitter.py", "tests/reading/test_windows.py"],
    "importer/reading/windows.py": ["tests/reading/test_windows.py", "tests/reading/test_sparse_sheets.py"],
    "importer/report/rejects/workbook.py": _REJECTS,
    "importer/report/rejects/cells.py": _REJECTS,
    "importer/report/rejects/files.py": [*_REJECTS, *_KEPT],
    "importer/report/rejects/kept.py": _KEPT,
    "importer/run/import_key.py": [
        "tests/ledger/test_ledger.py",
        "-k",
        "another or how_it or contract_is or setting or key_of",
    ],
    "importer/run/lease.py": [*_RESUME, *_STREAMED],
    "importer/run/lease_holder.py": [*_RESUME, *_STREAMED],
    "importer/run/outcome.py": _RESUME,
    "importer/run/recovery.py": _RESUME,
    "importer/run/staging_state.py": _RESUME,
    "importer/stages/commit.py": [*_RESUME, *_REFUSALS, *_KEPT, "tests/report/test_rejects.py"],
    "importer/stages/load.py": [*_STREAMED, *_REFUSALS, "tests/load/test_sequences.py"],
    "importer/stages/streamed_load.py": _STREAMED,
}
_COPIED = ("importer", "tests", "data", ".github", "README.md", "pyproject.toml")


def main() -> int:
    """Print the survivors and the counts of each module; the exit code is 1 if the tests fail without a mutant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(TESTS), help="by default all that keep the promise")
    parser.add_argument("--sample", type=int, help="so many mutants of each module, chosen by --seed")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # So that the server ends with what kills this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with own_server() as server, tempfile.TemporaryDirectory(prefix="im-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        return max(_try_module(server, copy, module, given.sample, given.seed) for module in given.modules)


def _choose(source: str, lines: str, sample: int | None, seed: int) -> list[Mutant]:
    """Mutants of a module: of the given lines (`7,9`), or else all or so many of them."""
    wanted = {int(line) for line in lines.split(",") if line}
    every = [m for m in mutants(source) if not wanted or m.line in wanted]
    return every if sample is None or sample >= len(every) else random.Random(seed).sample(every, sample)


def _try_module(server: Server, copy: Path, given: str, sample: int | None, seed: int) -> int:
    module, _, lines = given.partition(":")
    source = (copy / module).read_text()
    chosen = _choose(source, lines, sample, seed)
    begun, survivors = time.monotonic(), 0
    with Forked(copy, module, TESTS[module], "--dsn", server.dsn.text) as forked:
        _empty(server)
        if not forked.begin():
            print(f"{module}: its tests fail without a mutant", flush=True)
            return 1
        print(f"{module}: its tests take {time.monotonic() - begun:.0f} s", flush=True)
        for mutant in sorted(chosen, key=lambda m: m.start):
            _empty(server)
            if _survives(copy / module, mutant, source, forked):
                survivors += 1
                print(f"{module}:{mutant.show(source)}", flush=True)
    spent = time.monotonic() - begun
    print(f"{module}: {survivors} of {len(chosen)} survive ({len(mutants(source))} in all), {spent:.0f} s", flush=True)
    return 0


def _survives(path: Path, mutant: Mutant, source: str, forked: Forked) -> bool:
    path.write_text(mutant.apply(source))
    try:
        return not forked.notices(source, mutant.line)
    finally:
        path.write_text(source)


def _empty(server: Server) -> None:
    with user_session(Dsn(f"{server.dsn.text.removesuffix('postgres')}template1"), autocommit=True) as session:
        session.run("DROP DATABASE IF EXISTS postgres WITH (FORCE)")
        session.run("CREATE DATABASE postgres TEMPLATE template0")


if __name__ == "__main__":
    sys.exit(main())
