"""Runs an import as a task of Airflow 3: the program as a child process, its exit codes as Airflow's exceptions.

Airflow pins the versions of most packages that this program needs. So the program may be installed in an environment
of its own, named by `python`; for this module `pip install --no-deps importer` beside Airflow is enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from importer.urls import as_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

#: Exit codes of the program: rows were rejected; a retry may help; anything else but 0 is for a person to mend.
_REJECTED, _PASSING, _FINAL = 1, 4, (2, 3, 5)
#: Seconds that the program has to stop in; it needs less than two.
_STOP_SECONDS = 1.8
_SIGNALLED = 128
#: Keys of a connection's extra field that are for Airflow's own hook, and no parameters of libpq.
_NOT_FOR_LIBPQ = {
    "iam", "redshift", "redshift-serverless", "cursor", "cluster-identifier", "workgroup-name", "aws_conn_id",
    "azure_conn_id", "sqlalchemy_scheme", "sqlalchemy_query",
}  # fmt: skip


class ImportWorkbookOperator(BaseOperator):  # type: ignore[misc]
    """Loads one sheet of one workbook into a PostgreSQL table, all of its good rows or none, once.

    It returns, and so pushes to XCom (by the key `report`, if it fails), a small report: `run_id`, `outcome`, `schema`,
    `table`, `sheet`, `sha256`, `total_records`, `success_count`, `error_count`, `duration` (seconds) and `rejects`
    (path of the rejects file, or None). Exit codes 2, 3 and 5 of the program fail the task for good; 4 fails the
    attempt, so that `retries` apply. A task that is stopped, or whose worker is killed, goes on where it was when it is
    tried again.

    Args:
        workbook: path of the workbook, which the worker must see; or an import that `importer plan --json` printed, as
            a dict, whose sheet, table and options count where no other is given.
        postgres_conn_id: id of the connection, whose extra field may have all parameters of libpq, such as `sslmode`.
        table: `table` or `schema.table`; None: the contract's, else the workbook's name.
        sheet: name of the sheet; None: the first visible one with rows.
        contract: path of a contract, or the contract itself as a dict.
        rejects: file for rejected rows (.xlsx, .csv, .parquet), or a folder (ending in `/`), in which it is named by
            the workbook; None: where they were planned to go, else beside the workbook, never in a temporary folder of
            the task; for one of a web server it must be given.
        max_rejects: a number, or a share such as `1%`; more rejects fail the task, and nothing is loaded.
        options: other keywords of `importer.import_workbook`, such as `{"mode": "upsert", "key": ["id"]}`.
        fail_on_rejects: whether rejected rows, although the others are loaded, fail the task; without `max_rejects`.
        skip_if_imported: whether the task is skipped if the workbook was imported before; else it succeeds.
        python: Python of the environment that the program is installed in; None: that of the task.
        env: further variables for the environment of the program.
        options_of_task: those of every operator, such as `retries` and `outlets`.
    """

    template_fields: ClassVar[Sequence[str]] = (
        "workbook", "postgres_conn_id", "table", "sheet", "contract", "rejects", "max_rejects", "options", "python",
        "env",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {"contract": "json", "options": "json", "env": "json"}
    ui_color = "#e8f4ea"

    def __init__(
        self, *, workbook: str | dict[str, Any], postgres_conn_id: str = "postgres_default", table: str | None = None,
        sheet: str | None = None, contract: str | dict[str, Any] | None = None, rejects: str | None = None,
        max_rejects: float | str | None = None, options: dict[str, Any] | None = None, fail_on_rejects: bool = False,
        skip_if_imported: bool = False, python: str | None = None, env: dict[str, str] | None = None,
        **options_of_task: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options_of_task)
        self.workbook, self.postgres_conn_id, self.table, self.sheet = workbook, postgres_conn_id, table, sheet
        self.contract, self.rejects, self.max_rejects, self.options = contract, rejects, max_rejects, options
        self.fail_on_rejects, self.skip_if_imported = fail_on_rejects, skip_if_imported
        self.python, self.env = python, env
        self._program: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the import and return the small report.

        Raises:
            AirflowSkipException: it was imported before, and the task is to be skipped then.
            AirflowFailException: the workbook, the contract or the options are refused, or more rows are rejected than
                may be.
            AirflowException: the database or the machine failed; the next attempt goes on.
        """
        code, report = self._run(context)
        small = small_report(report)
        try:
            self._raise_if_failed(code, report)
        except AirflowException:
            if small["sha256"] is not None:  # what a failed task returns is lost
                context["ti"].xcom_push(key="report", value=small)
            raise
        self.log.info("%s", json.dumps(small, ensure_ascii=False))
        if small["rejects"] is not None:
            self.log.warning("%s rows were rejected: %s", small["error_count"], small["rejects"])
        for outlet in self.outlets or ():
            context["outlet_events"][outlet].extra = small
        if small["outcome"] == "already-imported" and self.skip_if_imported:
            raise AirflowSkipException(f"the workbook was imported before, by run {small['run_id']}")
        return small

    def on_kill(self) -> None:
        """Stop the program as Ctrl-C does: it cancels what the server does, and keeps what can be resumed."""
        program = self._program
        if program is None or program.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        try:
            program.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)

    def _run(self, context: Context) -> tuple[int, dict[str, Any]]:
        """Run the program to its end; return its exit code and its report, which is empty if it printed none."""
        spec = self.import_spec(run_seed(context))
        # Its own group: a signal to that of the task would reach its workers before it has told them to stop.
        self._program = subprocess.Popen(  # noqa: S603 - our own program
            self.command(), env=self._environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        logs = threading.Thread(target=self._log_lines, args=(self._program,), daemon=True)
        logs.start()
        try:
            assert self._program.stdin is not None
            assert self._program.stdout is not None
            with contextlib.suppress(BrokenPipeError), self._program.stdin:
                self._program.stdin.write(spec)
            printed = self._program.stdout.read()
            code = self._program.wait()
        except BaseException:
            self.on_kill()
            raise
        finally:
            logs.join(_STOP_SECONDS)
        try:
            report: dict[str, Any] = json.loads(printed)
        except ValueError:
            report = {}
        return code, report

    def _log_lines(self, program: subprocess.Popen[str]) -> None:
        assert program.stderr is not None
        for line in program.stderr:
            self.log.info("%s", line.rstrip("\n"))

    def command(self) -> list[str]:
        """Return the command that runs the import, which it reads from stdin: an address may hold a password."""
        return [self.python or sys.executable, "-m", "importer", "run", "--json", "--import-spec", "-"]

    def import_spec(self, seed: str | None = None) -> str:
        """Return the import as a line such as `importer plan --json` prints.

        Args:
            seed: what all attempts at it have in common; None: it is the only one.
        """
        planned: dict[str, Any] = {"source": str(self.workbook)}
        if isinstance(self.workbook, dict):
            planned = self.workbook
        given = {"contract": self.contract, "max_rejects": self.max_rejects, **(self.options or {})}
        options = {**planned.get("options", {}), **{name: value for name, value in given.items() if value is not None}}
        if options.get("rejects") is None and (self.rejects is not None or "default_rejects" not in options):
            options["rejects"] = self.rejects or rejects_folder(planned["source"])
        spec = {
            "source": planned["source"],
            "sheet": self.sheet or planned.get("sheet"),
            "table": self.table or planned.get("table"),
            "options": options if seed is None else {"run_seed": seed, **options},
        }
        return json.dumps({name: value for name, value in spec.items() if value is not None}, ensure_ascii=False)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "IMPORTER_DSN": connection_string(self.postgres_conn_id), **(self.env or {})}

    def _raise_if_failed(self, code: int, report: Mapping[str, Any]) -> None:
        error = report.get("error") or {}
        said = "; ".join(str(error[name]) for name in ("message", "place", "choice") if error.get(name))
        if code == 0:
            return
        if code == _REJECTED and report:
            if self.fail_on_rejects:
                small = small_report(report)
                raise AirflowFailException(f"{small['error_count']} rows were rejected: {small['rejects']}")
            return
        if code > _SIGNALLED or code < 0:
            raise AirflowException(f"the import was stopped ({said or f'code {code}'}); the next attempt goes on")
        if code == _PASSING or (not report and code not in _FINAL):
            raise AirflowException(f"the import failed ({said or f'the program ended with code {code}, see the log'})")
        raise AirflowFailException(f"the import was refused, code {code}: {said or report.get('outcome')}")


