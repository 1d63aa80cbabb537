"""Fixtures: real PostgreSQL servers that the tests own, a fresh schema for every test, and loading into it."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from support.asking import ask, held_session
from support.browsing import browser, visiting  # noqa: F401 - fixtures
from support.faults import machine_programs, own_server
from support.s3 import bucket, s3  # noqa: F401 - fixtures
from support.serving import Service, serving, short_folder, wait_for

from importer.ledger.history import clean
from importer.pipeline import run
from importer.postgres.embedded import EmbeddedServer
from importer.postgres.session import Session
from importer.settings import Dsn, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.faults import Server

    from importer.report.model import Report

pytest_plugins = ("support.fault_report",)
DATA = Path(__file__).parent.parent / "data"
#: Versions that the wheel of the embedded server has.
EMBEDDED = ("16", "18")
#: Modules about what no version of the server does differently. By default they use the first one only; `--everywhere`
#: uses all.
ONE_SERVER = {
    "test_airflow", "test_api", "test_changed_target", "test_checksums", "test_cli", "test_commands", "test_commit_unknown", "test_connect_errors",
    "test_contract", "test_dask", "test_direct", "test_drift", "test_embedded", "test_errors", "test_every_format", "test_exact_numbers", "test_few_rows",
    "test_foreign", "test_formats", "test_formats_padded", "test_headers", "test_hooks", "test_inbox", "test_hostile", "test_iso_dates",
    "test_kept_rejects", "test_kept_sessions", "test_lost_answers", "test_many_runs", "test_keys", "test_ledger", "test_leftovers", "test_lineage", "test_many", "test_mending", "test_merged_cells",
    "test_methods", "test_mixed", "test_one_rejects_workbook", "test_page", "test_page_access", "test_parse_texts", "test_pieces", "test_planned", "test_pooler", "test_publish", "test_python_callers",
    "test_known_labels", "test_random_tables", "test_ray", "test_refusals", "test_rejects", "test_rejects_file", "test_sequences", "test_serve",
    "test_serve_commit", "test_serve_doors", "test_serve_faults", "test_serve_openapi", "test_s3", "test_session_close", "test_several_tables",
    "test_privileges", "test_staging_state", "test_store", "test_table_policy", "test_streamed_load", "test_streaming", "test_target_types",
    "test_other_formats_at_addresses", "test_readings", "test_remote_loaded", "test_text_loaded", "test_timeline", "test_together", "test_traps", "test_uploads", "test_upsert", "test_windows", "test_workers", "test_written",
}  # fmt: skip


#: Modules about what older versions do otherwise: hashes of texts, memberships of roles. By default they use the last.
OLDEST_SERVER = {"test_encodings", "test_migrations", "test_search_path", "test_trust"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        default=os.environ.get("IMPORTER_TEST_SERVERS", f"18,{'15' if machine_programs('15') else '16'}"),
        help="servers to test on, of 18, 16 (embedded), 15 (the machine's); else the newest and the oldest that is here",
    )
    parser.addoption(
        "--dsn",
        default=os.environ.get("IMPORTER_TEST_DSN"),
        help="test on this server instead; schemas are created and dropped in it",
    )
    parser.addoption("--everywhere", action="store_true", help="run every module on every server")
    parser.addoption("--long", action="store_true", help="more examples for the property tests, more moments of faults")
    parser.addoption("--moments", type=int, help="how many moments of each kind of fault to try")
    parser.addoption("--seed", type=int, help="of the random moments of faults")


def pytest_configure(config: pytest.Config) -> None:
    """Property tests have no deadline (machines differ), a bounded number of examples, and no database of their own in the checkout."""
    # A thousand command lines are started here; each would compile the package again. Users do not tell Python so, either.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    shared: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "print_blob": True,
        "suppress_health_check": list(hypothesis.HealthCheck),
    }
    hypothesis.settings.register_profile("short", max_examples=40, **shared)
    hypothesis.settings.register_profile("long", max_examples=2000, **shared)
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: half of the time a test waits, for servers, killed processes and disks."""
    return (os.cpu_count() or 1) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        given = metafunc.config.getoption("--dsn")
        servers = metafunc.config.getoption("--servers").split(",")
        name = metafunc.module.__name__.rpartition(".")[2]
        if not metafunc.config.getoption("--everywhere"):
            servers = servers[:1] if name in ONE_SERVER else servers[-1:] if name in OLDEST_SERVER else servers
        metafunc.parametrize("server", ["dsn"] if given else servers, indirect=True, scope="session")


