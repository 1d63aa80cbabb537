"""The command line: help, exit codes, JSON, quiet, progress, messages, and no password anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from support.commandline import assert_clean, importer, started
from support.rawbook import RawBook, RawSheet, inline, row, write_rows

from importer.cli.commands import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Database

HEAVY = (
    "polars",
    "pyarrow",
    "fastexcel",
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "rich",
    "numpy",
    "isal",
    "xlsxwriter",
    "yaml",
    "psutil",
)
GOOD = row(1, inline("A1", "Name"), inline("B1", "Age")) + "".join(
    row(n, inline(f"A{n}", f"p{n}"), f'<c r="B{n}"><v>{n}</v></c>') for n in range(2, 5)
)
BAD = GOOD + row(5, inline("A5", "p5"), '<c r="B5" t="e"><v>#N/A</v></c>')
SECRET = "s3cr3tpw"


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its path, the groups included."""
    yield path, group
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
#: `db psql` passes everything on, `--help` too.
HELPFUL = [path for path in COMMANDS if path != ("db", "psql")]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "good.xlsx", GOOD, name="People")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "bad.xlsx", BAD, name="People")


# ---- HELP -------------------------------------------------------------------------------------------------------


def test_cli_has_the_commands() -> None:
    assert sorted(" ".join(path) for path in COMMANDS) == [
        "",
        "check",
        "completion",
        "contract",
        "db",
        "db psql",
        "db start",
        "db stop",
        "db url",
        "inspect",
        "plan",
        "run",
        "runs",
        "runs clean",
        "runs forget",
        "runs prune",
        "runs setup",
        "runs show",
        "serve",
        "watch",
    ]