def run_seed(context: Context) -> str:
    """Return what all attempts of a task have in common: it changes when somebody clears the task."""
    ti = context["ti"]
    return json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.max_tries])


def small_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what XCom holds of the program's JSON report."""
    run, target, stats = (report.get(name) or {} for name in ("run", "target", "stats"))
    return {
        "run_id": run.get("id"),
        "outcome": report.get("outcome"),
        "schema": target.get("schema"),
        "table": target.get("table"),
        "sheet": report.get("sheet"),
        "sha256": (report.get("workbook") or {}).get("sha256"),
        **{name: stats.get(name) for name in ("total_records", "success_count", "error_count", "duration")},
        "rejects": (report.get("rejects") or {}).get("file"),
    }


def rejects_folder(source: str) -> str:
    """Return the folder of a workbook, for its rejects.

    Raises:
        AirflowFailException: it is one of a web server, into which nothing can be written.
    """
    url = as_url(source)
    if url is None:
        return f"{os.path.dirname(source) or '.'}/"  # noqa: PTH120 - keeps the path as it is
    if url.is_http:
        raise AirflowFailException(
            f"rejected rows of {url} have no place beside it: give a folder or a file by rejects="
        )
    return url.sibling("").text


def connection_string(conn_id: str) -> str:
    """Return the connection string of a connection that Airflow knows, with the parameters in its extra field."""
    connection = BaseHook.get_connection(conn_id)
    user, password, port = connection.login, connection.password, connection.port
    extra = connection.extra_dejson
    if extra.get("iam"):
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        user, password, port = PostgresHook(postgres_conn_id=conn_id).get_iam_token(connection)
    own = {"host": connection.host, "port": port, "dbname": connection.schema, "user": user, "password": password}
    more = {name: value for name, value in extra.items() if name not in _NOT_FOR_LIBPQ and isinstance(value, str | int)}
    more |= {name: int(value) for name, value in more.items() if isinstance(value, bool)}
    given = {name: str(value) for name, value in {**own, **more}.items() if value not in {None, ""}}
    return f"postgresql:///?{urlencode(given, quote_via=quote)}"
