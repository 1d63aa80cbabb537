"""DAGs that run imports, run one after the other in one process, because Airflow takes seconds to start.

Run by `test_airflow.py` in an environment of its own: `python airflow_dags.py RESULT`. `DAG_PLAN` names a JSON object
with what the tests made; the result has for each DAG the states and XComs of its tasks. Airflow parses this file, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from airflow.models.asset import AssetEvent
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers_manager import ProvidersManager
from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from importer.integrations.airflow import ImportWorkbookOperator, connection_string

PLAN: dict[str, Any] = json.loads(Path(os.environ["DAG_PLAN"]).read_text())
FOLDER, TABLE = PLAN["folder"], PLAN["table"]
CALLS: list[float] = []
SEEN: dict[str, Any] = {}


class Timed(ImportWorkbookOperator):
    """Writes down how long `on_kill` takes."""

    def on_kill(self) -> None:
        began = time.monotonic()
        super().on_kill()
        CALLS.append(time.monotonic() - began)


def book(name: str) -> str:
    return f"{FOLDER}/{name}.xlsx"


def run(dag: DAG) -> dict[str, Any]:
    """Run a DAG and describe its tasks, by task id and map index."""
    dag_run = dag.test()
    found: dict[str, Any] = {"state": str(dag_run.state)}
    for ti in dag_run.get_task_instances():
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        reports = {
            key: ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)
            for key in ("return_value", "report")
        }
        found[name] = {"state": str(ti.state), "tries": ti.try_number, **reports}
    return found


SHOP: dict[str, Any] = {"table": TABLE, "postgres_conn_id": "shop", "options": {"lineage": True}}
AGAIN: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(0)}

with DAG("plain", schedule=None) as plain:
    ImportWorkbookOperator(
        task_id="load", workbook=FOLDER + "/{{ params.name }}.xlsx", params={"name": "a"}, **SHOP,
        outlets=[Asset("x-shop://orders")],
    ) >> BashOperator(
        task_id="bash", append_env=True, env={**PLAN["readme_env"], "PGOPTIONS": "{{ conn.shop.extra_dejson.options }}"},
        bash_command=f"set -o pipefail; {PLAN['python']} -m importer run {book('bash')} --table {TABLE} --rejects {FOLDER}/"
        "bash.rejects.xlsx --types id=integer --max-rejects 0 --json | tr -d '\\n'",
    )  # fmt: skip

with DAG("imported_before", schedule=None) as imported_before:
    ImportWorkbookOperator(task_id="skip", workbook=book("a"), skip_if_imported=True, **SHOP)
    ImportWorkbookOperator(task_id="succeed", workbook=book("a"), **SHOP)

with DAG("mapped", schedule=None) as mapped:

    @task
    def names() -> list[str]:
        return [book(name) for name in PLAN["mapped"]]

    # By the program of another environment.
    ImportWorkbookOperator.partial(
        task_id="load", python=PLAN["python"], rejects=f"{FOLDER}/rejects/", **SHOP
    ).expand(workbook=names())  # fmt: skip

with DAG("failing", schedule=None) as failing:
    ImportWorkbookOperator(task_id="usage", workbook=book("b"), **{**SHOP, "options": {"mood": "append"}}, **AGAIN)
    ImportWorkbookOperator(task_id="refused", workbook=book("broken"), **SHOP, **AGAIN)
    ImportWorkbookOperator(task_id="budget", workbook=book("budget"), max_rejects=0, **SHOP, **AGAIN)
    ImportWorkbookOperator(task_id="rejects", workbook=book("strict"), fail_on_rejects=True, **SHOP, **AGAIN)

with DAG("retried", schedule=None) as retried:
    ImportWorkbookOperator(
        task_id="load", workbook=book("late"), table=TABLE, options={"retry_for": 0, "lineage": True}, **AGAIN,
        postgres_conn_id="{{ 'down' if ti.try_number == 1 else 'shop' }}",
    )  # fmt: skip


class Lost(ImportWorkbookOperator):
    """The first attempt is lost after the program has published."""

    def _run(self, context: Any) -> tuple[int, dict[str, Any]]:
        ran = super()._run(context)
        if context["ti"].try_number == 1:
            raise AirflowException("the worker is gone")
        return ran


with retried:
    Lost(
        task_id="lost", workbook=book("lost"), table=TABLE, options={"again": True, "lineage": True}, **AGAIN,
        postgres_conn_id="shop", skip_if_imported=True,
    )  # fmt: skip

with DAG("killed", schedule=None) as killed:
    Timed(task_id="load", workbook=book("killed"), **SHOP, **AGAIN)


class Killed(ImportWorkbookOperator):
    """The program of one of them is killed in its first attempt, as by a machine that is lost."""

    def _environment(self) -> dict[str, str]:
        if PLAN["day"]["killed"] in str(self.workbook) and "DAY_KILLED" not in os.environ:
            os.environ["DAY_KILLED"] = "1"
            threading.Thread(target=self._kill, daemon=True).start()
        return super()._environment()

    def _kill(self) -> None:
        while self._program is None:
            time.sleep(0.01)
        self._program.kill()


with DAG("day", schedule=None) as day:

    @task
    def planned() -> list[dict[str, Any]]:
        """What the bucket holds and the ledger does not."""
        words = ["plan", PLAN["day"]["folder"], "--table", PLAN["day"]["table"], "--lineage", "--json"]
        env = {**os.environ, "IMPORTER_DSN": PLAN["dsn"]}
        ran = subprocess.run(
            [PLAN["python"], "-m", "importer", *words], env=env, capture_output=True, text=True, check=True
        )
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        return [line for line in lines if line["state"] != "imported"]

    Killed.partial(
        task_id="load", python=PLAN["python"], postgres_conn_id="shop", retries=1, retry_delay=timedelta(0)
    ).expand(workbook=planned())  # fmt: skip


def run_day() -> list[dict[str, Any]]:
    """Run the DAG in the morning, and once more when another workbook has come."""
    morning = run(day)
    late = PLAN["day"]["late"]
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(late["url"], Path(late["path"]).read_bytes(), headers, method="PUT")
    urllib.request.urlopen(request).close()
    return [morning, run(day)]


def kill_while_it_waits(held: psycopg.Connection[Any]) -> None:
    """Send the task the signal that its supervisor would, when its import waits; then let the table go."""
    waits = "select count(*) from pg_locks where not granted and relation = %s::regclass"
    with psycopg.connect(PLAN["dsn"], autocommit=True) as other:
        while not other.execute(waits, [TABLE]).fetchone()[0]:  # type: ignore[index]
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        while not CALLS:
            time.sleep(0.02)
        SEEN["left"] = other.execute(waits, [TABLE]).fetchone()[0]  # type: ignore[index]
    held.rollback()


def described_specs() -> dict[str, Any]:
    """What the program is told for some workbooks and places of their rejects."""

    def described(workbook: Any, rejects: str | None = None) -> Any:
        operator = ImportWorkbookOperator(task_id="described", workbook=workbook, rejects=rejects)
        try:
            return json.loads(operator.import_spec())["options"]
        except AirflowFailException as exc:
            return str(exc)

    web = "https://me:pw@h/jan.xlsx?X-Amz-Signature=s3cret/x.y"
    return {
        "beside": described("/in/jan.xlsx"),
        "bucket": described("s3://b/in/jan.xlsx?versionId=3"),
        "planned": described({"source": "/in/jan.xlsx", "options": {"default_rejects": "/r/jan.rejects.xlsx"}}),
        "web": described(web),
        "web_folder": described(web, "/r/"),
    }


def main() -> None:
    initdb()
    dags = {dag.dag_id: run(dag) for dag in (plain, imported_before, mapped, failing, retried)}
    with psycopg.connect(PLAN["dsn"]) as held:
        held.execute(f"lock table {TABLE} in exclusive mode")
        killer = threading.Thread(target=kill_while_it_waits, args=(held,))
        killer.start()
        dags["killed"] = run(killed)
        killer.join()
    days = run_day()
    with create_session() as session:
        asset = session.scalars(select(AssetEvent)).one().extra
    providers = sorted(ProvidersManager().providers)
    SEEN["dsn"], SEEN["specs"] = connection_string("odd"), described_specs()
    told = {"dags": dags, "days": days, "on_kill": {"seconds": CALLS, **SEEN}, "asset": asset, "providers": providers}
    Path(sys.argv[1]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