@pytest.mark.parametrize("path", HELPFUL, ids=" ".join)
def test_help_of_every_command(path: tuple[str, ...]) -> None:
    ran = importer(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: importer {' '.join(path)}".rstrip())
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in ran.out


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_documented(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.endswith((".", "]")), parameter.help


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["db", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nsys.argv[1:] = " + repr(arguments) + "\nfrom importer.__main__ import main\n"
        "try: main()\nexcept SystemExit as exc: code = exc.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.stdout.splitlines()[-1] == "[] 0", ran.stderr


def test_help_of_run_has_sections() -> None:
    shown = importer("run", "--help").out
    titles = ["What to read:", "Where to:", "What is bad:", "When it fails:", "How it is done:", "Output:"]
    places = [shown.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    assert "\nOther:\n" not in shown


@pytest.mark.parametrize(
    ("arguments", "proposed"),
    [
        (["my data.xlsx", "--table", "t"], "importer run 'my data.xlsx' --table t"),
        (["inpsect", "a.xlsx"], "importer inspect"),
    ],
)
def test_word_that_is_no_command_gets_a_proposal(arguments: list[str], proposed: str) -> None:
    ran = importer(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"Did you mean: {proposed}\n" in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script asks the program, which then answers with commands."""
    script = importer("completion", shell)
    assert (script.code, "_IMPORTER_COMPLETE" in script.out) == (0, True)
    words = {
        "_IMPORTER_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "importer ru",
        "COMP_CWORD": "ru" if shell == "fish" else "1",
    }
    answered = importer(env=words)
    assert "run" in answered.out.replace(",", " ").split()


def test_version() -> None:
    ran = importer("--version")
    assert (ran.code, ran.out) == (0, "importer, version 0.1.0\n")


def test_console_script(good: Path) -> None:
    script = shutil.which("importer", path=str(Path(sys.executable).parent))
    assert script, "the package is installed with its script"
    with started(script, "inspect", str(good), "--json") as running:
        ran = running.finish()
    assert (ran.code, ran.err, ran.json["sheet"]) == (0, "", "People")


# ---- EXIT CODES AND REPORTS -------------------------------------------------------------------------------------


def load(db: Database, *arguments: Any, **options: Any) -> Any:
    return importer("run", *arguments, "--to", db.dsn.text, **options)


def test_exit_0_done(db: Database, good: Path) -> None:
    ran = load(db, good, cwd=good.parent)
    assert (ran.code, ran.err) == (0, "")
    assert "3 of 3 rows loaded into" in ran.out
    assert_clean(ran)
    assert db.rows("select name, age from good order by age") == [("p2", 2), ("p3", 3), ("p4", 4)]


def test_exit_1_some_rejected(db: Database, bad: Path) -> None:
    ran = load(db, bad, cwd=bad.parent)
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("3 of 4 rows loaded into")
    assert lines[0].endswith(".bad, 1 rejected")
    assert lines[1] == f"rejects: {bad.parent / 'bad.rejects.xlsx'}"
    assert "age|error-cell" in ran.out
    assert "People!B5" in ran.out
    # Columns of zeros, stages and rates are left out.
    assert "+ rejected" in ran.out
    assert "+ missing" not in ran.out
    assert "rows/s" not in ran.out
    assert (bad.parent / "bad.rejects.xlsx").exists()
    assert db.rows("select count(*) from bad") == [(3,)]


def test_exit_0_within_a_budget(db: Database, bad: Path) -> None:
    assert load(db, bad, "--max-rejects", "25%", cwd=bad.parent).code == 0
    assert db.rows("select count(*) from bad") == [(3,)]


def test_exit_2_usage(good: Path) -> None:
    for arguments in (
        ["run"],
        ["run", good, "--nope"],
        ["run", good, "--mode", "upset"],
        ["nope"],
        ["run", good, "--max-rejects", "x"],
        ["run", good, "--workers", "-1"],
    ):
        ran = importer(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert ran.err


def test_exit_3_input(db: Database, good: Path) -> None:
    ran = load(db, good.with_name("gone.xlsx"))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == f"importer: no file '{good.with_name('gone.xlsx')}'\n  try:   workbooks there: good.xlsx\n"


def test_exit_4_database(good: Path) -> None:
    ran = importer("run", good, "--to", "postgresql://me@localhost:1/db", "--retry-for", 0)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("importer: cannot connect: connection to server at")
    assert "  where: postgresql://me@localhost:1/db\n" in ran.err
    assert "  try:   check --to, IMPORTER_DSN or DATABASE_URL" in ran.err
    assert_clean(ran)


def test_exit_5_over_budget(db: Database, bad: Path) -> None:
    """The report is shown, the rejects are written, the table is not there."""
    ran = load(db, bad, "--max-rejects", "0", "--rejects", "r.csv", cwd=bad.parent)
    assert ran.code == 5
    assert "NOT loaded into" in ran.out
    assert "age|error-cell" in ran.out
    assert ran.err.startswith("importer: 1 of 4 rows were rejected, over the budget of 0; nothing was published")
    assert len((bad.parent / "r.csv").read_text().splitlines()) == 2
    assert db.rows("select to_regclass('bad')::text") == [(None,)]
    assert db.leftovers() == []
    assert_clean(ran)


def test_check_leaves_no_trace(db: Database, good: Path) -> None:
    ran = importer("check", good, "--to", db.dsn.text, "--json", cwd=good.parent)
    assert (ran.code, ran.json["outcome"], ran.json["stats"]["success_count"]) == (0, "checked", 3)
    assert db.rows("select to_regclass('good')::text") == [(None,)]
    assert db.leftovers() == []


COLUMN_KEYS = ["letter", "header", "name", "kinds", "type", "cells", "loaded", "missing", "ignored", "rejected"]


def test_json_of_a_run(db: Database, bad: Path) -> None:
    ran = load(db, bad, "--json", "--table", "people", "--columns", "B", cwd=bad.parent)
    assert (ran.code, ran.err) == (1, "")
    report = ran.json
    assert report["outcome"] == "published"
    assert report["workbook"]["sha256"] == hashlib.sha256(bad.read_bytes()).hexdigest()
    assert (report["workbook"]["name"], report["sheet"], report["header_row"]) == ("bad.xlsx", "People", 1)
    assert {k: report["target"][k] for k in ("schema", "table", "mode", "created")} == {
        "schema": db.schema,
        "table": "people",
        "mode": "append",
        "created": True,
    }
    assert [list(c) for c in report["columns"]] == [COLUMN_KEYS] * 2
    name, age = report["columns"]
    assert {k: name[k] for k in ("letter", "header", "cells", "loaded", "missing", "ignored", "rejected")} == {
        "letter": "A", "header": "Name", "cells": 4, "loaded": 0, "missing": 0, "ignored": 4, "rejected": 0,
    }  # fmt: skip
    assert age == {
        "letter": "B", "header": "Age", "name": "age", "kinds": {"number": 3, "error": 1}, "type": "bigint",
        "cells": 4, "loaded": 3, "missing": 0, "ignored": 0, "rejected": 1,
    }  # fmt: skip
    stats = report["stats"]
    assert (stats["total_records"], stats["success_count"], stats["error_count"]) == (4, 3, 1)
    assert stats["success_count"] + stats["error_count"] == stats["total_records"]
    assert stats["duration"] > 0
    assert stats["records_per_second"] == pytest.approx(4 / stats["duration"], abs=0.1)
    assert report["rejects"]["by_rule"] == [
        {"key": "age|error-cell", "column": "age", "rule": "error-cell", "count": 1, "example": "People!B5"}
    ]
    assert Path(report["rejects"]["file"]).exists()
    assert set(report["timings"]) >= {"open", "read", "plan", "validate", "write", "verify", "publish"}


def test_json_over_budget(db: Database, bad: Path) -> None:
    ran = load(db, bad, "--json", "--max-rejects", "0", cwd=bad.parent)
    assert ran.code == 5
    assert ran.json["outcome"] == "over-budget"
    assert ran.json["stats"]["error_count"] == 1
    assert (ran.json["error"]["type"], ran.json["error"]["exit_code"]) == ("BudgetExceeded", 5)


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (["run", "gone.xlsx", "--json"], "WorkbookRefused", 3),
        (["inspect", "gone.xlsx", "--json"], "WorkbookRefused", 3),
        (["run", "good.xlsx", "--json", "--sheet", "Nope"], "SheetError", 3),
        (
            ["run", "good.xlsx", "--json", "--retry-for", "0", "--to", "postgresql://localhost:1/d"],
            "ConnectionFailed",
            4,
        ),
        (["run", "good.xlsx", "--json", "--timezone", "Nope/Nope"], "UsageError", 2),
        (["run", "good.xlsx", "--json", "--nope"], "UsageError", 2),
        (["run", "--json"], "UsageError", 2),
    ],
)
def test_json_of_a_failure(good: Path, arguments: list[str], kind: str, code: int) -> None:
    """One document on stdout, whatever fails, and the message for people on stderr."""
    ran = importer(*arguments, cwd=good.parent, env={"IMPORTER_DSN": "postgresql://localhost:1/d"})
    assert ran.code == code
    assert (ran.json["outcome"], ran.json["error"]["type"], ran.json["error"]["exit_code"]) == ("failed", kind, code)
    assert set(ran.json["error"]) == {"type", "message", "place", "choice", "exit_code"}
    assert ran.json["error"]["message"].splitlines()[0] in ran.err
    assert "Traceback" not in ran.err


def test_quiet_prints_nothing_on_success(db: Database, good: Path, bad: Path) -> None:
    ran = load(db, good, "--quiet", cwd=good.parent)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = load(db, bad, "-q", cwd=bad.parent)
    assert (ran.code, ran.out, ran.err) == (1, "", "")
    ran = load(db, bad, "-q", "--max-rejects", "0", "--again", cwd=bad.parent)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith("importer: 1 of 4 rows were rejected")


# ---- MESSAGES ---------------------------------------------------------------------------------------------------


def test_wrong_sheet_lists_the_sheets(good: Path) -> None:
    path = RawBook([RawSheet(GOOD, name="People"), RawSheet(GOOD, name="Old", state="hidden")]).write(
        good.parent / "two.xlsx"
    )
    ran = importer("inspect", path, "--sheet", "Peple")
    assert ran.code == 3
    assert ran.err == "importer: no sheet 'Peple'\n  where: two.xlsx\n  try:   worksheets: 'People', 'Old'\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.json", "{", "c.json"),
        ("c.json", '{"fields": [{"name": "x", "type": "nope"}]}', "nope"),
        ("c.json", '{"fields": [{"name": "missing", "type": "string"}]}', "missing"),
        ("c.yaml", "fields: [", "c.yaml"),
        ("c.toml", "fields = ", "c.toml"),
        ("c.txt", "hello", "c.txt"),
    ],
)
def test_wrong_contract(db: Database, good: Path, name: str, text: str, message: str) -> None:
    (good.parent / name).write_text(text)
    ran = load(db, good, "--contract", name, cwd=good.parent)
    assert (ran.code, ran.out) == (3, "")
    assert message in ran.err
    assert_clean(ran)


def test_missing_contract(good: Path) -> None:
    ran = importer("run", good, "--contract", "gone.json", "--to", "postgresql://localhost:1/d", cwd=good.parent)
    assert ran.code == 3
    assert "gone.json" in ran.err
    assert "Traceback" not in ran.err


def test_wrong_column(db: Database, good: Path) -> None:
    ran = load(db, good, "--columns", "Name,Nope", cwd=good.parent)
    assert ran.code == 3
    assert "Nope" in ran.err
    assert "columns: age, name" in ran.err


@pytest.mark.parametrize("table", ["no_such_schema.t", "a.b.c", "x" * 64])
def test_wrong_table(db: Database, good: Path, table: str) -> None:
    ran = load(db, good, "--table", table, cwd=good.parent)
    assert ran.code in {2, 4}
    assert re.search(r"no_such_schema|a\.b\.c|x{60}", ran.err)
    assert_clean(ran)
    assert db.leftovers() == []


def test_rejects_file_that_cannot_be_written(db: Database, bad: Path) -> None:
    for name in ("r.xlsx", "r.csv", "r.parquet"):
        ran = load(db, bad, "--rejects", f"bad.xlsx/{name}", cwd=bad.parent)
        assert (ran.code, ran.out) == (4, ""), ran.err
        assert "bad.xlsx" in ran.err
        assert "unexpected" not in ran.err
        assert db.rows("select to_regclass('bad')::text") == [(None,)]


WRONG_DSNS = [
    "postgresql://u:{}@localhost:1/db", "postgresql://u:x@{}@localhost:1/db", "postgresql://u:x/{}@localhost:1/db", "postgresql://u:{}%zz@localhost/db",
    "postgresql://u:{} y@localhost/db", "postgresql://u:x {}@localhost/db", "postgresql://u:{}@localhost:port/db", "postgresql://u:{}@[::1/db",
    "postgresql://u:{}@nosuchhost.invalid/db", "postgresql://localhost:1/db?user=u&password={}", "postgresql://u@localhost:1/db?pasword={}",
    "postgresql//u:{}@localhost/db", "u:{}@localhost/db", "mysql://u:{}@localhost/db", "jdbc:postgresql://localhost:1/db?user=u&password={}",
    "host=localhost port=1 password={}", "host=localhost port=1 password='{}", "host=localhost password=x {}", "host=localhost pasword={}",
    "host=localhost port=1 user=u passwd={}", "service=nosuch password={}", "{}", "postgresql://u:{}",
]  # fmt: skip


# A process each: every other one is given by the environment, and the other half by the option.
WRONG = list(zip(WRONG_DSNS, itertools.cycle(["--to", "IMPORTER_DSN"]), strict=False))


@pytest.mark.parametrize(("text", "how"), WRONG)
def test_wrong_dsn_shows_no_password(good: Path, text: str, how: str) -> None:
    dsn = text.format(SECRET)
    arguments = ["--to", dsn] if how == "--to" else ["--json"]
    ran = importer(
        "run",
        good,
        *arguments,
        "--retry-for",
        0,
        "--debug",
        cwd=good.parent,
        env={} if how == "--to" else {how: dsn, "PGCONNECT_TIMEOUT": "5"},
    )
    assert ran.code == 4, ran.err
    assert SECRET not in ran.out + ran.err
    assert "Traceback" in ran.err  # asked for
    assert "importer: " in ran.err


def test_wrong_password_is_told_without_it(db: Database, good: Path) -> None:
    """The role does not exist: the server's own words come through, the password does not."""
    dsn = db.dsn.text.replace("://postgres:@", f"://nobody_here:{SECRET}@").replace(
        "://postgres@", f"://nobody_here:{SECRET}@"
    )
    ran = importer("run", good, "--to", dsn, "--debug", cwd=good.parent)
    assert ran.code == 4
    assert "nobody_here" in ran.err
    assert SECRET not in ran.out + ran.err


def test_unescaped_password_is_told(good: Path) -> None:
    ran = importer("run", good, "--to", f"postgresql://u:x@{SECRET}@localhost:1/db", cwd=good.parent)
    assert "percent-encoded (@ as %40, / as %2F)" in ran.err


@pytest.mark.parametrize("debug", [False, True])
def test_unexpected_error_is_a_message(good: Path, debug: bool) -> None:
    """A bug of ours has an exit code and one line too; its traceback is for --debug."""
    code = (
        "import importer.inspection as i\n"
        "def broken(*args, **options): raise RuntimeError('first line\\nsecond line')\n"
        "i.inspect_workbook = broken\n"
        "from importer.__main__ import main; main()"
    )
    with started(sys.executable, "-c", code, "inspect", str(good), *(["--debug"] if debug else [])) as running:
        ran = running.finish()
    assert ran.code == 4
    assert ran.err.endswith(
        "importer: unexpected RuntimeError: first line\n  try:   run again with --debug, and report what it prints\n"
    )
    assert ("Traceback" in ran.err) is debug


def test_end_of_the_process() -> None:
    """It ends without tearing the interpreter down, but not before what others registered, and not under a profiler."""
    ends = "import atexit, sys\n{}\nfrom importer.__main__ import program\nsys.argv[1:] = ['--version']\nprogram()"
    for before, told in (("", ""), ("atexit.register(print, 'registered')", "registered\n")):
        with started(sys.executable, "-v", "-c", ends.format(before)) as running:  # it tells what it removes
            ran = running.finish()
        assert (ran.code, ran.out.partition("\n")[2]) == (0, told)
        assert ("# cleanup" in ran.err) is bool(told)
    with started(sys.executable, "-m", "cProfile", "-m", "importer", "--version") as running:
        assert "function calls" in running.finish().out


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
@pytest.mark.parametrize("unbuffered", [False, True])
def test_output_that_cannot_be_written_whole_is_an_error(tmp_path: Path, unbuffered: bool) -> None:
    """Also where Python itself drops what a short write leaves."""
    program = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "sys.argv = ['importer', 'completion', 'bash']; runpy.run_module('importer', run_name='__main__')"
    )
    # Half of a file of bytecode would be the end of all later programs.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, *(["-u"] if unbuffered else []), "-c", program]
        ran = subprocess.run(command, check=False, stdout=out, stderr=subprocess.PIPE, text=True, env=env)
    assert (ran.returncode, ran.stderr) == (4, "importer: the machine refused: File too large\n")


def test_stdout_that_is_full_or_closed(good: Path) -> None:
    if Path("/dev/full").exists():
        with (
            Path("/dev/full").open("w") as full,
            started(sys.executable, "-m", "importer", "inspect", str(good), stdout=full) as running,
        ):
            ran = running.finish()
        assert ran.code == 4
        assert ran.err.startswith("importer: the machine refused: ")
        assert "Traceback" not in ran.err


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_output_that_nobody_reads(db: Database, good: Path, as_json: list[str]) -> None:
    """As before `head`: the exit code is that of what was done, so that nobody repeats a load for want of its report."""
    shutil.copy(good, other := good.with_name("other.xlsx"))
    for command, code in (
        (["inspect", str(good)], 0),
        (["plan", str(good), str(other), "--to", db.dsn.text], 0),
        (["run", str(good), "--to", db.dsn.text, "--table", f"{db.schema}.t"], 0),
        (["run", str(good), str(other), "--to", db.dsn.text, "--table", f"{db.schema}.u"], 0),
        (["run", str(good), "--to", db.dsn.text, "--table", f"{db.schema}.none", "--mode", "upsert"], 2),
    ):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            ran = subprocess.run(
                [sys.executable, "-m", "importer", *command, *as_json], stdout=writer, stderr=subprocess.PIPE, text=True
            )
        finally:
            os.close(writer)
        assert (ran.returncode, "Pipe" in ran.stderr, "Traceback" in ran.stderr) == (code, False, False), command


# ---- PROGRESS ---------------------------------------------------------------------------------------------------


def test_no_progress_without_a_terminal(db: Database, good: Path) -> None:
    assert load(db, good, cwd=good.parent).err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("option", [None, "--quiet", "--json"])
def test_progress_on_a_terminal(db: Database, good: Path, option: str | None) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        with started(
            sys.executable, "-m", "importer", "run", str(good), "--to", db.dsn.text, *([option] if option else []),
            stderr=theirs, cwd=good.parent, env={"TERM": "xterm", "COLUMNS": "100"},
        ) as running:  # fmt: skip
            os.close(theirs)
            shown = read_all(ours, running)
            ran = running.finish()
    finally:
        os.close(ours)
    assert ran.code == 0
    if option:
        assert shown == ""
    else:
        assert "reading" in shown or "starting" in shown
        assert "\x1b[?25h" in shown  # the cursor is back
    if option == "--json":
        assert ran.json["stats"]["success_count"] == 3


def read_all(terminal: int, running: Any) -> str:
    """What is written to a pseudo-terminal until its other end closes."""
    import select

    shown = b""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # Linux says so when the last writer is gone
                break
            if not block:
                break
            shown += block
        elif running.process.poll() is not None:
            break
    return shown.decode()


# ---- INSPECT AND CONTRACT ---------------------------------------------------------------------------------------


def test_inspect_needs_no_database(bad: Path) -> None:
    ran = importer("inspect", bad, "--json", cwd=bad.parent, env={"IMPORTER_DSN": "postgresql://localhost:1/d"})
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert (found["sheet"], found["header_row"], found["rows"]["data"]) == ("People", 1, 4)
    assert found["problems"] == [{"address": "People!B5", "kind": "error", "raw": "#N/A"}]
    assert [(c["letter"], c["header"], c["name"], c["cells"]) for c in found["columns"]] == [
        ("A", "Name", "name", 4),
        ("B", "Age", "age", 4),
    ]
    shown = importer("inspect", bad, cwd=bad.parent)
    assert "header row 1 · 4 data rows" in shown.out
    assert "problem: People!B5 error: #N/A" in shown.out
    assert [p.name for p in bad.parent.iterdir()] == ["bad.xlsx"]


@pytest.mark.parametrize(("form", "suffix"), [("json", ".json"), ("yaml", ".yaml")])
def test_contract_gives_the_same_table(db: Database, good: Path, form: str, suffix: str) -> None:
    printed = importer("contract", good, "--format", form, cwd=good.parent)
    assert (printed.code, printed.err) == (0, "")
    file = good.parent / f"people.schema{suffix}"
    file.write_text(printed.out)
    assert load(db, good, "--table", "without", "-q").code == 0
    assert load(db, good, "--table", "with_it", "--contract", file, "-q").code == 0
    assert db.rows("select * from without except select * from with_it") == []
    described = "select column_name::text, data_type::text from information_schema.columns where table_schema = '{}' and table_name = '{}' order by ordinal_position"
    assert db.rows(described.format(db.schema, "without")) == db.rows(described.format(db.schema, "with_it"))


def test_make_sees_the_exit_code_and_the_json(db: Database, bad: Path) -> None:
    """What a Make target or a BashOperator does: run, look at the code, read one number out of the JSON."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    rule = f"load:\n\t@{sys.executable} -m importer run bad.xlsx --to '{db.dsn.text.replace('$', '$$')}' --json > report.json; test $$? -le 1\n"
    (bad.parent / "Makefile").write_text(rule)
    ran = subprocess.run(["make", "load"], cwd=bad.parent, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads((bad.parent / "report.json").read_text())["stats"]["error_count"] == 1
    with contextlib.suppress(FileNotFoundError):
        (bad.parent / "bad.rejects.xlsx").unlink()
