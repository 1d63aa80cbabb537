"""The operator in real DAGs: plain, mapped, failing, retried and killed, with what Airflow's database says afterwards."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.airflow import airflow_python
from support.day import BOOKS, CUT, Day
from support.s3 import SECRET
from support.tables import save

if TYPE_CHECKING:
    from conftest import Database

README = Path(__file__).parents[2] / "README.md"
DAGS = Path(__file__).parent / "airflow_dags.py"
#: What stops a run within two seconds is said by the program; a machine under load takes longer for the same.
STOPPED_SECONDS = 2.0
#: With everything that has a meaning in a connection string.
PASSWORD = "a b'c\\d%@:/?#[]&=+é"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Workbooks: good ones, with a bad row, and one that is none."""
    for number, name in enumerate(("a", "b", "c", "late", "killed", "lost"), 1):
        save(tmp_path / f"{name}.xlsx", ["id", "v"], [number, name], [number + 10, name])
    for number, name in enumerate(("bad", "budget", "strict", "bash"), 100):
        save(tmp_path / f"{name}.xlsx", ["id", "v"], [number, name], ["x", name])
    (tmp_path / "broken.xlsx").write_text("no workbook")
    (tmp_path / "rejects").mkdir()
    return tmp_path


def connection(db: Database, **other: Any) -> str:
    """The test's database as a connection of Airflow, with parameters in its extra field."""
    host = parse_qs(urlsplit(db.server.text).query)["host"][0]
    extra = {"options": f"-csearch_path={db.schema},public", "sslmode": "prefer", **other.pop("extra", {})}
    described = {"conn_type": "postgres", "host": host, "login": "postgres", "schema": "postgres", "extra": extra}
    return json.dumps({**described, **other})


def check_days(ran: dict[str, Any]) -> None:
    """What the cluster left is loaded, and what came late; two are told with reasons each time."""
    morning, evening = ran["days"]
    left = BOOKS - 30 - 2  # but for the broken one, and the late one
    states = [[each["state"] for name, each in day.items() if name.startswith("load")] for day in (morning, evening)]
    assert [sorted(each) for each in states] == [["failed"] * 2 + ["success"] * left, ["failed"] * 2 + ["success"]]
    for said in ("the file is plain text", f"{CUT}.xlsx"):
        assert said in ran["log"]
    tries = [each["tries"] for name, each in morning.items() if name.startswith("load")]
    assert sorted(tries) == [1] * (left + 1) + [2]
    assert SECRET not in json.dumps(ran)


def run_dags(db: Database, folder: Path, day: dict[str, Any]) -> dict[str, Any]:
    """Run all DAGs in the environment of Airflow, and return what became of their tasks."""
    home, python = folder / "airflow", airflow_python()
    (home / "dags").mkdir(parents=True)
    shutil.copy(DAGS, home / "dags")
    plan = {"folder": str(folder), "dsn": db.dsn.text, "python": sys.executable, "mapped": ["b", "c", "bad"]}
    plan["readme_env"] = ast.literal_eval(re.findall(r"`env=(\{.+?\})`", README.read_text(encoding="utf-8"))[0])
    (home / "plan.json").write_text(json.dumps({**plan, "table": "orders", "day": day}))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PG", "PYTHONWARN"))}
    env |= {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "DAG_PLAN": str(home / "plan.json"),
        "AIRFLOW_CONN_SHOP": connection(db, extra={"cursor": "dictcursor"}),
        "AIRFLOW_CONN_DOWN": connection(db, host="127.0.0.1", port=1),
        "AIRFLOW_CONN_ODD": connection(db, host="h,::1", password=PASSWORD, extra={"keepalives": True, "sslmode": "require"}),
    }  # fmt: skip
    command = [python, str(home / "dags" / DAGS.name), str(home / "result.json")]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1000)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    found: dict[str, Any] = json.loads((home / "result.json").read_text())
    return {**found, "log": ran.stdout + ran.stderr}