@pytest.fixture(autouse=True)
def handlers_of_signals() -> Iterator[None]:
    """Restore what a test that calls the program's `main` here leaves: Ctrl-C ignored, for all that is started later."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Dsn]:
    """A running server; started once for all tests that use it."""
    if request.param == "dsn":
        yield Dsn(request.config.getoption("--dsn"))
        return
    folder = Path(tempfile.mkdtemp(prefix="importer-pg-", dir="/tmp" if os.path.isdir("/tmp") else None))
    folder.chmod(0o755)
    try:
        if request.param in EMBEDDED:
            embedded = EmbeddedServer(folder / "data", int(request.param))
            with embedded.running() as dsn:
                yield dsn
        else:
            yield from _system_server(folder, request.param)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _system_server(folder: Path, version: str) -> Iterator[Dsn]:
    """The machine's own PostgreSQL, where its binaries are installed."""
    found = machine_programs(version)
    if not found:
        pytest.skip(f"PostgreSQL {version} is not installed on this machine")
    as_user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    data = folder / "data"
    data.mkdir()
    if as_user:
        shutil.chown(folder, "postgres")
        shutil.chown(data, "postgres")
    quiet: dict[str, Any] = {
        "check": True,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
        **as_user,
    }
    subprocess.run(
        [f"{found[0]}/initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"], **quiet
    )
    control = [f"{found[0]}/pg_ctl", "-w", "-D", str(data), "-l", str(folder / "log")]
    subprocess.run([*control, "-o", f"-h '' -k {folder}", "start"], **quiet)
    try:
        yield Dsn(f"postgresql://postgres@/postgres?host={folder}")
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


#: How long a server may take to end sessions that were closed, and whether they may still hold staging tables.
_ENDING_SECONDS = 2
_IS_HELD = """
select exists (select from pg_class c join pg_namespace n on n.oid = relnamespace
               where nspname = 'importer' and relname like 'stage%')
   and exists (select from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid())
"""


@dataclass(frozen=True)
class Database:
    """A fresh schema on a server, first on the search path."""

    dsn: Dsn
    schema: str
    server: Dsn

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return ask(self.server, sql, f"{self.schema}, public")

    def run(self, *statements: str) -> None:
        with held_session(self.server, autocommit=True) as session:
            for sql in ("reset all", f"set search_path = {self.schema}, public", *statements):
                session.run(sql)

    def load(self, path: Path, **options: Any) -> Report:
        """Load into this schema as the command line does, with the rejects beside the workbook."""
        options.setdefault("rejects", path.with_suffix(".rejects.xlsx"))
        how = {name: options.pop(name) for name in ("progress", "dry_run") if name in options}
        return run(make_settings(path, to=self.dsn.text, **options), **how)

    def leftovers(self) -> list[str]:
        """Staging tables that a run left behind."""
        return [
            name
            for (name,) in self.rows(
                "select relname::text from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'importer' and relname like 'stage%'"
            )
        ]


@pytest.fixture
def db(server: Dsn) -> Iterator[Database]:
    """A schema of its own for one test."""
    schema = f"t_{secrets.token_hex(6)}"
    with held_session(server, autocommit=True) as session:
        session.run(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in server.text else "?"
    made = Database(Dsn(f"{server.text}{joint}options=-csearch_path%3D{schema},public"), schema, server)
    yield made
    with held_session(server) as session:
        _clean(session)
        session.run(f"DROP SCHEMA {schema} CASCADE")
        session.commit()


def _clean(session: Session) -> None:
    """Drop what a failed run left for its next try: that is not the business of the next test.

    A session that was closed holds its lock, and by that its staging, until the server has ended it.
    """
    end = time.monotonic() + _ENDING_SECONDS
    clean(session)
    while session.value(_IS_HELD) and time.monotonic() < end:
        session.commit()
        time.sleep(0.02)
        clean(session)


@pytest.fixture(scope="session")
def service(server: Dsn) -> Iterator[Service]:
    """A service that all tests may use, which loads into a schema of its own; each takes other tables."""
    schema = f"svc_{secrets.token_hex(4)}"
    with Session(server, autocommit=True) as session:
        session.run(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in server.text else "?"
    dsn = Dsn(f"{server.text}{joint}options=-csearch_path%3D{schema},public")
    with short_folder() as folder, serving(dsn, folder, "--contracts", DATA, "--queue", "64") as running:
        yield running
        wait_for(lambda: not running.json("/runs", state="running")["runs"])
    with Session(server, autocommit=True) as session:
        session.run(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="module")
def own(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of a module's own, to be crashed, restarted and configured; none of that may damage its files.

    It is the embedded one, or with `--servers 15` that of the machine, which has the extension that looks for damage.
    """
    first = request.config.getoption("--servers").split(",")[0]
    with own_server(version=first if first not in EMBEDDED else None) as made:
        yield made
        made.check_pages()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--seed")
    chosen = given if given is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {chosen}: repeat with --seed {chosen}")
    return int(chosen)


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many moments to try: so many, or sixty, or as many as were asked for."""
    asked = request.config.getoption("--moments") or (60 if request.config.getoption("--long") else None)
    return lambda few: asked or few