@pytest.mark.timeout(1200)
def test_dags_and_a_day_in_the_life(db: Database, folder: Path, s3: Any, bucket: str) -> None:
    """One test, because Airflow takes seconds to start. The day begins and ends on a cluster of Dask."""
    (folder / "day").mkdir()
    day = Day(db, s3, bucket, folder / "day")
    day.load_most()
    db.run(
        "create table orders (id int, v text, _source_file text, _source_sheet text, _source_row bigint, _run_id uuid)"
    )
    ran = run_dags(db, folder, day.plan())
    states = {
        dag: {name: each["state"] for name, each in tasks.items() if name != "state"}
        for dag, tasks in ran["dags"].items()
    }
    assert states == {
        "plain": {"load": "success", "bash": "failed"},
        "imported_before": {"skip": "skipped", "succeed": "success"},
        "mapped": {"names": "success", "load[0]": "success", "load[1]": "success", "load[2]": "success"},
        "failing": {"usage": "failed", "refused": "failed", "budget": "failed", "rejects": "failed"},
        "retried": {"load": "success", "lost": "success"},
        "killed": {"load": "success"},
    }  # fmt: skip
    tries = {name: each["tries"] for name, each in ran["dags"]["failing"].items() if name != "state"}
    assert set(tries.values()) == {1}
    assert (ran["dags"]["retried"]["load"]["tries"], ran["dags"]["killed"]["load"]["tries"]) == (2, 2)
    check_reports(ran["dags"], folder)
    check_what_is_told(db, ran["on_kill"])
    assert len(ran["on_kill"]["seconds"]) == 1
    assert ran["on_kill"]["seconds"][0] <= STOPPED_SECONDS
    assert ran["on_kill"]["left"] == 0
    assert ran["asset"]["success_count"] == 2
    assert "importer" in ran["providers"]
    check_days(ran)
    day.load_again()
    day.check_table()
    # The bash command's own code, not that of the end of its pipe.
    assert "exit code 5" in ran["log"]
    loaded = db.rows("select id, _source_file from orders order by id")
    names = ("a", "b", "c", "late", "killed", "lost")
    pairs = [(n + more, f"{name}.xlsx") for more in (0, 10) for n, name in enumerate(names, 1)]
    assert loaded == [*pairs, (100, "bad.xlsx"), (102, "strict.xlsx")]


def check_what_is_told(db: Database, seen: dict[str, Any]) -> None:
    """What the program is told of the connection, and of where rejects go."""
    told = {name: values[0] for name, values in parse_qs(urlsplit(seen["dsn"]).query).items()}
    assert told == {
        "host": "h,::1", "user": "postgres", "password": PASSWORD, "dbname": "postgres", "keepalives": "1",
        "sslmode": "require", "options": f"-csearch_path={db.schema},public",
    }  # fmt: skip
    web = seen["specs"].pop("web")
    assert seen["specs"] == {
        "beside": {"rejects": "/in/"}, "bucket": {"rejects": "s3://b/in/"},
        "planned": {"default_rejects": "/r/jan.rejects.xlsx"}, "web_folder": {"rejects": "/r/"},
    }  # fmt: skip
    assert "give a folder or a file by rejects=" in web
    assert "s3cret" not in web


def check_reports(dags: dict[str, Any], folder: Path) -> None:
    """What XCom holds, also of tasks that failed, and where the rejects are."""
    plain = dags["plain"]["load"]["return_value"]
    assert (plain["outcome"], plain["table"], plain["success_count"], plain["rejects"]) == (
        "published",
        "orders",
        2,
        None,
    )
    assert len(plain["sha256"]) == 64
    before = dags["imported_before"]["succeed"]["return_value"]
    assert (before["outcome"], before["run_id"]) == ("already-imported", plain["run_id"])
    bad = dags["mapped"]["load[2]"]["return_value"]
    assert (bad["error_count"], bad["rejects"]) == (1, f"{folder}/rejects/bad.rejects.xlsx")
    lost = dags["retried"]["lost"]["return_value"]
    assert (dags["retried"]["lost"]["tries"], lost["outcome"], lost["success_count"]) == (2, "published", 2)
    strict = dags["failing"]["rejects"]["report"]
    assert (strict["outcome"], strict["rejects"]) == ("published", f"{folder}/strict.rejects.xlsx")
    budget = dags["failing"]["budget"]["report"]
    assert (budget["outcome"], budget["success_count"]) == ("over-budget", 0)
    assert Path(bad["rejects"]).is_file()
    assert Path(strict["rejects"]).is_file()
    assert budget["rejects"] == f"{folder}/budget.rejects.xlsx"
    assert (folder / "bash.rejects.xlsx").is_file()
